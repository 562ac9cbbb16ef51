package requests

import (
	"maps"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// declared leaves three kinds of rooms, in which Ann may do everything and strangers nothing.
const declared = knowing + "realtime {\n" + caddytest.Open + "rooms declared\nallow all users\nroom news\nroom blog/*\nroom dm/{user}\nroom free {\nallow all anyone\n}\nui on\n}"

// Names that no room block declares are 404 in every way, and rooms that one declares are
// rooms. Strangers are told 401 in both, since they may not ask.
func TestOnlyDeclaredRoomsExist(t *testing.T) {
	all := maps.Clone(ways)
	maps.Copy(all, moreWays)
	all["page for people"] = func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, "Accept: text/html")...)
	}
	all["log for people"] = func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?log", "", append(headers, "Accept: text/html")...)
	}
	s := caddytest.Start(t, declared)
	for way, try := range all {
		t.Run(way, func(t *testing.T) {
			t.Parallel() // some polls have nothing to answer with, and wait
			s := s.In(t)
			for _, room := range []string{"other", "news/1", "blog", "dm/ann/1"} {
				if got := try(s, room, ann); got != 404 {
					t.Errorf("%s, which nothing declares: %d", room, got)
				}
				if got := try(s, room); got != 401 {
					t.Errorf("%s, for a stranger: %d", room, got)
				}
			}
			for _, room := range []string{"news", "blog/1/2", "dm/ann"} {
				if got := try(s, room, ann); !done(got) {
					t.Errorf("%s, which is declared: %d", room, got)
				}
				if got := try(s, room); got != 401 {
					t.Errorf("%s, for a stranger: %d", room, got)
				}
			}
		})
	}
}

// The refusal of what a client may not do does not show whether the room is declared.
func TestRefusalsDoNotShowWhatIsDeclared(t *testing.T) {
	s := caddytest.Start(t, declared)
	for _, body := range []string{"", "hi"} {
		method := "GET"
		if body != "" {
			method = "POST"
		}
		known := caddytest.ReadAll(t, s.Do(method, "/rt/news", body))
		unknown := caddytest.ReadAll(t, s.Do(method, "/rt/other", body))
		if known != unknown || !strings.Contains(known, `"status":401`) {
			t.Errorf("%s: %s, and where there is no room %s", method, known, unknown)
		}
	}
}

// A WebSocket that may use any room is told of each command that names a room which does not exist, and
// goes on.
func TestCommandsForRoomsThatDoNotExist(t *testing.T) {
	s := caddytest.Start(t, declared)
	c := s.Dial("", caddytest.Session, ann)
	for _, op := range []string{
		`"op":"join"`, `"op":"publish","data":"hi"`, `"op":"signal","event":"typing"`, `"op":"state","state":1`, `"op":"history"`,
	} {
		caddytest.Speak(t, c, `{`+op+`,"ref":1,"room":"other"}`)
		if got := caddytest.Hear(t, c, `"ref":1`); !strings.Contains(got, `"op":"error"`) || !strings.Contains(got, `"status":404`) {
			t.Errorf("%s: %s", op, got)
		}
	}
	caddytest.Speak(t, c, `{"op":"join","ref":2,"room":"news"}`)
	caddytest.Hear(t, c, `"op":"ok"`, `"ref":2`)
}
