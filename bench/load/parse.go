package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Opcodes of frames (RFC 6455, section 5.2).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// nextFrame returns the first frame of b and how many bytes it has; 0: it is not
// all there.
func nextFrame(b []byte) (op byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 {
		return 0, nil, 0, fmt.Errorf("%w: a frame begins with %#x", ErrTorn, b[0])
	}
	if b[1]&0x80 != 0 {
		return 0, nil, 0, fmt.Errorf("%w: a masked frame from a server", ErrTorn)
	}
	size, head := int(b[1]), 2
	switch size {
	case 126:
		if head = 4; len(b) < head {
			return 0, nil, 0, nil
		}
		size = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if head = 10; len(b) < head {
			return 0, nil, 0, nil
		}
		if binary.BigEndian.Uint64(b[2:]) > 2*MaxSize {
			return 0, nil, 0, fmt.Errorf("%w: a frame of %d bytes", ErrTorn, binary.BigEndian.Uint64(b[2:]))
		}
		size = int(binary.BigEndian.Uint64(b[2:]))
	}
	if len(b) < head+size {
		return 0, nil, 0, nil
	}
	return b[0] & 0xf, b[head : head+size], head + size, nil
}

// appendFrame appends a frame as a client sends it. The mask is zero, so masking
// changes nothing; the server can't know that.
func appendFrame(b []byte, op byte, payload ...[]byte) []byte {
	size := 0
	for _, p := range payload {
		size += len(p)
	}
	b = append(b, 0x80|op)
	switch {
	case size <= 125:
		b = append(b, 0x80|byte(size))
	case size <= 0xffff:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, uint64(size))
	}
	b = append(b, 0, 0, 0, 0)
	for _, p := range payload {
		b = append(b, p...)
	}
	return b
}

// nextEvent returns the data of the first server-sent event of b, nil if it has
// none, and how many bytes the event has; 0: it is not all there.
func nextEvent(b []byte) (data []byte, n int, err error) {
	for {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			return nil, 0, nil
		}
		line := b[n : n+end]
		n += end + 1
		if len(line) == 0 {
			return data, n, nil
		}
		if v, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if data != nil {
				return nil, 0, fmt.Errorf("%w: an event with two lines of data", ErrTorn)
			}
			data = v
		}
		if v, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			return nil, 0, fmt.Errorf("%w: with the event %q", ErrEnded, v)
		}
		if line[0] != ':' && !isField(line) {
			return nil, 0, fmt.Errorf("%w: a line %.40q in an event", ErrTorn, line)
		}
	}
}

func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return false
	}
	switch string(name) {
	case "data", "id", "event", "retry":
		return true
	default:
		return false
	}
}

// nextLine returns the data of the message on the first line of b, nil if it has
// none, and how many bytes the line has; 0: it is not all there.
func nextLine(b []byte) (data []byte, n int, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, 0, nil
	}
	line, n := b[:end], end+1
	switch {
	case len(line) == 0 || bytes.HasPrefix(line, []byte(`{"op":"ready"`)):
		return nil, n, nil
	case bytes.HasPrefix(line, []byte(`{"op":`)):
		return nil, 0, fmt.Errorf("%w: with the line %.80q", ErrEnded, line)
	}
	_, data, ok := bytes.Cut(line, []byte(`"data":"`))
	if ok {
		data, _, ok = bytes.Cut(data, []byte(`"`))
	}
	if !ok || line[len(line)-1] != '}' {
		return nil, 0, fmt.Errorf("%w: a line %.80q", ErrTorn, line)
	}
	return data, n, nil
}

// dechunker takes the chunked coding away (RFC 9112, section 7.1). It holds what
// it must know between two reads.
type dechunker struct {
	left int32 // bytes of the chunk that are to come
	at   chunkState
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inData
	afterData
	atEnd
)

// decode decodes b in place.
func (d *dechunker) decode(b []byte) ([]byte, error) {
	out := b[:0]
	for i := 0; i < len(b); {
		switch d.at {
		case inSize, inExtension:
			c := b[i]
			i++
			digit := hexDigit(c)
			switch {
			case c == '\n':
				if d.at = inData; d.left == 0 {
					d.at = atEnd
				}
			case c == '\r' || c == ';':
				d.at = inExtension
			case d.at == inExtension:
			case digit < 0 || d.left > 1<<26:
				return nil, fmt.Errorf("%w: the size of a chunk has a %q", ErrTorn, c)
			default:
				d.left = d.left<<4 | digit
			}
		case inData:
			n := min(int(d.left), len(b)-i)
			out = append(out, b[i:i+n]...)
			i += n
			if d.left -= int32(n); d.left == 0 {
				d.at = afterData
			}
		case afterData:
			if b[i] != '\r' && b[i] != '\n' {
				return nil, fmt.Errorf("%w: a %q after a chunk", ErrTorn, b[i])
			}
			if b[i] == '\n' {
				d.at = inSize
			}
			i++
		case atEnd:
			return out, fmt.Errorf("%w: after the last chunk", ErrEnded)
		}
	}
	return out, nil
}

func hexDigit(c byte) int32 {
	switch {
	case c >= '0' && c <= '9':
		return int32(c - '0')
	case c >= 'a' && c <= 'f':
		return int32(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int32(c-'A') + 10
	default:
		return -1
	}
}

// responseHead returns what must be known of an HTTP response, and how many
// bytes its head has; 0: it is not all there.
func responseHead(b []byte) (status int, chunked bool, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, false, 0, nil
	}
	head := b[:end]
	if len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, false, 0, fmt.Errorf("%w: a response begins with %.40q", ErrTorn, head)
	}
	status, err = strconv.Atoi(string(head[9:12]))
	if err != nil {
		return 0, false, 0, fmt.Errorf("%w: a response begins with %.40q", ErrTorn, head)
	}
	chunked = bytes.Contains(bytes.ToLower(head), []byte("\r\ntransfer-encoding: chunked"))
	return status, chunked, end + 4, nil
}
