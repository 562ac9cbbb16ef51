package requests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// knowing lets in strangers, and knows Ann and Ben by the password "secret".
const knowing = "@signs header Authorization *\nbasic_auth @signs {\n" +
	"ann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n" +
	"ben $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n}\n"

const (
	ben   = "Authorization: Basic YmVuOnNlY3JldA=="
	staff = "X-Staff: yes"
)

// ways are how a client can ask for something in a room. Each returns the status of the
// answer.
var ways = map[string]func(s *caddytest.Site, room string, headers ...string) int{
	"page": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", headers...)
	},
	"poll": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?wait=1&last=1", "", headers...)
	},
	"HEAD": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "HEAD", room, "", headers...)
	},
	"members": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?members", "", headers...)
	},
	"history": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?last=5", "", headers...)
	},
	"SSE": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, "Accept: text/event-stream")...)
	},
	"NDJSON": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, "Accept: application/x-ndjson")...)
	},
	"WebSocket": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, upgrade...)...)
	},
	"realtime.v1": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(append(headers, upgrade...), caddytest.Session)...)
	},
	"two rooms": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", "?room=free&room="+room, "", headers...)
	},
	"query": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", "?room="+room, "", headers...)
	},
	"POST": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "POST", room, "hi", headers...)
	},
	"POST by query": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "POST", "?room="+room, "hi", headers...)
	},
	"signal": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "POST", room+"?ttl=0&event=typing", "", headers...)
	},
	"form": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "POST", room, "text=hi", append(headers, "Content-Type: application/x-www-form-urlencoded", caddytest.Browser)...)
	},
	"publish by command": func(s *caddytest.Site, room string, headers ...string) int {
		return command(s, `{"op":"publish","room":"`+room+`","data":"hi"}`, headers...)
	},
	"signal by command": func(s *caddytest.Site, room string, headers ...string) int {
		return command(s, `{"op":"signal","room":"`+room+`","event":"typing"}`, headers...)
	},
	"history by command": func(s *caddytest.Site, room string, headers ...string) int {
		return command(s, `{"op":"history","room":"`+room+`"}`, headers...)
	},
}

// upgrade asks for a WebSocket.
var upgrade = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}

func ask(s *caddytest.Site, method, target, body string, headers ...string) int {
	resp := s.Do(method, "/rt/"+target, body, headers...)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// command returns the status of a command's answer; 200 if it was carried out.
func command(s *caddytest.Site, line string, headers ...string) int {
	resp := s.Do("POST", "/rt/?commands", line, headers...)
	var answer struct{ Status int }
	var b [4096]byte
	n, _ := resp.Body.Read(b[:])
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(b[:n]), `{"op":"`) {
		return -resp.StatusCode
	}
	if _, after, ok := strings.Cut(string(b[:n]), `"status":`); ok {
		_, _ = fmt.Sscanf(after, "%d", &answer.Status)
		return answer.Status
	}
	return http.StatusOK
}

// done reports whether a status says that the client was let in.
func done(status int) bool {
	return status == http.StatusSwitchingProtocols || status >= 200 && status < 400
}

// verbOf has the verb of each way that needs one alone.
var verbOf = map[string]string{
	"SSE": "subscribe", "NDJSON": "subscribe", "WebSocket": "subscribe", "realtime.v1": "subscribe",
	"POST": "publish", "POST by query": "publish", "form": "publish", "publish by command": "publish",
	"signal": "signal", "signal by command": "signal",
	"history by command": "history",
	"members":            "members",
}

// rooms has a room for each kind of who.
const rooms = `@staff header X-Staff yes
realtime {
` + caddytest.Open + `
	room users {
		allow all users
	}
	room ann {
		allow all user ann
	}
	room dm/{user}/* {
		allow all owner
	}
	room staff {
		allow all @staff
	}
	room nobody {
		allow all nobody
	}
	room shared {
		allow all user ben
		allow all @staff
	}
}`

// A room's rules hold on every way to it. Whom they do not let in gets 401 as a stranger,
// and 403 otherwise.
func TestRights(t *testing.T) {
	s := caddytest.Start(t, knowing+rooms)
	const ok = 200
	for _, test := range []struct {
		room    string
		who     string
		headers []string
		status  int
	}{
		{"free", "stranger", nil, ok},
		{"free", "ann", []string{ann}, ok},
		{"users", "stranger", nil, 401},
		{"users", "staff", []string{staff}, 401},
		{"users", "ann", []string{ann}, ok},
		{"users", "ben", []string{ben}, ok},
		{"ann", "stranger", nil, 401},
		{"ann", "ann", []string{ann}, ok},
		{"ann", "ben", []string{ben}, 403},
		{"dm/ann/1", "stranger", nil, 401},
		{"dm/ann/1", "ann", []string{ann}, ok},
		{"dm/ann/1", "ben", []string{ben}, 403},
		{"staff", "stranger", nil, 401},
		{"staff", "staff", []string{staff}, ok},
		{"staff", "ann", []string{ann}, 403},
		{"staff", "ann, staff", []string{ann, staff}, ok},
		{"staff", "no staff", []string{"X-Staff: no"}, 401},
		{"nobody", "stranger", nil, 401},
		{"nobody", "ann", []string{ann, staff}, 403},
		{"shared", "stranger", nil, 401},
		{"shared", "staff", []string{staff}, ok},
		{"shared", "ben", []string{ben}, ok},
		{"shared", "ann", []string{ann}, 403},
	} {
		for way, try := range ways {
			t.Run(test.room+", "+test.who+", "+way, func(t *testing.T) {
				got := try(s.In(t), test.room, test.headers...)
				if done(got) != (test.status == ok) || !done(got) && got != test.status {
					t.Errorf("%d, want %d", got, test.status)
				}
			})
		}
	}
}

// Each verb opens what it says, and nothing else.
func TestRightsByVerb(t *testing.T) {
	const block = `realtime {
` + caddytest.Open + `
	room news {
		allow publish users
	}
	room box {
		allow subscribe users
		allow publish anyone
	}
	room quiet {
		allow history presence users
	}
	room mute {
		allow signal users
	}
}`
	s := caddytest.Start(t, knowing+block)
	s.Post("news", "old", ann)
	s.Post("quiet", "old", ann)
	for room, verbs := range map[string]string{
		"free":  "subscribe publish signal history members",
		"news":  "subscribe history members",
		"box":   "publish signal",
		"quiet": "subscribe publish signal",
		"mute":  "subscribe publish history members",
	} {
		for way, verb := range verbOf {
			t.Run(room+", "+way, func(t *testing.T) {
				allowed := slices.Contains(strings.Fields(verbs), verb)
				if got := ways[way](s.In(t), room); done(got) != allowed || !allowed && got != 401 {
					t.Errorf("a stranger gets %d, allowed: %v", got, allowed)
				}
				if got := ways[way](s.In(t), room, ann); !done(got) {
					t.Errorf("ann gets %d", got)
				}
			})
		}
	}
}

// What a matcher tells counts like a user: not for the pages of other sites, nor for whom
// asks to be anonymous.
func TestForeignPagesHaveNoFacts(t *testing.T) {
	const block = "@staff header X-Staff yes\nrealtime {\n" + caddytest.Open + "origins *\nroom staff {\nallow all @staff\n}\n}"
	s := caddytest.Start(t, block)
	for name, test := range map[string]struct {
		target string
		header string
		status int
	}{
		"own page":      {"staff", "Sec-Fetch-Site: same-origin", 200},
		"any origin":    {"staff", "Origin: https://other.example", 401},
		"other site":    {"staff", "Sec-Fetch-Site: cross-site", 401},
		"same site":     {"staff", "Sec-Fetch-Site: same-site", 401},
		"anonymous":     {"staff?anonymous", "Sec-Fetch-Site: same-origin", 401},
		"other, public": {"free", "Sec-Fetch-Site: cross-site", 200},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(s.In(t), "GET", test.target, "", staff, test.header); got != test.status {
				t.Errorf("%d, want %d", got, test.status)
			}
		})
	}
}

// The id and the name of a user come from where the handler says.
func TestUserTemplates(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"user u-{header.Remote-User} trusted\nname \"{header.Remote-Name} ({header.Remote-Team})\"\nroom ann {\nallow all user u-ann\n}\n}")
	for _, test := range []struct {
		headers []string
		from    string
	}{
		{nil, ""},
		{[]string{"Remote-User: "}, ""},
		{[]string{"Remote-Name: Ann", "Remote-Team: A"}, ""},
		{[]string{"Remote-User: ann"}, `{"id":"u-ann"}`},
		{[]string{"Remote-User: ann", "Remote-Name: Ann"}, `{"id":"u-ann"}`},
		{[]string{"Remote-User: ann", "Remote-Name: Ann", "Remote-Team: A"}, `{"id":"u-ann","name":"Ann (A)"}`},
	} {
		s.Post("free", "hi", test.headers...)
		messages := s.Page("free").Messages
		if from := string(messages[len(messages)-1].From); from != test.from {
			t.Errorf("%q publishes as %s, want %s", test.headers, from, test.from)
		}
		want := 401
		if test.from != "" {
			want = 200
		}
		if got := ask(s, "GET", "ann", "", test.headers...); got != want {
			t.Errorf("%q gets %d in ann's room, want %d", test.headers, got, want)
		}
	}
	caddytest.Refused(t, s.Do("GET", "/rt/free", "", "Remote-User: "+strings.Repeat("x", 300)), 401, "bad user")
}
