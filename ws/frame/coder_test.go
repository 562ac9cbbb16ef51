package frame_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/ws/frame"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// accept answers the handshake (RFC 6455, section 4.2.2) and takes the
// connection, with deflate (RFC 7692, section 7.1) if the query asks for it.
func accept(w http.ResponseWriter, r *http.Request) (nc net.Conn, early []byte, deflate bool, err error) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if r.URL.Query().Has("deflate") {
		if !strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
			return nil, nil, false, errors.New("deflate is not offered")
		}
		deflate = true
		answer += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, false, err
	}
	early, _ = brw.Reader.Peek(brw.Reader.Buffered())
	_, err = io.WriteString(nc, answer+"\r\n")
	return nc, early, deflate, err
}

// echo serves one connection with a Reader: it returns messages, compressed if
// that was agreed on, answers pings, and closes as the peer does.
func echo(nc net.Conn, early []byte, deflate bool) error {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	r := &frame.Reader{Deflate: deflate}
	r.Feed(early)
	var out []byte
	for {
		e, err := r.Next(nc.Read, func() int64 { return 1 << 20 })
		if err != nil {
			return err
		}
		switch op := e.Op; {
		case op == frame.Close:
			_, err = nc.Write(frame.AppendFrame(nil, frame.Close, e.Data))
			return err
		case op == frame.Ping:
			out = frame.AppendFrame(out[:0], frame.Pong, e.Data)
		case op == frame.Pong:
			continue
		case deflate:
			out = frame.AppendFrame(out[:0], op|frame.RSV1, frame.Compress(nil, e.Data))
		default:
			out = frame.AppendFrame(out[:0], op, e.Data)
		}
		if _, err := nc.Write(out); err != nil {
			return err
		}
	}
}

// Frames of coder/websocket are read correctly, and the other way round.
func TestAgainstCoder(t *testing.T) {
	results := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, early, deflate, err := accept(w, r)
		if err == nil {
			err = echo(nc, early, deflate)
		}
		results <- err
	}))
	defer s.Close()
	for name, query := range map[string]string{"plain": "", "deflate": "?deflate"} {
		t.Run(name, func(t *testing.T) {
			o := &websocket.DialOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1}
			c, _, err := websocket.Dial(t.Context(), s.URL+query, o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			for round := range 120 {
				kind, sent := message(round)
				written := make(chan error, 1)
				go func() { written <- inFragments(t, c, kind, sent, round%4) }()
				gotKind, got, err := c.Read(t.Context())
				if err := errors.Join(err, <-written); err != nil {
					t.Fatal(err)
				}
				if gotKind != kind || !bytes.Equal(got, sent) {
					t.Fatalf("round %d: %d bytes of kind %v come back as %d of %v", round, len(sent), kind, len(got), gotKind)
				}
			}
			// A pong is seen only by a reader.
			ctx := c.CloseRead(t.Context())
			if err := c.Ping(ctx); err != nil {
				t.Error(err)
			}
			if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Error(err)
			}
			if err := <-results; err != nil {
				t.Error(err)
			}
		})
	}
}

// message returns a random message of a length that grows with the round.
func message(round int) (websocket.MessageType, []byte) {
	p := make([]byte, rand.IntN(1+5*round*round))
	if round%2 == 0 {
		for i := range p {
			p[i] = byte(rand.Uint32())
		}
		return websocket.MessageBinary, p
	}
	words := []string{"κόσμε ", "hello ", "\U0001f44b", "{\"a\":1}"}
	var text strings.Builder
	for text.Len() < len(p) {
		text.WriteString(words[rand.IntN(len(words))])
	}
	return websocket.MessageText, []byte(text.String())
}

// inFragments writes a message in one piece, or in several, which need not be
// whole runes.
func inFragments(t *testing.T, c *websocket.Conn, kind websocket.MessageType, p []byte, n int) error {
	if n == 0 {
		return c.Write(t.Context(), kind, p)
	}
	w, err := c.Writer(t.Context(), kind)
	if err != nil {
		return err
	}
	for len(p) > 0 && err == nil {
		part := p[:min(len(p), 1+len(p)/n)]
		p = p[len(part):]
		_, err = w.Write(part)
	}
	return errors.Join(err, w.Close())
}
