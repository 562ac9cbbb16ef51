package requests

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// connections are those of one client, one on each transport.
type connections struct {
	session, wrapped, raw *websocket.Conn
	events, ready, lines  *caddytest.Lines // ready is an event stream that begins with ready
	conn                  string           // of ready
	polled                chan pollEnds    // of a waiting poll
}

// pollEnds is the answer to a waiting poll.
type pollEnds struct {
	status int
	body   string
}

// connect opens a connection on each transport in a room; the poll waits in one of its own, whose
// name ends with -poll. Who watches must be allowed to see how many members that has.
func connect(t *testing.T, s *caddytest.Site, room, watch string, headers ...string) *connections {
	t.Helper()
	c := &connections{
		session: s.Dial(room, append(headers, caddytest.Session)...),
		wrapped: s.Dial(room+"?envelope=1", headers...),
		raw:     s.Dial(room, headers...),
		events:  s.Stream(room, "text/event-stream", headers...),
		ready:   s.Stream(room+"?envelope=1", "text/event-stream", headers...),
		lines:   s.Stream(room, "application/x-ndjson", headers...),
		polled:  make(chan pollEnds, 1),
	}
	caddytest.Hear(t, c.session, `"op":"ready"`)
	caddytest.Hear(t, c.wrapped, `"op":"ready"`)
	c.events.Until("id: ")
	var ready caddytest.Envelope
	caddytest.Decode(t, c.ready.Until("data: "), &ready)
	c.conn = ready.Conn
	c.lines.Next()
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/rt/"+room+"-poll?wait=60&last=0", nil)
		if err != nil {
			panic(err)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Add(name, value)
		}
		resp, err := caddytest.Client.Do(req)
		if err != nil {
			c.polled <- pollEnds{body: err.Error()}
			return
		}
		defer resp.Body.Close()
		b := make([]byte, 4096)
		n, _ := resp.Body.Read(b)
		c.polled <- pollEnds{resp.StatusCode, string(b[:n])}
	}()
	caddytest.Eventually(t, "the poll waits", func() bool {
		n := s.Do("HEAD", "/rt/"+room+"-poll", "", watch).Header.Get("Realtime-Members")
		return n != "" && n != "0"
	})
	return c
}

// ended checks that each connection ends as those do whose credential does not count any more, soon,
// and returns what they were sent before, by transport.
func (c *connections) ended(t *testing.T) map[string]string {
	t.Helper()
	soon, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	said := make(map[string]string)
	for name, ws := range map[string]*websocket.Conn{"realtime.v1": c.session, "envelopes": c.wrapped, "raw": c.raw} {
		for {
			_, b, err := ws.Read(soon)
			if err == nil {
				said[name] += string(b) + "\n"
				continue
			}
			if websocket.CloseStatus(err) != 4401 {
				t.Errorf("%s ends with %v after %q, want 4401", name, err, said[name])
			}
			break
		}
	}
	for name, lines := range map[string]*caddytest.Lines{"SSE": c.events, "SSE with envelopes": c.ready, "NDJSON": c.lines} {
		said[name] = strings.Join(lines.Rest(), "\n")
		if !strings.Contains(said[name], "bye") || !strings.Contains(said[name], `"status":401`) {
			t.Errorf("%s ends with %q, %v; want a bye with 401", name, said[name], lines.Err())
		}
	}
	select {
	case p := <-c.polled:
		if p.status != http.StatusUnauthorized || !strings.Contains(p.body, `"status":401`) {
			t.Errorf("the poll ends with %d %s, want 401", p.status, p.body)
		}
	case <-soon.Done():
		t.Error("the poll goes on waiting")
	}
	return said
}

// goOn checks that each connection gets what is published.
func (c *connections) goOn(t *testing.T, s *caddytest.Site, room, publisher string) {
	t.Helper()
	const text = "still-here"
	s.Post(room, text, publisher)
	s.Post(room+"-poll", text, publisher)
	for _, ws := range []*websocket.Conn{c.session, c.wrapped, c.raw} {
		caddytest.Hear(t, ws, text)
	}
	for _, lines := range []*caddytest.Lines{c.events, c.ready, c.lines} {
		for !strings.Contains(lines.Next(), text) {
			continue
		}
	}
	if p := <-c.polled; p.status != http.StatusOK || !strings.Contains(p.body, text) {
		t.Errorf("the poll gets %d %s", p.status, p.body)
	}
}

// warnings returns the transports on which an expiry was announced.
func warnings(said map[string]string) (transports []string) {
	for name, text := range said {
		if strings.Contains(text, `"expires_ms":`) {
			transports = append(transports, name)
		}
	}
	slices.Sort(transports)
	return transports
}
