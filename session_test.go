package realtime

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

const ndjson = "Content-Type: application/x-ndjson"

// commands posts commands and returns the answers.
func (s *site) commands(query string, lines ...string) (answers []envelope) {
	s.t.Helper()
	resp := s.do("POST", "/rt/"+query, strings.Join(lines, "\n"), ndjson)
	body := readAll(s.t, resp)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		s.t.Fatalf("%s %s", resp.Status, body)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(body), "\n") {
		var e envelope
		decode(s.t, line, &e)
		answers = append(answers, e)
	}
	return answers
}

// speak sends commands on a WebSocket.
func speak(t *testing.T, c *websocket.Conn, lines ...string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
}

// hear reads frames up to one that has all of the texts in it.
func hear(t *testing.T, c *websocket.Conn, texts ...string) string {
	t.Helper()
	var heard []string
	for range 100 {
		frame := receive(t, c)
		heard = append(heard, frame)
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(frame, text) }) {
			return frame
		}
	}
	t.Fatalf("never heard %q, but %q", texts, heard)
	return ""
}

const sessionHeader = "Sec-WebSocket-Protocol: realtime.v1"

func TestSessionThroughCaddy(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	ann := s.dial("", sessionHeader)
	if ann.Subprotocol() != "realtime.v1" {
		t.Errorf("subprotocol %q", ann.Subprotocol())
	}
	hear(t, ann, `"op":"ready"`, `"heartbeat":25`, `"limits":{"message":65536,"rooms":100}`)
	speak(t, ann, `{"op":"join","room":"a","ref":1,"state":{"name":"Ann"}}`, `{"op":"join","room":"b","ref":2}`)
	hear(t, ann, `"ref":2`, `"op":"ok"`)
	bob := s.dial("a?last=5", sessionHeader)
	hear(t, bob, `"op":"ok"`, `"room":"a"`, `"members":2`)
	hear(t, bob, `"here":[{"id":"~`, `"state":{"name":"Ann"}`)
	s.post("b", "by POST")
	hear(t, ann, `"room":"b"`, `"data":"by POST"`)
	speak(t, bob, `{"op":"publish","room":"a","data":{"n":1},"key":"k"}`)
	hear(t, ann, `"data":{"n":1}`, `"key":"k"`)

	s.reload("realtime {\n" + open + "room c {\nrate 1\n}\n}") // no client notices
	speak(t, ann, `{"op":"publish","room":"a","ref":9,"data":"after"}`)
	hear(t, ann, `"ref":9`, `"op":"ok"`)
	hear(t, bob, `"data":"after"`)
}

// severalRooms is the query for the rooms a and b/c.
const severalRooms = "?room=a&room=b%2Fc&"

// postToSeveral posts three messages to the rooms a and b/c, and returns the cursor before
// them.
func (s *site) postToSeveral() (cursor string) {
	s.t.Helper()
	s.post("a", "before")
	cursor = s.page(severalRooms).Cursor
	for _, m := range []struct{ room, text string }{{"a", "1"}, {"b/c", "2"}, {"a", "3"}} {
		s.post(m.room, m.text)
	}
	return cursor
}

// The same cursor of several rooms works on every transport, in every order.
func TestSeveralRoomsOnEveryTransport(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	cursor := s.postToSeveral()
	want := []string{"1", "2", "3"}
	since := severalRooms + "since=" + url.QueryEscape(cursor)
	texts := func(next func() string) (got []string) {
		for len(got) < 3 {
			var e envelope
			if line := next(); strings.HasPrefix(line, "{") {
				decode(t, line, &e)
				if e.Op == "" {
					got = append(got, e.text())
				}
			}
		}
		slices.Sort(got)
		return got
	}
	for name, read := range map[string]func() []string{
		"page":          func() []string { return s.page(since).texts() },
		"long-poll":     func() []string { got := s.page(since + "&wait=5").texts(); slices.Sort(got); return got },
		"If-None-Match": func() []string { return s.page(severalRooms, `If-None-Match: "`+cursor+`"`).texts() },
		"SSE": func() []string {
			l := s.stream(since, "text/event-stream")
			return texts(func() string { return l.until("data: ") })
		},
		"SSE by header": func() []string {
			l := s.stream(severalRooms, "text/event-stream", "Last-Event-ID: "+cursor)
			return texts(func() string { return l.until("data: ") })
		},
		"NDJSON": func() []string { l := s.stream(since, "application/x-ndjson"); return texts(l.next) },
		"WebSocket": func() []string {
			c := s.dial(since, sessionHeader)
			return texts(func() string { return receive(t, c) })
		},
	} {
		if got := read(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// An event's id resumes all rooms, exactly.
func TestSeveralRoomsAreResumed(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	l := s.stream(severalRooms+"since="+url.QueryEscape(s.postToSeveral()), "text/event-stream")
	var id string
	for range 2 {
		for data := ""; !strings.HasPrefix(data, `{"id"`); {
			id = l.until("id: ")
			data = l.until("data: ")
		}
	}
	p := s.page(severalRooms + "since=" + url.QueryEscape(id))
	if len(p.Messages) != 1 {
		t.Errorf("after two of three messages there are %q", p.texts())
	}
	// A room that the cursor does not name is new.
	p = s.page("?room=a&room=b/c&room=new&last=2&since=" + url.QueryEscape(p.Cursor))
	if len(p.Messages) != 0 || p.Gap != nil {
		t.Errorf("%+v", p)
	}
	resp := s.do("GET", "/rt/?room=a&room=b", "", `If-None-Match: "`+s.page("?room=a&room=b").Cursor+`"`)
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("nothing new: %s", resp.Status)
	}
}

func TestSeveralRoomsAreRefused(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	for target, want := range map[string]string{
		"?room=a&room=b&since=e":    "since",
		"?room=a&room=b&before=e.1": "one room",
		"?room=a&room=b&members":    "one room",
		"?room=":                    "it is empty",
		"":                          "missing room",
	} {
		resp := s.do("GET", "/rt/"+target, "")
		if body := readAll(t, resp); resp.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %s %s", target, resp.Status, body)
		}
	}
	var many strings.Builder
	for i := range 101 {
		fmt.Fprintf(&many, "room=r%d&", i)
	}
	refused(t, s.do("GET", "/rt/?"+many.String(), ""), 400, "100 rooms")
}

func TestGapsOfSeveralRooms(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	s.post("a", "1")
	resp := s.do("GET", "/rt/?room=a&room=b&since=a=old.1,b=old.2", "")
	var p struct {
		Gaps     []envelope
		Messages []envelope
	}
	decode(t, readAll(t, resp), &p)
	if len(p.Gaps) != 2 || p.Gaps[0].Room != "a" || p.Gaps[1].Room != "b" || len(p.Messages) != 1 {
		t.Errorf("page %+v", p)
	}
	l := s.stream("?room=a&room=b", "text/event-stream", "Last-Event-ID: a=old.1,b=old.2")
	for range 2 {
		l.until("event: gap")
	}
	if data := l.until("data: "); !strings.Contains(data, `"op":"gap"`) {
		t.Errorf("%s", data)
	}
}

// A client without a WebSocket does everything by POST, and nothing but a lease is kept
// for it.
func TestCommandsByPost(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	events := s.stream("?room=a&envelope=1&presence=1", "text/event-stream")
	var ready envelope
	decode(t, events.until("data: "), &ready)
	conn := "?conn=" + ready.Conn

	answers := s.commands(conn,
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
	events.until(`data: {"id":"` + answers[0].ID)
	events.until(`event: presence`)
	if line := events.until("data: "); !strings.Contains(line, `"state":{"name":"Ann"}`) {
		t.Errorf("presence %s", line)
	}
	// By text/plain nothing preflights.
	resp := s.do("POST", "/rt/?commands=1", `{"op":"publish","room":"a","data":2}`, "Content-Type: text/plain")
	if body := readAll(t, resp); !strings.HasPrefix(body, `{"op":"ok","room":"a","id":"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	events.until("data: {\"id\":")

	if e := s.commands("", `{"op":"state","room":"a","state":1}`); e[0].Op != "error" || e[0].Status != 400 || e[0].Title != "no connection" {
		t.Errorf("a state of nobody: %+v", e)
	}
	if e := s.commands("?conn=stolen"+ready.Conn, `{"op":"state","room":"a","state":1}`); e[0].Title != "no connection" {
		t.Errorf("a connection that is none: %+v", e)
	}
	lines := slices.Repeat([]string{`{"op":"leave","room":"a"}`}, 1002)
	if e := s.commands("", lines...); len(e) != 1001 || e[1000].Status != 400 {
		t.Errorf("%d answers, the last %+v", len(e), e[len(e)-1])
	}
	refused(t, s.do("POST", "/rt/", "hi"), 400, "missing room")
	refused(t, s.do("POST", "/rt/?room=a&room=b", "hi"), 400, "one room")
	refused(t, s.do("POST", "/rt/", strings.Repeat("x", 8<<20+1), ndjson), 413, "commands")
}

func (s *site) members(room string) (n int, here string) {
	s.t.Helper()
	var p struct {
		Members int
		Here    []struct {
			ID, Name string
			State    json.RawMessage
		}
	}
	decode(s.t, readAll(s.t, s.do("GET", "/rt/"+room+"?members", "")), &p)
	var all []string
	for _, m := range p.Here {
		all = append(all, m.Name+string(m.State))
	}
	slices.Sort(all)
	return p.Members, strings.Join(all, " ")
}

// One room, every way to be in it, one presence.
func TestPresenceOnEveryTransport(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"room quiet {\npresence off\n}\nroom stadium {\npresence count\n}\nroom lobby {\npresence on 1s\n}\n}")
	watch := s.stream("lobby?members", "text/event-stream")
	watch.until("event: ready")
	watch.until(`data: {"op":"presence","room":"lobby","members":0,"here":[]}`)

	v1 := s.dial("", sessionHeader)
	speak(t, v1, `{"op":"join","room":"lobby","state":"v1"}`)
	hear(t, v1, `"op":"ok"`)
	sse := s.stream("lobby?state=%22sse%22", "text/event-stream")
	sse.until("event: presence")
	lines := s.stream("lobby?state=%22ndjson%22", "application/x-ndjson")
	lines.until(`{"op":"presence"`)
	polled := s.page(`lobby?state="poll"`)
	raw := s.dial("lobby")
	hidden := s.dial("lobby", sessionHeader)
	hear(t, hidden, `"op":"ok"`)
	if n, here := s.members("lobby"); n != 6 || here != `"ndjson" "poll" "sse" "v1"` {
		t.Errorf("%d members, %s", n, here)
	}
	if got := s.do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members"); got != "6" {
		t.Errorf("Realtime-Members %q", got)
	}
	if len(polled.Presence) != 1 || polled.PresenceCursor == "" {
		t.Errorf("page %+v", polled)
	}
	// A page of the same connection is the same member, and waits for changes.
	again := s.page("lobby?conn=" + polled.Conn + "&presence=" + polled.PresenceCursor + "&wait=10")
	if again.Conn != polled.Conn || len(again.Presence) != 1 {
		t.Errorf("page %+v", again)
	}
	if n, _ := s.members("lobby"); n != 6 {
		t.Errorf("%d members", n)
	}

	// A member that leaves has left at once; one whose connection ends, after the grace.
	speak(t, v1, `{"op":"leave","room":"lobby","ref":1}`)
	hear(t, v1, `"ref":1`)
	if n, here := s.members("lobby"); n != 5 || here != `"ndjson" "poll" "sse"` {
		t.Errorf("%d members, %s", n, here)
	}
	s.commands("?conn="+polled.Conn, `{"op":"leave","room":"lobby"}`)
	sse.cancel()
	lines.cancel()
	_ = raw.CloseNow()
	eventually(t, "all have gone but one", func() bool { n, _ := s.members("lobby"); return n == 1 })

	for room, want := range map[string]string{"stadium": `{"room":"stadium","members":1,`, "quiet": "no presence"} {
		c := s.dial("", sessionHeader)
		speak(t, c, `{"op":"join","room":"`+room+`","state":1}`)
		hear(t, c, `"op":"ok"`)
		if body := readAll(t, s.do("GET", "/rt/"+room+"?members", "")); !strings.Contains(body, want) || strings.Contains(body, "here") {
			t.Errorf("%s: %s", room, body)
		}
	}
	if h := s.do("HEAD", "/rt/quiet", "").Header; len(h.Values("Realtime-Members")) > 0 {
		t.Errorf("quiet tells %q", h.Values("Realtime-Members"))
	}
	if p := s.page("quiet?state=1"); len(p.Presence) > 0 {
		t.Errorf("quiet tells %+v", p.Presence)
	}
}
