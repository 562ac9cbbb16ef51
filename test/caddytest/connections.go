package caddytest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Dial opens a WebSocket, which is closed when the test ends.
func (s *Site) Dial(target string, headers ...string) *websocket.Conn {
	s.t.Helper()
	h := http.Header{}
	for _, v := range headers {
		name, value, _ := strings.Cut(v, ": ")
		h.Add(name, value)
	}
	options := &websocket.DialOptions{HTTPHeader: h, Subprotocols: h.Values("Sec-WebSocket-Protocol")}
	h.Del("Sec-WebSocket-Protocol")
	c, resp, err := websocket.Dial(s.t.Context(), s.URL+"/rt/"+target, options)
	for range 3 {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		c, resp, err = websocket.Dial(s.t.Context(), s.URL+"/rt/"+target, options)
	}
	if err != nil {
		if resp != nil && resp.Body != nil {
			b, _ := io.ReadAll(resp.Body)
			s.t.Fatalf("dialing %s: %v %s", target, err, b)
		}
		s.t.Fatalf("dialing %s: %v", target, err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// Receive reads one frame.
func Receive(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("reading a frame: %v", err)
	}
	return string(b)
}

// ReceiveEnvelope reads one frame as an object.
func ReceiveEnvelope(t *testing.T, c *websocket.Conn) Envelope {
	t.Helper()
	var e Envelope
	Decode(t, Receive(t, c), &e)
	return e
}

// Speak sends commands on a WebSocket.
func Speak(t *testing.T, c *websocket.Conn, lines ...string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
}

// Hear reads frames up to one that has all of the texts in it, and returns it.
func Hear(t *testing.T, c *websocket.Conn, texts ...string) string {
	t.Helper()
	var heard []string
	for range 100 {
		frame := Receive(t, c)
		heard = append(heard, frame)
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(frame, text) }) {
			return frame
		}
	}
	t.Fatalf("never heard %q, but %q", texts, heard)
	return ""
}

// Lines reads a stream line by line.
type Lines struct {
	*bufio.Scanner

	t    *testing.T
	body io.Closer
}

// Stream opens a stream and checks its type.
func (s *Site) Stream(target, accept string, headers ...string) *Lines {
	s.t.Helper()
	resp := s.Do("GET", "/rt/"+target, "", append(headers, "Accept: "+accept)...)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != accept {
		s.t.Fatalf("GET %s: %s, type %q: %s", target, resp.Status, resp.Header.Get("Content-Type"), ReadAll(s.t, resp))
	}
	return NewLines(s.t, resp)
}

// NewLines reads a response line by line.
func NewLines(t *testing.T, resp *http.Response) *Lines {
	return &Lines{Scanner: bufio.NewScanner(resp.Body), t: t, body: resp.Body}
}

// Next returns the next line.
func (l *Lines) Next() string {
	l.t.Helper()
	if !l.Scan() {
		l.t.Fatalf("the stream ended: %v", l.Err())
	}
	return l.Text()
}

// Until reads up to a line with the beginning and returns its rest.
func (l *Lines) Until(beginning string) string {
	l.t.Helper()
	for {
		if rest, ok := strings.CutPrefix(l.Next(), beginning); ok {
			return rest
		}
	}
}

// Rest reads to the end.
func (l *Lines) Rest() []string {
	var all []string
	for l.Scan() {
		all = append(all, l.Text())
	}
	return all
}

// Close ends the stream.
func (l *Lines) Close() { _ = l.body.Close() }
