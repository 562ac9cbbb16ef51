package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/caddy-realtime/realtime/ws/frame"
)

const (
	fin  = 0x80
	rsv1 = 0x40

	cont   = byte(frame.Continuation)
	text   = byte(frame.Text)
	bin    = byte(frame.Binary)
	closes = byte(frame.Close)
	ping   = byte(frame.Ping)
	pong   = byte(frame.Pong)
)

// masked returns a frame as a client sends it.
func masked(first byte, payload string) []byte {
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	b := append(header(first, 0x80, uint64(len(payload))), key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// header returns the beginning of a frame, up to its length.
func header(first, mask byte, n uint64) []byte {
	switch {
	case n <= 125:
		return []byte{first, mask | byte(n)}
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16([]byte{first, mask | 126}, uint16(n))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, mask | 127}, n)
	}
}

// closing returns the payload of a closing frame.
func closing(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

func frames(all ...[]byte) []byte { return bytes.Join(all, nil) }

// errIdle is what a source says between its pieces.
var errIdle = errors.New("idle")

// source gives its pieces one by one, and in between it is idle once. When all
// are given it has ended.
type source struct {
	pieces [][]byte
	idle   bool // say errIdle before the next piece
	reads  int
}

// cutAt returns a source of p in two pieces.
func cutAt(p []byte, i int) *source { return &source{pieces: [][]byte{p[:i], p[i:]}} }

// every returns a source of p in pieces of n bytes.
func every(p []byte, n int) *source {
	s := new(source)
	for len(p) > n {
		s.pieces = append(s.pieces, p[:n])
		p = p[n:]
	}
	s.pieces = append(s.pieces, p)
	return s
}

func (s *source) read(p []byte) (int, error) {
	s.reads++
	if s.idle {
		s.idle = false
		return 0, errIdle
	}
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	s.idle = len(s.pieces[0]) == 0
	return n, nil
}

// told returns an event as text, such as `text:hi` or `close:1000:reason`.
func told(e frame.Event) string {
	switch e.Op {
	case frame.Text:
		return "text:" + string(e.Data)
	case frame.Binary:
		return "binary:" + string(e.Data)
	case frame.Ping:
		return "ping:" + string(e.Data)
	case frame.Pong:
		return "pong:" + string(e.Data)
	case frame.Close:
		return fmt.Sprintf("close:%d:%s", e.Code, e.Reason)
	default:
		return fmt.Sprintf("opcode %d", e.Op)
	}
}

// outcome returns an error's kind as text.
func outcome(err error) string {
	for name, e := range map[string]error{
		"protocol": frame.ErrProtocol, "text": frame.ErrInvalidText, "large": frame.ErrTooLarge,
		"eof": io.EOF, "cut": io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return fmt.Sprint(err)
}

// run reads all events, and how it ends.
func run(t testing.TB, r *frame.Reader, s *source, limit int64) (got []string) {
	t.Helper()
	for {
		e, err := r.Next(s.read, func() int64 { return limit })
		switch {
		case err == nil:
			got = append(got, told(e))
			if int64(len(e.Data)) > max(limit, frame.MaxControl) {
				t.Fatalf("%d bytes, over the limit of %d", len(e.Data), limit)
			}
		case errors.Is(err, errIdle):
			if r.AtBorder() && r.Held() > 0 {
				t.Fatalf("%d bytes are held while idle", r.Held())
			}
		default:
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && r.Held() > 0 {
				t.Fatalf("%d bytes are held after %v", r.Held(), err)
			}
			return append(got, outcome(err))
		}
		// Unused bytes, and a compressed payload may be a little longer.
		if most := 2*limit + 2*4096; int64(r.Held()) > most {
			t.Fatalf("%d bytes are held, at most %d should be", r.Held(), most)
		}
	}
}
