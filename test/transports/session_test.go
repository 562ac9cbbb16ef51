package transports

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestSessionThroughCaddy(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	ann := s.Dial("", caddytest.Session)
	if ann.Subprotocol() != "realtime.v1" {
		t.Errorf("subprotocol %q", ann.Subprotocol())
	}
	caddytest.Hear(t, ann, `"op":"ready"`, `"heartbeat":25`, `"limits":{"message":65536,"rooms":100}`)
	caddytest.Speak(t, ann, `{"op":"join","room":"a","ref":1,"state":{"name":"Ann"}}`, `{"op":"join","room":"b","ref":2}`)
	caddytest.Hear(t, ann, `"ref":2`, `"op":"ok"`)
	bob := s.Dial("a?last=5", caddytest.Session)
	caddytest.Hear(t, bob, `"op":"ok"`, `"room":"a"`, `"members":2`)
	caddytest.Hear(t, bob, `"here":[{"id":"~`, `"state":{"name":"Ann"}`)
	s.Post("b", "by POST")
	caddytest.Hear(t, ann, `"room":"b"`, `"data":"by POST"`)
	caddytest.Speak(t, bob, `{"op":"publish","room":"a","data":{"n":1},"key":"k"}`)
	caddytest.Hear(t, ann, `"data":{"n":1}`, `"key":"k"`)

	s.Reload("realtime {\n" + caddytest.Open + "room c {\nrate 1\n}\n}") // no client notices
	caddytest.Speak(t, ann, `{"op":"publish","room":"a","ref":9,"data":"after"}`)
	caddytest.Hear(t, ann, `"ref":9`, `"op":"ok"`)
	caddytest.Hear(t, bob, `"data":"after"`)
}

// severalRooms is the query for the rooms a and b/c.
const severalRooms = "?room=a&room=b%2Fc&"

// postToSeveral posts three messages to the rooms a and b/c, and returns the cursor before
// them.
func postToSeveral(t *testing.T, s *caddytest.Site) (cursor string) {
	t.Helper()
	s.Post("a", "before")
	cursor = s.Page(severalRooms).Cursor
	for _, m := range []struct{ room, text string }{{"a", "1"}, {"b/c", "2"}, {"a", "3"}} {
		s.Post(m.room, m.text)
	}
	return cursor
}

// The same cursor of several rooms works on every transport, in every order.
func TestSeveralRoomsOnEveryTransport(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	cursor := postToSeveral(t, s)
	want := []string{"1", "2", "3"}
	since := severalRooms + "since=" + url.QueryEscape(cursor)
	texts := func(next func() string) (got []string) {
		for len(got) < 3 {
			var e caddytest.Envelope
			if line := next(); strings.HasPrefix(line, "{") {
				caddytest.Decode(t, line, &e)
				if e.Op == "" {
					got = append(got, e.Text())
				}
			}
		}
		slices.Sort(got)
		return got
	}
	for name, read := range map[string]func() []string{
		"page":          func() []string { return s.Page(since).Texts() },
		"long-poll":     func() []string { got := s.Page(since + "&wait=5").Texts(); slices.Sort(got); return got },
		"If-None-Match": func() []string { return s.Page(severalRooms, `If-None-Match: "`+cursor+`"`).Texts() },
		"SSE": func() []string {
			l := s.Stream(since, "text/event-stream")
			return texts(func() string { return l.Until("data: ") })
		},
		"SSE by header": func() []string {
			l := s.Stream(severalRooms, "text/event-stream", "Last-Event-ID: "+cursor)
			return texts(func() string { return l.Until("data: ") })
		},
		"NDJSON": func() []string { l := s.Stream(since, "application/x-ndjson"); return texts(l.Next) },
		"WebSocket": func() []string {
			c := s.Dial(since, caddytest.Session)
			return texts(func() string { return caddytest.Receive(t, c) })
		},
	} {
		if got := read(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// An event's id resumes all rooms, exactly.
func TestSeveralRoomsAreResumed(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	l := s.Stream(severalRooms+"since="+url.QueryEscape(postToSeveral(t, s)), "text/event-stream")
	var id string
	for range 2 {
		for data := ""; !strings.HasPrefix(data, `{"id"`); {
			id = l.Until("id: ")
			data = l.Until("data: ")
		}
	}
	p := s.Page(severalRooms + "since=" + url.QueryEscape(id))
	if len(p.Messages) != 1 {
		t.Errorf("after two of three messages there are %q", p.Texts())
	}
	// A room that the cursor does not name is new.
	p = s.Page("?room=a&room=b/c&room=new&last=2&since=" + url.QueryEscape(p.Cursor))
	if len(p.Messages) != 0 || p.Gap != nil {
		t.Errorf("%+v", p)
	}
	resp := s.Do("GET", "/rt/?room=a&room=b", "", `If-None-Match: "`+s.Page("?room=a&room=b").Cursor+`"`)
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("nothing new: %s", resp.Status)
	}
}

func TestSeveralRoomsAreRefused(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for target, want := range map[string]string{
		"?room=a&room=b&since=e":    "since",
		"?room=a&room=b&before=e.1": "one room",
		"?room=a&room=b&members":    "one room",
		"?room=":                    "it is empty",
		"":                          "missing room",
	} {
		resp := s.Do("GET", "/rt/"+target, "")
		if body := caddytest.ReadAll(t, resp); resp.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %s %s", target, resp.Status, body)
		}
	}
	var many strings.Builder
	for i := range 101 {
		fmt.Fprintf(&many, "room=r%d&", i)
	}
	caddytest.Refused(t, s.Do("GET", "/rt/?"+many.String(), ""), 400, "100 rooms")
}

func TestGapsOfSeveralRooms(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Post("a", "1")
	resp := s.Do("GET", "/rt/?room=a&room=b&since=a=old.1,b=old.2", "")
	var p struct {
		Gaps     []caddytest.Envelope
		Messages []caddytest.Envelope
	}
	caddytest.Decode(t, caddytest.ReadAll(t, resp), &p)
	if len(p.Gaps) != 2 || p.Gaps[0].Room != "a" || p.Gaps[1].Room != "b" || len(p.Messages) != 1 {
		t.Errorf("page %+v", p)
	}
	l := s.Stream("?room=a&room=b", "text/event-stream", "Last-Event-ID: a=old.1,b=old.2")
	for range 2 {
		l.Until("event: gap")
	}
	if data := l.Until("data: "); !strings.Contains(data, `"op":"gap"`) {
		t.Errorf("%s", data)
	}
}

// A client without a WebSocket does everything by POST, and nothing but a lease is kept
// for it.
func TestCommandsByPost(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	events := s.Stream("?room=a&envelope=1&presence=1", "text/event-stream")
	var ready caddytest.Envelope
	caddytest.Decode(t, events.Until("data: "), &ready)
	conn := "?conn=" + ready.Conn

	answers := s.Commands(conn,
		`{"op":"publish","room":"a","ref":1,"data":"one","key":"k"}`,
		`{"op":"publish","room":"a","ref":2,"data":"one","key":"k"}`,
		`{"op":"publish","room":"a"}`,
		``,
		`{"op":"state","room":"a","state":{"name":"Ann"}}`,
		`{"op":"signal","room":"a","event":"typing"}`,
		`{"op":"history","room":"a","ref":3}`,
		`{"op":"join","room":"b","ref":4,"state":1}`,
		`{"op":"leave","room":"b","ref":5}`,
	)
	var ops []string
	for _, e := range answers {
		ops = append(ops, e.Op)
	}
	if want := []string{"ok", "ok", "error", "ok", "ok", "ok", "ok", "ok"}; !slices.Equal(ops, want) {
		t.Errorf("answers %q, want %q", ops, want)
	}
	if answers[0].ID == "" || answers[0].ID != answers[1].ID {
		t.Errorf("one key, two messages: %q and %q", answers[0].ID, answers[1].ID)
	}
	events.Until(`data: {"id":"` + answers[0].ID)
	events.Until(`event: presence`)
	if line := events.Until("data: "); !strings.Contains(line, `"state":{"name":"Ann"}`) {
		t.Errorf("presence %s", line)
	}
	// By text/plain nothing preflights.
	resp := s.Do("POST", "/rt/?commands=1", `{"op":"publish","room":"a","data":2}`, "Content-Type: text/plain")
	if body := caddytest.ReadAll(t, resp); !strings.HasPrefix(body, `{"op":"ok","room":"a","id":"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	events.Until("data: {\"id\":")

	if e := s.Commands("", `{"op":"state","room":"a","state":1}`); e[0].Op != "error" || e[0].Status != 400 || e[0].Title != "no connection" {
		t.Errorf("a state of nobody: %+v", e)
	}
	if e := s.Commands("?conn=stolen"+ready.Conn, `{"op":"state","room":"a","state":1}`); e[0].Title != "no connection" {
		t.Errorf("a connection that is none: %+v", e)
	}
	lines := slices.Repeat([]string{`{"op":"leave","room":"a"}`}, 1002)
	if e := s.Commands("", lines...); len(e) != 1001 || e[1000].Status != 400 {
		t.Errorf("%d answers, the last %+v", len(e), e[len(e)-1])
	}
	caddytest.Refused(t, s.Do("POST", "/rt/", "hi"), 400, "missing room")
	caddytest.Refused(t, s.Do("POST", "/rt/?room=a&room=b", "hi"), 400, "one room")
	caddytest.Refused(t, s.Do("POST", "/rt/", strings.Repeat("x", 8<<20+1), caddytest.NDJSON), 413, "commands")
}

func members(t *testing.T, s *caddytest.Site, room string) (n int, here string) {
	t.Helper()
	var p struct {
		Members int
		Here    []struct {
			ID, Name string
			State    json.RawMessage
		}
	}
	caddytest.Decode(t, caddytest.ReadAll(t, s.Do("GET", "/rt/"+room+"?members", "")), &p)
	var all []string
	for _, m := range p.Here {
		all = append(all, m.Name+string(m.State))
	}
	slices.Sort(all)
	return p.Members, strings.Join(all, " ")
}

// One room, every way to be in it, one presence.
func TestPresenceOnEveryTransport(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room quiet {\npresence off\n}\nroom stadium {\npresence count\n}\nroom lobby {\npresence on 1s\n}\n}")
	watch := s.Stream("lobby?members", "text/event-stream")
	watch.Until("event: ready")
	watch.Until(`data: {"op":"presence","room":"lobby","members":0,"here":[]}`)

	v1 := s.Dial("", caddytest.Session)
	caddytest.Speak(t, v1, `{"op":"join","room":"lobby","state":"v1"}`)
	caddytest.Hear(t, v1, `"op":"ok"`)
	sse := s.Stream("lobby?state=%22sse%22", "text/event-stream")
	sse.Until("event: presence")
	lines := s.Stream("lobby?state=%22ndjson%22", "application/x-ndjson")
	lines.Until(`{"op":"presence"`)
	polled := s.Page(`lobby?state="poll"`)
	raw := s.Dial("lobby")
	hidden := s.Dial("lobby", caddytest.Session)
	caddytest.Hear(t, hidden, `"op":"ok"`)
	if n, here := members(t, s, "lobby"); n != 6 || here != `"ndjson" "poll" "sse" "v1"` {
		t.Errorf("%d members, %s", n, here)
	}
	if got := s.Do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members"); got != "6" {
		t.Errorf("Realtime-Members %q", got)
	}
	if len(polled.Presence) != 1 || polled.PresenceCursor == "" {
		t.Errorf("page %+v", polled)
	}
	// A page of the same connection is the same member, and waits for changes.
	again := s.Page("lobby?conn=" + polled.Conn + "&presence=" + polled.PresenceCursor + "&wait=10")
	if again.Conn != polled.Conn || len(again.Presence) != 1 {
		t.Errorf("page %+v", again)
	}
	if n, _ := members(t, s, "lobby"); n != 6 {
		t.Errorf("%d members", n)
	}

	// A member that sends leave is gone at once; a member whose connection ends is gone
	// after the grace.
	caddytest.Speak(t, v1, `{"op":"leave","room":"lobby","ref":1}`)
	caddytest.Hear(t, v1, `"ref":1`)
	if n, here := members(t, s, "lobby"); n != 5 || here != `"ndjson" "poll" "sse"` {
		t.Errorf("%d members, %s", n, here)
	}
	s.Commands("?conn="+polled.Conn, `{"op":"leave","room":"lobby"}`)
	sse.Close()
	lines.Close()
	_ = raw.CloseNow()
	caddytest.Eventually(t, "all have gone but one", func() bool { n, _ := members(t, s, "lobby"); return n == 1 })

	presenceModes(t, s)
}

// presenceModes checks what rooms tell that do not tell who is there.
func presenceModes(t *testing.T, s *caddytest.Site) {
	t.Helper()
	for room, want := range map[string]string{"stadium": `{"room":"stadium","members":1,`, "quiet": "no presence"} {
		c := s.Dial("", caddytest.Session)
		caddytest.Speak(t, c, `{"op":"join","room":"`+room+`","state":1}`)
		caddytest.Hear(t, c, `"op":"ok"`)
		if body := caddytest.ReadAll(t, s.Do("GET", "/rt/"+room+"?members", "")); !strings.Contains(body, want) || strings.Contains(body, "here") {
			t.Errorf("%s: %s", room, body)
		}
	}
	if h := s.Do("HEAD", "/rt/quiet", "").Header; len(h.Values("Realtime-Members")) > 0 {
		t.Errorf("quiet tells %q", h.Values("Realtime-Members"))
	}
	if p := s.Page("quiet?state=1"); len(p.Presence) > 0 {
		t.Errorf("quiet tells %+v", p.Presence)
	}
}
