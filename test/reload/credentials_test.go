package reload

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

const (
	oldSecret = "the old secret of at least thirty-two bytes"
	newSecret = "the new secret of at least thirty-two bytes"
)

// signed returns the header with a user's token.
func signed(t *testing.T, secret, user string) string {
	t.Helper()
	now := time.Now()
	claims := jwt.MapClaims{"sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: Bearer " + text
}

// trusting is a site that takes tokens by these secrets.
func trusting(more string, secrets ...string) string {
	return "realtime {\n" + caddytest.Open + more + "jwt {\nsecret \"" + strings.Join(secrets, `" "`) + "\"\n}\n}"
}

// closed checks that a WebSocket ends soon, with a code.
func closed(t *testing.T, who string, c *websocket.Conn, code websocket.StatusCode) {
	t.Helper()
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(soon); err != nil {
			if websocket.CloseStatus(err) != code {
				t.Errorf("%s ends with %v, want %d", who, err, code)
			}
			return
		}
	}
}

// A secret that a reload adds ends nobody, one that it removes the sessions opened with it, on every
// transport, and nobody else's.
func TestReloadChangesSecrets(t *testing.T) {
	s := caddytest.Start(t, trusting("", oldSecret))
	s.Within = 10 * time.Second // also for the streams
	byOld, byNew := signed(t, oldSecret, "ann"), signed(t, newSecret, "ann")
	session, raw := s.Dial("lobby", caddytest.Session, byOld), s.Dial("lobby", byOld)
	caddytest.Hear(t, session, `"op":"ready"`)
	events := s.Stream("lobby", "text/event-stream", byOld)
	events.Until("id: ")
	lines := s.Stream("lobby", "application/x-ndjson", byOld)
	lines.Next()
	stranger := s.Dial("lobby")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "hi", byNew), 401, "")

	s.Reload(trusting("", newSecret, oldSecret))
	s.Post("lobby", "added", byNew)
	caddytest.Hear(t, session, "added")
	events.Until("data: added")
	lines.Next()
	for name, c := range map[string]*websocket.Conn{"raw": raw, "a stranger": stranger} {
		if got := caddytest.Receive(t, c); got != "added" {
			t.Errorf("%s gets %q", name, got)
		}
	}
	fresh := s.Dial("lobby", byNew)

	s.Reload(trusting("max_rooms 50\n", newSecret))
	closed(t, "the session", session, 4401)
	closed(t, "the raw WebSocket", raw, 4401)
	for name, rest := range map[string][]string{"SSE": events.Rest(), "NDJSON": lines.Rest()} {
		if got := strings.Join(rest, "\n"); !strings.Contains(got, `{"op":"bye","status":401}`) {
			t.Errorf("%s ends with %q", name, got)
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "hi", byOld), 401, "")
	s.Post("lobby", "removed", byNew)
	for name, c := range map[string]*websocket.Conn{"by the new secret": fresh, "a stranger": stranger} {
		if got := caddytest.Receive(t, c); got != "removed" {
			t.Errorf("%s gets %q", name, got)
		}
	}
}

// Rules that a reload changes hold for the users of tokens, too.
func TestReloadTakesRightsFromTokens(t *testing.T) {
	s := caddytest.Start(t, trusting("", oldSecret))
	ann, ben := signed(t, oldSecret, "ann"), signed(t, oldSecret, "ben")
	hers, his := s.Dial("staff", caddytest.Session, ann), s.Dial("staff", caddytest.Session, ben)
	caddytest.Hear(t, hers, `"op":"ready"`)
	caddytest.Hear(t, his, `"op":"ready"`)

	s.Reload(trusting("room staff {\nallow subscribe publish user ann\n}\n", oldSecret))
	if left := next(t, his); !strings.Contains(left, `"op":"left","room":"staff"`) || !strings.Contains(left, `"status":403`) {
		t.Errorf("he is told %s", left)
	}
	s.Post("staff", "for ann", ann)
	caddytest.Hear(t, hers, "for ann")
	caddytest.Refused(t, s.Do("POST", "/rt/staff", "hi", ben), 403, "not allowed")
}
