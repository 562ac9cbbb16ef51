package realtime

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// runningHub returns the hub without a name, which a configuration uses.
func runningHub(t *testing.T) *hub.Hub {
	t.Helper()
	var found *hub.Hub
	hubs.Range(func(key, value any) bool {
		if key == poolKey("") {
			found = value.(*pooledHub).hub
		}
		return true
	})
	if found == nil {
		t.Fatal("no hub is running")
	}
	return found
}

// A cookie with a token that has been revoked is none, like any other bad one. The token itself is refused.
func TestRevokedCookieIsNone(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"jwt {\nsecret "+jwtSecret+"\ncookie session\n}\n}")
	token := signed(t, jwtSecret, jwt.MapClaims{"jti": "one"})
	user := func(header string) string {
		t.Helper()
		resp := s.Do("HEAD", "/rt/lobby", "", header)
		return resp.Status[:3] + " " + resp.Header.Get("Realtime-User")
	}
	cookie, header := "Cookie: session="+token, "Authorization: Bearer "+token
	if got := user(cookie); got != "200 ann" {
		t.Errorf("before: %s", got)
	}
	now := time.Now()
	if err := runningHub(t).Revoke(t.Context(), hub.Revocation{Name: "token:one", Before: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if got := user(cookie); got != "200 " {
		t.Errorf("the cookie: %s", got)
	}
	if got := user(header); !strings.HasPrefix(got, "401 ") {
		t.Errorf("the token: %s", got)
	}
}
