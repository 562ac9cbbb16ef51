package requests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// as is the header by which the sites below know their users.
func as(user string) string { return "X-User: " + user }

const known = "user {header.X-User} trusted\n"

// refusal returns what the request is refused with, or "" if it is not.
func refusal(t *testing.T, resp *http.Response) string {
	t.Helper()
	body := caddytest.ReadAll(t, resp)
	if resp.StatusCode < 300 {
		return ""
	}
	var p struct{ Detail string }
	caddytest.Decode(t, body, &p)
	return fmt.Sprint(resp.StatusCode, " ", p.Detail)
}

// Each limit refuses what it should, and names itself; a reload puts it in force, and takes it
// back.
func TestLimitsTakeEffectWithAReload(t *testing.T) {
	for _, test := range []struct {
		option string
		hold   string // where Ann has a connection meanwhile
		probe  func(t *testing.T, s *caddytest.Site) *http.Response
		want   string
	}{
		{"max_connections_per_user 1", "a", func(_ *testing.T, s *caddytest.Site) *http.Response {
			return s.Do("GET", "/rt/b", "", as("ann"))
		}, "503 max_connections_per_user is 1"},
		{"max_users 1", "a", func(_ *testing.T, s *caddytest.Site) *http.Response {
			return s.Do("GET", "/rt/b", "", as("ben"))
		}, "503 max_users is 1"},
		{"room a {\nroom_rate 1/h 2\n}", "b", func(t *testing.T, s *caddytest.Site) *http.Response {
			for i := range 2 {
				_ = caddytest.ReadAll(t, s.Do("POST", "/rt/a", "x", as(fmt.Sprint("user", i))))
			}
			return s.Do("POST", "/rt/a", "x", as("cid"))
		}, "429 room_rate is 1/h 2"},
		{"room a {\nmax_members 1\n}", "a", func(_ *testing.T, s *caddytest.Site) *http.Response {
			return s.Do("GET", "/rt/a?state=1&conn="+connOf(s), "")
		}, "503 max_members is 1"},
	} {
		t.Run(strings.Fields(test.option)[0]+" "+test.want, func(t *testing.T) {
			without := "realtime {\n" + caddytest.Open + known + "}"
			with := "realtime {\n" + caddytest.Open + known + test.option + "\n}"
			s := caddytest.Start(t, without)
			s.Dial(test.hold, as("ann"))
			for _, step := range []struct{ config, want string }{{without, ""}, {with, test.want}, {without, ""}} {
				s.Reload(step.config)
				if got := refusal(t, test.probe(t, s)); got != step.want {
					t.Errorf("refused with %q, want %q", got, step.want)
				}
			}
		})
	}
}

// A block of rooms that are all in use refuses another one; what a reload leaves over makes way.
func TestMaxRoomsOfABlock(t *testing.T) {
	const without = "realtime {\n" + caddytest.Open + "}"
	const with = "realtime {\n" + caddytest.Open + "room shop/* {\nmax_rooms 1\n}\n}"
	s := caddytest.Start(t, with)
	s.Dial("shop/1")
	s.Post("other", "stays")
	caddytest.Refused(t, s.Do("POST", "/rt/shop/2", "x"), 503, "max_rooms is 1")
	s.Reload(without)
	s.Post("shop/2", "x")
	s.Reload(with)
	s.Post("shop/3", "x")
	for room, want := range map[string]int{"shop/2": 0, "shop/3": 1, "other": 1} {
		if got := s.Page(room).Texts(); len(got) != want {
			t.Errorf("%s has %q, want %d", room, got, want)
		}
	}
}

// connOf returns the conn of an anonymous client.
func connOf(s *caddytest.Site) string { return s.Page("elsewhere").Conn }

// A flood in one block of rooms takes no room and no message of others.
func TestAFloodStaysInItsBlock(t *testing.T) {
	const block = "realtime {\n" + caddytest.Open + "max_rooms 10\nhistory_memory 100KiB\nmax_message_size 2KiB\n%s}"
	with := fmt.Sprintf(block, "room shop/* {\nmax_rooms 3\nhistory_memory 10KiB\n}\n")
	s := caddytest.Start(t, with)
	s.Post("other", "stays")
	flood := func() (kept int) {
		for i := range 100 {
			s.Post(fmt.Sprint("shop/", i), strings.Repeat("x", 1500))
			s.Post("shop/one", strings.Repeat("x", 1500))
		}
		return len(s.Page("shop/one?last=1000").Messages)
	}
	if kept := flood(); kept == 0 || kept > 6 {
		t.Errorf("the flooded room keeps %d messages, 10 KiB have room for 5", kept)
	}
	if got := s.Page("other").Texts(); !slices.Equal(got, []string{"stays"}) {
		t.Errorf("another room has %q", got)
	}
	s.Reload(fmt.Sprintf(block, ""))
	if kept := flood(); kept < 20 {
		t.Errorf("without the limit it keeps %d messages", kept)
	}
	if got := s.Page("other").Texts(); len(got) != 0 {
		t.Errorf("without the limit another room still has %q", got)
	}
}

// A flood of new rooms takes nothing of the rooms that the configuration names, whether the number of
// rooms is used up or the memory. A reload that names others makes them as safe.
func TestAFloodTakesNoDeclaredRoom(t *testing.T) {
	for _, limits := range []string{"max_rooms 10\n", "history_memory 100KiB\nmax_message_size 2KiB\n"} {
		block := "realtime {\n" + caddytest.Open + limits + "room * {\npresence off\n}\nroom %s {\nallow all anyone\n}\n}"
		s := caddytest.Start(t, fmt.Sprintf(block, "blog/*"))
		flood := func(stays, goes string) {
			t.Helper()
			s.Post("blog/1", "blog/1")
			s.Post("dm/ann", "dm/ann")
			for i := range 100 {
				s.Post(fmt.Sprint("new/", i), strings.Repeat("x", 1500))
			}
			if got := s.Page(stays).Texts(); len(got) == 0 || got[0] != stays {
				t.Errorf("%q: %s has %q", limits, stays, got)
			}
			if got := s.Page(goes).Texts(); len(got) > 0 {
				t.Errorf("%q: %s still has %q", limits, goes, got)
			}
		}
		flood("blog/1", "dm/ann")
		s.Reload(fmt.Sprintf(block, "dm/{user}"))
		flood("dm/ann", "blog/1")
	}
}

// A room that is full of members says so on every transport, and to one that is there
// already nothing changes.
func TestFullOfMembersOnEveryTransport(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+known+"room a {\nmax_members 1\n}\n}")
	s.Dial("a", as("ann"))
	const full = "max_members is 1"

	caddytest.Refused(t, s.Do("GET", "/rt/a", "", "Accept: application/x-ndjson", as("ben")), 503, full)
	events := s.Stream("a", "text/event-stream", as("ben"))
	if got := strings.Join(events.Rest(), "\n"); !strings.Contains(got, "event: bye") || !strings.Contains(got, `"status":503`) {
		t.Errorf("SSE is told %q", got)
	}
	if _, resp, err := websocket.Dial(t.Context(), s.URL+"/rt/a", &websocket.DialOptions{HTTPHeader: http.Header{"X-User": {"ben"}}}); err == nil || resp.StatusCode != 503 {
		t.Errorf("WebSocket: %v, want 503", err)
	}
	session := s.Dial("", caddytest.Session, as("ben"))
	caddytest.Speak(t, session, `{"op":"join","room":"a","ref":1}`)
	if got := caddytest.Hear(t, session, `"op":"error"`); !strings.Contains(got, `"status":503`) || !strings.Contains(got, full) {
		t.Errorf("a session is told %s", got)
	}

	for _, who := range []string{as("ann"), "X-None: x"} { // a member, and one who only reads
		s.Stream("a", "text/event-stream", who).Until("id: ")
		if got := refusal(t, s.Do("GET", "/rt/a", "", who)); got != "" {
			t.Errorf("%s: %s", who, got)
		}
	}
}

// Who signals too much can still publish, and the other way round.
func TestSignalsDoNotSpendWhatMessagesNeed(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nrate 1/h 2\n}")
	for _, headers := range [][]string{{"TTL: 0"}, nil} {
		for range 2 {
			if got := refusal(t, s.Do("POST", "/rt/a?event=e", "x", headers...)); got != "" {
				t.Errorf("%v: %s", headers, got)
			}
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/a?event=e", "x", "TTL: 0"), 429, "rate of signals is 1/h 2")
	caddytest.Refused(t, s.Do("POST", "/rt/a", "x"), 429, "rate is 1/h 2")
}

// A user has one rate, at whichever address.
func TestRateOfAUser(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\nrate 1/h 2\n"+known+"room * {\nrate 1/h 3\n}\n}")
	for i, want := range []string{"", "", "", "429 rate is 1/h 3"} {
		if got := refusal(t, s.Do("POST", "/rt/a", "x", as("ann"))); got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
	lines := logged("a limit was reached for the first time")
	if len(lines) != 1 || lines[0]["limit"] != "rate" || !strings.Contains(fmt.Sprint(lines[0]["hint"]), "share this user") {
		t.Errorf("logged %v", lines)
	}
}
