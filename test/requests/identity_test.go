package requests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Site blocks that let in Ann, and another one; the password is "secret", and ann
// says it.
const (
	annOnly = "basic_auth {\nann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n}\n"
	ann     = "Authorization: Basic YW5uOnNlY3JldA=="
)

const annAndOdd = "basic_auth {\nann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n" +
	"\"a%41 é\" $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n}\n"

// HEAD and pages say who a client is, as ready does, in a room and in the hub.
func TestWhoAmI(t *testing.T) {
	s := caddytest.Start(t, annAndOdd+"realtime {\n"+caddytest.Open+"}")
	for _, test := range []struct{ user, header, page string }{
		{"ann", "ann", `"user":{"id":"ann"}`},
		{"a%41 é", "a%2541%20%C3%A9", `"user":{"id":"a%41 é"}`},
	} {
		request := &http.Request{Header: http.Header{}}
		request.SetBasicAuth(test.user, "secret")
		credentials := "Authorization: " + request.Header.Get("Authorization")
		for _, target := range []string{"/rt/", "/rt/lobby", "/rt/?room=a&room=b"} {
			if got := s.Do("HEAD", target, "", credentials).Header.Get("Realtime-User"); got != test.header {
				t.Errorf("HEAD %s: %q, want %q", target, got, test.header)
			}
			if resp := s.Do("HEAD", target+"?anonymous", "", credentials); target != "/rt/?room=a&room=b" && resp.Header.Get("Realtime-User") != "" {
				t.Errorf("HEAD %s?anonymous: %q", target, resp.Header.Get("Realtime-User"))
			}
		}
		for _, target := range []string{"/rt/lobby", "/rt/?room=a&room=b", "/rt/lobby?wait=1&presence=1"} {
			if body := caddytest.ReadAll(t, s.Do("GET", target, "", credentials)); !strings.Contains(body, test.page) {
				t.Errorf("GET %s: %s, want %s", target, body, test.page)
			}
		}
	}
}

// A client that expects to be another user is refused, and nothing is done.
func TestAnotherUser(t *testing.T) {
	s := caddytest.Start(t, "@ann header Authorization *\n"+strings.Replace(annAndOdd, "basic_auth", "basic_auth @ann", 1)+"realtime {\n"+caddytest.Open+"}")
	for _, test := range []struct {
		user, credentials string
		status            int
	}{
		{"", "X-None: 1", 200}, {"ann", "X-None: 1", 412}, {"bob", ann, 412}, {"", ann, 412}, {"ann", ann, 200},
	} {
		for _, target := range []string{"/rt/?commands&user=", "/rt/lobby?user="} {
			body := `{"op":"publish","room":"lobby","data":"by a command"}`
			resp := s.Do("POST", target+test.user, body, test.credentials)
			if got := resp.StatusCode; got != test.status && (got != 201 || test.status != 200) {
				t.Errorf("POST %s%s, %s: %s", target, test.user, test.credentials, resp.Status)
			}
		}
		if resp := s.Do("HEAD", "/rt/?user="+test.user, "", test.credentials); resp.StatusCode != test.status {
			t.Errorf("HEAD ?user=%s, %s: %s", test.user, test.credentials, resp.Status)
		}
	}
	if n := len(s.Page("lobby").Messages); n != 4 {
		t.Errorf("%d messages are published, want 4", n)
	}
}

// A client that asks to be anonymous is, in every way.
func TestAnonymous(t *testing.T) {
	s := caddytest.Start(t, annAndOdd+"realtime {\n"+caddytest.Open+"}")
	for query, want := range map[string]bool{"envelope=1": true, "envelope=1&anonymous": false, "envelope=1&anonymous=1": false} {
		if ready := s.Stream("lobby?"+query, "text/event-stream", ann).Until(`data: {"op":"ready"`); strings.Contains(ready, `"user"`) != want {
			t.Errorf("SSE, %s: %s", query, ready)
		}
		if ready := s.Stream("lobby?"+query, "application/x-ndjson", ann).Until(`{"op":"ready"`); strings.Contains(ready, `"user"`) != want {
			t.Errorf("NDJSON, %s: %s", query, ready)
		}
	}
	c := s.Dial("lobby?envelope=1&anonymous", ann)
	if ready := caddytest.Receive(t, c); strings.Contains(ready, `"user"`) {
		t.Errorf("WebSocket: %s", ready)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("by WebSocket")); err != nil {
		t.Fatal(err)
	}
	caddytest.Receive(t, c)
	s.Post("lobby?anonymous", "by POST", ann)
	caddytest.ReadAll(t, s.Do("POST", "/rt/?commands&anonymous", `{"op":"publish","room":"lobby","data":"by a command"}`, ann))
	s.Post("lobby", "as Ann", ann)
	for i, m := range s.Page("lobby", ann).Messages {
		if got, want := m.From != nil, i == 3; got != want {
			t.Errorf("message %d is from %s", i, m.From)
		}
	}
}

// A user whose id or name nobody could tell from another's is refused in every way, as bad
// credentials are, and the log says so once. Who does not use the credentials is let in.
func TestBadUser(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"user {header.Remote-User} trusted\nname {header.Remote-Name}\n}")
	for rule, header := range map[string]string{
		"begins with ~":            "Remote-User: ~g1",
		"129 bytes":                "Remote-User: " + strings.Repeat("x", 129),
		"normalization form C":     "Remote-User: cafe\u0301",
		"format character U+202E":  "Remote-User: \u202enna",
		"control character U+0085": "Remote-User: a\u0085",
		"not UTF-8":                "Remote-User: a\xff",
	} {
		for _, way := range [][]string{
			{"GET", "/rt/lobby"},
			{"HEAD", "/rt/lobby"},
			{"HEAD", "/rt/"},
			{"POST", "/rt/lobby"},
			{"POST", "/rt/?commands"},
			{"GET", "/rt/lobby", "Accept: text/event-stream"},
			{"GET", "/rt/lobby", "Accept: application/x-ndjson"},
			{"GET", "/rt/?room=a&room=b&wait=1"},
			{"GET", "/rt/lobby", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="},
		} {
			resp := s.Do(way[0], way[1], "", append(way[2:], header)...)
			if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s %s: %s %v", header, way, resp.Status, resp.Header)
			}
		}
		caddytest.Refused(t, s.Do("GET", "/rt/lobby", "", header), 401, rule)
		if resp := s.Do("GET", "/rt/lobby?anonymous", "", header); resp.StatusCode != 200 {
			t.Errorf("%s, anonymous: %s", header, resp.Status)
		}
	}
	const line = "an authentication handler has set a user whom no room accepts; more of them are not logged"
	if n := len(logged(line)); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	for _, other := range []string{"~gx", "~lx", "~bshop", "~ax", "~x", "~"} {
		caddytest.Refused(t, s.Do("GET", "/rt/lobby", "", "Remote-User: "+other), 401, "begins with ~")
	}
	caddytest.Refused(t, s.Do("GET", "/rt/lobby", "", "Remote-User: ann", "Remote-Name: cafe\u0301"), 401, "name is invalid")
	if resp := s.Do("GET", "/rt/lobby", "", "Remote-User: ann", "Remote-Name: ~Ann~"); resp.StatusCode != 200 {
		t.Errorf("a name with ~: %s", resp.Status)
	}
	if n := len(logged(line)); n != 1 {
		t.Errorf("%d lines in the log in the end", n)
	}
}
