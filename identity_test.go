package realtime

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
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
	s := startSite(t, annAndOdd+"realtime {\n"+open+"}")
	for _, test := range []struct{ user, header, page string }{
		{"ann", "ann", `"user":{"id":"ann"}`},
		{"a%41 é", "a%2541%20%C3%A9", `"user":{"id":"a%41 é"}`},
	} {
		request := &http.Request{Header: http.Header{}}
		request.SetBasicAuth(test.user, "secret")
		credentials := "Authorization: " + request.Header.Get("Authorization")
		for _, target := range []string{"/rt/", "/rt/lobby", "/rt/?room=a&room=b"} {
			if got := s.do("HEAD", target, "", credentials).Header.Get("Realtime-User"); got != test.header {
				t.Errorf("HEAD %s: %q, want %q", target, got, test.header)
			}
			if resp := s.do("HEAD", target+"?anonymous", "", credentials); target != "/rt/?room=a&room=b" && resp.Header.Get("Realtime-User") != "" {
				t.Errorf("HEAD %s?anonymous: %q", target, resp.Header.Get("Realtime-User"))
			}
		}
		for _, target := range []string{"/rt/lobby", "/rt/?room=a&room=b", "/rt/lobby?wait=1&presence=1"} {
			if body := readAll(t, s.do("GET", target, "", credentials)); !strings.Contains(body, test.page) {
				t.Errorf("GET %s: %s, want %s", target, body, test.page)
			}
		}
	}
}

// A client that expects to be another user is refused, and nothing is done.
func TestAnotherUser(t *testing.T) {
	s := startSite(t, "@ann header Authorization *\n"+strings.Replace(annAndOdd, "basic_auth", "basic_auth @ann", 1)+"realtime {\n"+open+"}")
	for _, test := range []struct {
		user, credentials string
		status            int
	}{
		{"", "X-None: 1", 200}, {"ann", "X-None: 1", 412}, {"bob", ann, 412}, {"", ann, 412}, {"ann", ann, 200},
	} {
		for _, target := range []string{"/rt/?commands&user=", "/rt/lobby?user="} {
			body := `{"op":"publish","room":"lobby","data":"by a command"}`
			resp := s.do("POST", target+test.user, body, test.credentials)
			if got := resp.StatusCode; got != test.status && (got != 201 || test.status != 200) {
				t.Errorf("POST %s%s, %s: %s", target, test.user, test.credentials, resp.Status)
			}
		}
		if resp := s.do("HEAD", "/rt/?user="+test.user, "", test.credentials); resp.StatusCode != test.status {
			t.Errorf("HEAD ?user=%s, %s: %s", test.user, test.credentials, resp.Status)
		}
	}
	if n := len(s.page("lobby").Messages); n != 4 {
		t.Errorf("%d messages are published, want 4", n)
	}
}

// A client that asks to be anonymous is, in every way.
func TestAnonymous(t *testing.T) {
	s := startSite(t, annAndOdd+"realtime {\n"+open+"}")
	for query, want := range map[string]bool{"envelope=1": true, "envelope=1&anonymous": false, "envelope=1&anonymous=1": false} {
		if ready := s.stream("lobby?"+query, "text/event-stream", ann).until(`data: {"op":"ready"`); strings.Contains(ready, `"user"`) != want {
			t.Errorf("SSE, %s: %s", query, ready)
		}
		if ready := s.stream("lobby?"+query, "application/x-ndjson", ann).until(`{"op":"ready"`); strings.Contains(ready, `"user"`) != want {
			t.Errorf("NDJSON, %s: %s", query, ready)
		}
	}
	c := s.dial("lobby?envelope=1&anonymous", ann)
	if ready := receive(t, c); strings.Contains(ready, `"user"`) {
		t.Errorf("WebSocket: %s", ready)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("by WebSocket")); err != nil {
		t.Fatal(err)
	}
	receive(t, c)
	s.post("lobby?anonymous", "by POST", ann)
	readAll(t, s.do("POST", "/rt/?commands&anonymous", `{"op":"publish","room":"lobby","data":"by a command"}`, ann))
	s.post("lobby", "as Ann", ann)
	for i, m := range s.page("lobby", ann).Messages {
		if got, want := m.From != nil, i == 3; got != want {
			t.Errorf("message %d is from %s", i, m.From)
		}
	}
}
