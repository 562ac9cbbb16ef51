package requests

import (
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Two users, two connections, and a user and a stranger may use the same key. An anonymous
// client that comes back as the connection it was has its keys, in every way.
func TestOneKeyOfSeveral(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"user {header.Remote-User} trusted\n}")
	conn := func(headers ...string) string {
		t.Helper()
		name := s.Do("HEAD", "/rt/", "", headers...).Header.Get("Realtime-Conn")
		if name == "" {
			t.Fatal("no conn")
		}
		return name
	}
	one, two := conn(), conn()
	if one == two {
		t.Fatal("two clients have the same conn")
	}
	if again := s.Do("HEAD", "/rt/?conn="+url.QueryEscape(one), "").Header.Get("Realtime-Conn"); again != one {
		t.Errorf("the conn %s became %s", one, again)
	}
	const publish = `{"op":"publish","room":"lobby","key":"k","data":"x"`
	by := func(conn, more string, headers ...string) (id string) {
		t.Helper()
		var answer caddytest.Envelope
		caddytest.Decode(t, caddytest.ReadAll(t, s.Do("POST", "/rt/?commands&conn="+url.QueryEscape(conn), publish+more+"}", headers...)), &answer)
		return answer.ID
	}
	first := by(one, "")
	for name, again := range map[string]string{
		"by a command":                  by(one, ""),
		"by a POST":                     s.Post("lobby?key=k&conn="+url.QueryEscape(one), "x"),
		"by another that was the first": by(two, `,"conn":"`+one+`"`),
	} {
		if again != first {
			t.Errorf("%s: %s, the first was %s", name, again, first)
		}
	}
	c := s.Dial("?conn="+url.QueryEscape(one), caddytest.Session)
	caddytest.Speak(t, c, publish+`,"ref":1}`)
	if again := caddytest.Hear(t, c, `"ref":1`); !strings.Contains(again, first) {
		t.Errorf("by WebSocket: %s, the first was %s", again, first)
	}
	seen := map[string]bool{first: true}
	for name, id := range map[string]string{
		"another connection": by(two, ""), "no connection": by("", ""),
		"ann": by("", "", "Remote-User: ann"), "ben": by("", "", "Remote-User: ben"),
	} {
		if id == "" || seen[id] {
			t.Errorf("%s gets the receipt of another, %q", name, id)
		}
		seen[id] = true
	}
	if n := len(s.Page("lobby").Messages); n != 5 {
		t.Errorf("%d messages, want 5", n)
	}
}
