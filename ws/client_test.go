package ws_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// First bytes of frames: FIN and an opcode (RFC 6455, section 5.2).
const (
	fin    = 0x80
	rsv1   = 0x40
	rsv2   = 0x20
	rsv3   = 0x10
	cont   = 0x00 // a continuation
	text   = 0x01
	bin    = 0x02
	closes = 0x08
	ping   = 0x09
	pong   = 0x0a
)

// client is a WebSocket client that can break every rule.
type client struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

// masked returns a frame as a client sends it.
func masked(first byte, payload string) []byte {
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	b := header(first, 0x80, uint64(len(payload)))
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

// unmasked returns a frame as only a server may send it.
func unmasked(first byte, payload string) []byte {
	return append(header(first, 0, uint64(len(payload))), payload...)
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

// frames joins what is sent in one write.
func frames(all ...[]byte) []byte { return bytes.Join(all, nil) }

// send writes the frames at once.
func (c *client) send(all ...[]byte) {
	c.t.Helper()
	if _, err := c.nc.Write(frames(all...)); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// next returns the next frame as text, such as `text:hi`, `pong:` or
// `close:1000:reason`, and "end" after the last one.
func (c *client) next() string {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("no frame comes, and no end")
		}
		return "end"
	}
	n := uint64(head[1])
	switch {
	case n > 127:
		c.t.Fatalf("a masked frame: % x", head)
	case n == 126:
		n = uint64(binary.BigEndian.Uint16(c.read(2)))
		if n < 126 {
			c.t.Fatalf("%d bytes, and their length in two", n)
		}
	case n == 127:
		n = binary.BigEndian.Uint64(c.read(8))
		if n <= 0xffff || n > 1<<24 {
			c.t.Fatalf("%d bytes, and their length in eight", n)
		}
	}
	payload := string(c.read(int(n)))
	switch head[0] {
	case fin | text:
		return "text:" + payload
	case fin | bin:
		return "binary:" + payload
	case fin | ping:
		return "ping:" + payload
	case fin | pong:
		return "pong:" + payload
	case fin | closes:
		if len(payload) == 0 {
			return "close"
		}
		return fmt.Sprintf("close:%d:%s", binary.BigEndian.Uint16([]byte(payload)), payload[2:])
	default:
		c.t.Fatalf("a frame that nobody sends: % x", head)
		return ""
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.br, b); err != nil {
		c.t.Fatalf("in the middle of a frame: %v", err)
	}
	return b
}

// expect reads as many frames as are wanted. A text that ends with "*" stands for every
// frame with that beginning.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		got := c.next()
		if prefix, open := strings.CutSuffix(w, "*"); got != w && !(open && strings.HasPrefix(got, prefix)) {
			c.t.Fatalf("frame %s, want %s", short(got), short(w))
		}
	}
}

// short shortens a frame for messages.
func short(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%.80q… (%d bytes)", s, len(s))
	}
	return fmt.Sprintf("%q", s)
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}
