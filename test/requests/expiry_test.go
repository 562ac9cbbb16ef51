package requests

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// life is that of the tokens that expire in these tests. Their times are in whole seconds, so one may
// have a second less.
const life = 3 * time.Second

// expiring is a site whose users have tokens that end on the second, and the header of a backend that
// may see everything.
func expiring(t *testing.T) (s *caddytest.Site, watch string) {
	t.Helper()
	key, hash := backend.Generate()
	s = caddytest.Start(t, `realtime {
	`+caddytest.Open+`
	allow subscribe publish users
	jwt {
		secret "`+jwtSecret+`"
		leeway off
	}
	backend watch `+hash+`
}`)
	return s, bearer(key)
}

// Connections end when the token does with which they were opened, and those that can be told before
// are. Others of the same user go on.
func TestExpiry(t *testing.T) {
	s, watch := expiring(t)
	long := connect(t, s, "long", watch, bearer(tokenOf(t, "ann", time.Hour, nil)))
	token := tokenOf(t, "ann", life, nil)
	short := connect(t, s, "short", watch, bearer(token))
	said := short.ended(t)
	if got, want := warnings(said), []string{"NDJSON", "SSE", "SSE with envelopes", "envelopes", "realtime.v1"}; !slices.Equal(got, want) {
		t.Errorf("warned are %q, want %q: %q", got, want, said)
	}
	if sse := said["SSE"]; !strings.Contains(sse, "event: auth\ndata: {\"op\":\"auth\",\"expires_ms\":") || !strings.HasSuffix(strings.TrimSpace(sse), "event: bye\ndata: {\"op\":\"bye\",\"status\":401}") {
		t.Errorf("the event stream gets %q", sse)
	}
	if lines := strings.Split(said["NDJSON"], "\n"); lines[len(lines)-1] != `{"op":"bye","status":401}` {
		t.Errorf("the NDJSON stream gets %q", lines)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/short", "hi", bearer(token)), 401, "expired")
	caddytest.Refused(t, s.Do("GET", "/rt/short", "", append(upgrade, bearer(token))...), 401, "expired")
	long.goOn(t, s, "long", watch)
}

// A new token of the same user keeps a connection: by command, and for a stream by POST.
func TestRenewal(t *testing.T) {
	s, watch := expiring(t)
	token, next := tokenOf(t, "ann", life, nil), tokenOf(t, "ann", time.Hour, nil)
	left, kept := connect(t, s, "left", watch, bearer(token)), connect(t, s, "kept", watch, bearer(token))
	const auth = `{"op":"auth","ref":9,"token":"`
	caddytest.Speak(t, kept.session, auth+next+`"}`)
	if ok := caddytest.Hear(t, kept.session, `"ref":9`); !strings.Contains(ok, `"op":"ok"`) || !strings.Contains(ok, `"user":{"id":"ann"}`) || !strings.Contains(ok, `"expires_ms":3`) {
		t.Errorf("the session is answered %s", ok)
	}
	body := caddytest.ReadAll(t, s.Do("POST", "/rt/?commands&conn="+url.QueryEscape(kept.conn), auth+next+`"}`, bearer(next), caddytest.NDJSON))
	if !strings.Contains(body, `"op":"ok"`) || !strings.Contains(body, `"user":{"id":"ann"}`) || !strings.Contains(body, `"conn":"`+kept.conn+`"`) {
		t.Errorf("the request is answered %s", body)
	}
	left.ended(t) // so the token has expired
	s.Post("kept", "after-it", watch)
	caddytest.Hear(t, kept.session, "after-it")
	for text := ""; !strings.Contains(text, "after-it"); {
		text = kept.ready.Until("data: ")
		if strings.Contains(text, "bye") {
			t.Fatalf("the stream ends with %s", text)
		}
	}
	if _, _, err := kept.raw.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("a connection that was not renewed: %v", err)
	}
}

// Another user needs another connection, whatever the transport of the token.
func TestTokenOfAnotherUser(t *testing.T) {
	s, watch := expiring(t)
	c := connect(t, s, "lobby", watch, bearer(tokenOf(t, "ann", time.Hour, nil)))
	ben := tokenOf(t, "ben", time.Hour, nil)
	auth := `{"op":"auth","ref":9,"token":"` + ben + `"}`
	caddytest.Speak(t, c.session, auth)
	for {
		_, frame, err := c.session.Read(t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != 4401 {
				t.Errorf("the session ends with %v, want 4401", err)
			}
			break
		}
		if strings.Contains(string(frame), ben) {
			t.Errorf("the token is in %s", frame)
		}
	}
	ann := bearer(tokenOf(t, "ann", time.Hour, nil))
	body := caddytest.ReadAll(t, s.Do("POST", "/rt/?commands&conn="+url.QueryEscape(c.conn), auth, ann, caddytest.NDJSON))
	if !strings.Contains(body, `"status":401`) || strings.Contains(body, ben) {
		t.Errorf("the request is answered %s", body)
	}
	if rest := strings.Join(c.ready.Rest(), "\n"); !strings.Contains(rest, `{"op":"bye","status":401}`) {
		t.Errorf("the stream ends with %q", rest)
	}
	s.Post("lobby", "hello", watch)
	caddytest.Hear(t, c.raw, "hello")

	polled := make(chan int, 1)
	conn := s.Page("polled?last=0", ann).Conn
	go func() { polled <- ask(s, "GET", "polled?wait=60&conn="+url.QueryEscape(conn), "", ann) }()
	caddytest.Eventually(t, "the poll waits, and is found", func() bool {
		resp := s.Do("POST", "/rt/?commands&conn="+url.QueryEscape(conn), auth, ann, caddytest.NDJSON)
		return strings.Contains(caddytest.ReadAll(t, resp), `"status":401`)
	})
	if status := <-polled; status != 401 {
		t.Errorf("the poll ends with %d, want 401", status)
	}
}
