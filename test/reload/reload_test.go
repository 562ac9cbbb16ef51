package reload

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestReloadKeepsWebSocketsUnderNewSettings(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	c := s.Dial("lobby?envelope=1")
	first := caddytest.ReceiveEnvelope(t, c)
	s.Post("lobby", "before")
	before := caddytest.ReceiveEnvelope(t, c)

	s.Reload("realtime {\n" + caddytest.Open + "max_message_size 10\n}")
	s.Post("lobby", "after")
	if e := caddytest.ReceiveEnvelope(t, c); e.Text() != "after" || epoch(e.ID) != epoch(before.ID) || epoch(e.ID) != epoch(first.Cursor) {
		t.Errorf("got %+v after the reload, want the next message of the same epoch", e)
	}
	if resp := s.Do("POST", "/rt/lobby", "this is too long"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("POST over the new limit: %s", resp.Status)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("this is too long")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("frame over the new limit: %v, want 1009", err)
	}
}

func epoch(id string) string {
	e, _, _ := strings.Cut(id, ".")
	return e
}

// Streams over HTTP/1.1 stay; those of later versions are in test/http2.
func TestReloadKeepsStreamsAndEndsPolls(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	events := s.Stream("lobby", "text/event-stream")
	events.Until("id: ")
	ndjson := s.Stream("lobby", "application/x-ndjson")
	ndjson.Next()
	s.Post("lobby", "one")
	ndjson.Next()
	id := events.Until("id: ")
	polled := make(chan caddytest.Page, 1)
	cursor := s.Page("lobby").Cursor
	var poll sync.WaitGroup
	poll.Go(func() { polled <- s.Page("lobby?wait=60&since=" + cursor) })
	caddytest.Eventually(t, "three members", func() bool {
		return s.Do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members") == "3"
	})

	s.Reload("realtime {\n" + caddytest.Open + "heartbeat 20s\n}")
	poll.Wait()
	if p := <-polled; len(p.Messages) != 0 || p.Cursor != cursor {
		t.Errorf("the poll got %+v, want nothing and its cursor", p)
	}
	s.Post("lobby", "two")
	for range 2 {
		events.Until("data: ")
	}
	var e caddytest.Envelope
	if caddytest.Decode(t, ndjson.Next(), &e); e.Text() != "two" {
		t.Errorf("NDJSON went on with %+v", e)
	}
	again := s.Stream("lobby", "text/event-stream", "Last-Event-ID: "+id)
	if got := again.Until("data: "); got != "two" {
		t.Errorf("resumed with %q, want two", got)
	}

	s.Reload(`respond "nothing live here"`) // the hub ends
	if rest := events.Rest(); len(rest) < 2 || !strings.HasPrefix(rest[len(rest)-2], "retry: ") {
		t.Errorf("SSE ends with %q, want retry", rest)
	}
	if rest := ndjson.Rest(); len(rest) != 1 || !strings.Contains(rest[0], `"op":"bye"`) {
		t.Errorf("NDJSON ends with %q, want bye", rest)
	}
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	c := s.Dial("lobby")
	for name, bad := range map[string]string{
		"in validation": "realtime {\n" + caddytest.Open + "max_message_size 10\n}\n@bad path_regexp ([\nrespond @bad x",
		"at start":      "realtime {\n" + caddytest.Open + "max_message_size 10\n}\n}\nhttp://192.0.2.1:1 {\nbind 192.0.2.1",
	} {
		config, _, err := caddytest.Adapt(s.Caddyfile(bad))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := caddy.Load(config, true); err == nil {
			t.Fatalf("%s: the bad configuration was loaded", name)
		}
		s.Post("lobby", "long enough for the old limit")
		if got := caddytest.Receive(t, c); got != "long enough for the old limit" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestReloadWithoutRealtimeSaysGoodbye(t *testing.T) {
	s := caddytest.Start(t, "realtime")
	c := s.Dial("lobby")
	s.Reload(`respond "nothing live here"`)
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("closed with %v, want 1012", err)
	}
}

func TestReloadLeavesNoGoroutines(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	round := func(i int) {
		c := s.Dial("lobby?envelope=1")
		caddytest.Receive(t, c)
		events := s.Stream("lobby", "text/event-stream")
		events.Until("id: ")
		s.Reload(fmt.Sprintf("realtime {\n%smax_rooms %d\n}", caddytest.Open, 100+i))
		s.Post("lobby", "x")
		caddytest.Receive(t, c)
		events.Until("data: ")
		events.Close()
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	round(0)
	var before int
	caddytest.Eventually(t, "rest", func() bool {
		n := runtime.NumGoroutine()
		steady := n == before
		before = n
		return steady
	})
	for i := range 10 {
		round(i + 1)
	}
	// Ten rounds may leave a few of net/http's behind for a moment, never one a
	// round for long.
	caddytest.Eventually(t, fmt.Sprintf("no more goroutines than about %d", before), func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before+3
	})
}

// A hub that comes back while the old one of its name still sends clients away is a new one.
func TestHubComesBackWhileItDrains(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"drain 3s\n}")
	before := s.Page("lobby").Cursor
	sockets := make([]*websocket.Conn, 40)
	for i := range sockets {
		sockets[i] = s.Dial("lobby")
	}
	s.Reload(`respond "nothing live here"`)
	s.Reload("realtime {\n" + caddytest.Open + "drain 1s\n}")
	c := s.Dial("lobby")
	s.Post("lobby", "new")
	if got := caddytest.Receive(t, c); got != "new" {
		t.Errorf("the new hub's client got %q", got)
	}
	for i, old := range sockets {
		_, b, err := old.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
			t.Errorf("client %d of the old hub got %q, %v, want 1012", i, b, err)
		}
	}
	if after := s.Page("lobby").Cursor; epoch(after) == epoch(before) {
		t.Errorf("the cursor %s is of the old hub's epoch, as %s", after, before)
	}
}
