package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// Kind is how a connection gets its messages.
type Kind uint8

// The kinds of connections.
const (
	WebSocket Kind = iota
	Events         // server-sent events
	Lines          // lines of JSON
	SocketIO       // Socket.IO over a WebSocket
)

func (k Kind) String() string {
	return [...]string{"WebSocket", "SSE", "NDJSON", "Socket.IO"}[k]
}

// tally is what all connections of a pool count together.
type tally struct {
	delivered int64
	size      int        // bytes of each message; 0: any
	now       int64      // when what is being read was read
	latency   *Histogram // nil: nobody asks
	replies   []byte     // to be written to the connection that is being read
}

// stream takes apart what one connection receives after its handshake.
type stream struct {
	rest    []byte // the beginning of what is not all there
	next    uint64 // number of the message that is due; 0: any
	chunk   dechunker
	kind    Kind
	chunked bool
}

// feed takes what was read, and changes it.
func (s *stream) feed(b []byte, t *tally) error {
	if s.chunked {
		var err error
		if b, err = s.chunk.decode(b); err != nil {
			return err
		}
	}
	if len(s.rest) > 0 {
		b = append(s.rest, b...)
		s.rest = nil
	}
	for len(b) > 0 {
		n, err := s.one(b, t)
		if err != nil {
			return err
		}
		if n == 0 {
			s.rest = bytes.Clone(b)
			return nil
		}
		b = b[n:]
	}
	return nil
}

// one takes the first unit of b, and returns its size; 0: it is not all there.
func (s *stream) one(b []byte, t *tally) (int, error) {
	var data []byte
	var n int
	var err error
	switch s.kind {
	case Events:
		data, n, err = nextEvent(b)
	case Lines:
		data, n, err = nextLine(b)
	default:
		var op byte
		op, data, n, err = nextFrame(b)
		if n > 0 {
			data, err = s.frame(op, data, t)
		}
	}
	if err != nil || data == nil {
		return n, err
	}
	return n, s.deliver(data, t)
}

// frame returns the data of the message in a frame; nil if there is none.
func (s *stream) frame(op byte, payload []byte, t *tally) ([]byte, error) {
	switch op {
	case opPing:
		t.replies = appendFrame(t.replies, opPong, payload)
		return nil, nil
	case opPong:
		return nil, nil
	case opClose:
		code := 0
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
		}
		return nil, fmt.Errorf("%w: closed with %d", ErrEnded, code)
	case opText, opBinary:
	default:
		return nil, fmt.Errorf("%w: a frame with opcode %d", ErrTorn, op)
	}
	if s.kind == WebSocket {
		return payload, nil
	}
	if len(payload) == 1 && payload[0] == '2' {
		t.replies = appendFrame(t.replies, opText, []byte("3"))
		return nil, nil
	}
	data, ok := bytes.CutPrefix(payload, []byte(socketIOBefore))
	if ok {
		data, ok = bytes.CutSuffix(data, []byte(socketIOAfter))
	}
	if !ok {
		return nil, fmt.Errorf("%w: a packet %.40q", ErrTorn, payload)
	}
	return data, nil
}

// The text around the data of a Socket.IO event.
const (
	socketIOBefore = `42["m","`
	socketIOAfter  = `"]`
)

// deliver counts and checks one message.
func (s *stream) deliver(data []byte, t *tally) error {
	number, at, err := parseMessage(data)
	if err != nil {
		return err
	}
	if t.size > 0 && len(data) != t.size {
		return fmt.Errorf("%w: number %d has %d bytes, not %d", ErrTorn, number, len(data), t.size)
	}
	if err := checkNumber(s.next, number); err != nil {
		return err
	}
	s.next = number + 1
	t.delivered++
	if t.latency != nil && at > 0 {
		t.latency.Add(time.Duration(t.now - at))
	}
	return nil
}

// appendPublish appends what publishes a message on a connection of that kind.
func appendPublish(b []byte, kind Kind, data []byte) []byte {
	if kind == SocketIO {
		return appendFrame(b, opText, []byte(socketIOBefore), data, []byte(socketIOAfter))
	}
	return appendFrame(b, opText, data)
}
