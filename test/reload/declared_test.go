package reload

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A reload that declares rooms ends the subscriptions in others, on every transport, and nobody
// else's. A reload that takes it back finds what these rooms had.
func TestReloadOfDeclaredRooms(t *testing.T) {
	const (
		open     = "realtime {\n" + caddytest.Open + "}"
		declared = "realtime {\n" + caddytest.Open + "rooms declared\nroom news\n}"
	)
	s := caddytest.Start(t, open)
	s.Within = 5 * time.Second // also for the streams
	s.Post("chat", "kept")
	session := s.Dial("", caddytest.Session)
	caddytest.Speak(t, session, `{"op":"join","room":"chat"}`, `{"op":"join","room":"news"}`)
	caddytest.Hear(t, session, `"op":"ok"`, `"room":"news"`)
	raw := s.Dial("chat")
	events := s.Stream("chat", "text/event-stream")
	events.Until("id: ")
	lines := s.Stream("chat", "application/x-ndjson")
	lines.Next()
	both := s.Stream("?room=chat&room=news", "application/x-ndjson")
	both.Next()
	other := s.Stream("news", "application/x-ndjson")
	other.Next()

	s.Reload(declared)
	s.Post("news", "public")
	if got := other.Next(); !strings.Contains(got, "public") {
		t.Errorf("the stream of the declared room gets %s", got)
	}
	if left := next(t, session); !strings.Contains(left, `"op":"left","room":"chat","status":404`) {
		t.Errorf("the session is told %s", left)
	} else if got := next(t, session); !strings.Contains(got, "public") {
		t.Errorf("the session gets %s after it has left", got)
	}
	both.Until(`{"op":"left","room":"chat","status":404`)
	if got := both.Next(); !strings.Contains(got, "public") {
		t.Errorf("the stream of both rooms gets %s after it has left one", got)
	}
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, b, err := raw.Read(soon); websocket.CloseStatus(err) != 4404 {
		t.Errorf("the raw WebSocket gets %q, %v", b, err)
	}
	for name, rest := range map[string][]string{"SSE": events.Rest(), "NDJSON": lines.Rest()} {
		if got := strings.Join(rest, "\n"); !strings.Contains(got, "bye") || !strings.Contains(got, "404") {
			t.Errorf("%s ends with %q", name, got)
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/chat", "x"), 404, "does not exist")
	caddytest.Speak(t, session, `{"op":"join","ref":7,"room":"chat"}`)
	caddytest.Hear(t, session, `"op":"error"`, `"ref":7`, `"status":404`)

	s.Reload(open)
	if got := s.Page("chat").Texts(); len(got) != 1 || got[0] != "kept" {
		t.Errorf("when any name is a room again, the room has %q", got)
	}
	caddytest.Speak(t, session, `{"op":"join","ref":8,"room":"chat"}`)
	caddytest.Hear(t, session, `"op":"ok"`, `"ref":8`)
	s.Post("chat", "again")
	if got := next(t, session); !strings.Contains(got, "again") {
		t.Errorf("the session gets %s", got)
	}
}

// A poll that waits for a room ends when a reload does not declare it.
func TestReloadOfDeclaredRoomsEndsPolls(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	answered := make(chan int, 1)
	go func() {
		resp := s.Do("GET", "/rt/chat?wait=60", "")
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	caddytest.Eventually(t, "the poll waits", func() bool {
		return strings.Contains(caddytest.ReadAll(t, s.Do("GET", "/rt/chat?members", "")), `"members":1`)
	})
	s.Reload("realtime {\n" + caddytest.Open + "rooms declared\nroom news\n}")
	if status := <-answered; status != 404 {
		t.Errorf("the poll is answered with %d", status)
	}
}
