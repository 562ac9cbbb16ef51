package ws_test

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/ws"
)

func compressing(o *ws.Options) { o.Compression = true }

// deflating connects with a library that offers permessage-deflate, or not.
func (s *server) deflating(t *testing.T, mode websocket.CompressionMode) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.Dial(t.Context(), "ws://"+s.addr, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	agreed := strings.HasPrefix(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	if agreed != (mode != websocket.CompressionDisabled && s.options.Compression) {
		t.Fatalf("agreed on %q", resp.Header.Get("Sec-WebSocket-Extensions"))
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func got(t *testing.T, c *websocket.Conn) (websocket.MessageType, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	kind, b, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return kind, string(b)
}

// Some inflate and some don't; all get the same.
func TestCompression(t *testing.T) {
	for name, change := range map[string]func(*ws.Options){"raw": plain, "envelopes": envelope} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, configured(), compressing, change)
			inflates, other := s.deflating(t, websocket.CompressionNoContextTakeover), s.deflating(t, websocket.CompressionDisabled)
			if s.options.Envelope {
				got(t, inflates)
				got(t, other)
			}
			for i, size := range []int{0, 1, 255, 256, 1000, 60_000} {
				for _, sender := range []*websocket.Conn{inflates, other} {
					text := strings.Repeat(fmt.Sprint(i), size)
					kind := []websocket.MessageType{websocket.MessageText, websocket.MessageBinary}[i%2]
					if err := sender.Write(t.Context(), kind, []byte(text)); err != nil {
						t.Fatal(err)
					}
					ka, a := got(t, inflates)
					kb, b := got(t, other)
					if a != b || ka != kb {
						t.Errorf("%d bytes: %v and %v", size, short(a), short(b))
					}
					if !s.options.Envelope && (a != text || ka != kind) {
						t.Errorf("%d bytes: %v", size, short(a))
					}
				}
			}
		})
	}
}

// Without an agreement nothing is compressed.
func TestNoCompression(t *testing.T) {
	s := listen(t, configured())
	c := s.deflating(t, websocket.CompressionNoContextTakeover)
	publish(t, s.hub, message.Text, strings.Repeat("*", 1000))
	if _, text := got(t, c); len(text) != 1000 {
		t.Errorf("%s", short(text))
	}
}

// A message that is small on the wire and large in memory counts with its size in
// memory.
func TestBomb(t *testing.T) {
	s := listen(t, configured(), compressing)
	c := s.dialWith(t, "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover")
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	payload := strings.TrimSuffix(bomb.String(), "\x00\x00\xff\xff")
	if len(payload) > 70_000 {
		t.Fatalf("%d bytes are no bomb", len(payload))
	}
	began := time.Now()
	c.send(masked(fin|rsv1|bin, payload))
	c.expect("close:1009:message too large", "end")
	s.ended(t, hub.CauseTooLarge)
	t.Logf("refused after %v", time.Since(began))
}
