package realtime

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// runningHub returns the hub without a name, which a configuration uses.
func runningHub(t *testing.T) *hub.Hub {
	t.Helper()
	p, err := findHub("")
	if err != nil {
		t.Fatal(err)
	}
	return p.hub
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
	if _, err := runningHub(t).Revoke(t.Context(), hub.Revocation{Name: "token:one", Before: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if got := user(cookie); got != "200 " {
		t.Errorf("the cookie: %s", got)
	}
	if got := user(header); !strings.HasPrefix(got, "401 ") {
		t.Errorf("the token: %s", got)
	}
}

// A token that is shown on a connection gives what the handler lets it give that the connection has come
// through, and not what another handler of the hub would.
func TestAuthKeepsToTheHandler(t *testing.T) {
	const tokens = "jwt {\nsecret " + jwtSecret + "\ngrants "
	const rules = "allow publish granted\n"
	site := func(option string) string {
		return "realtime /open/rt/* {\nhub shared\n" + caddytest.Open + rules + tokens + "history on *\n}\n}\n" +
			"realtime /inner/rt/* {\nhub shared\n" + tokens + "publish on *\n}\n" + option + "\n}\nrealtime /none/rt/* {\nhub shared\nuser_prefix n-\n}"
	}
	s := caddytest.Start(t, site(""))
	token := signed(t, jwtSecret, jwt.MapClaims{"realtime": map[string]any{"publish": []string{"*"}}})
	auth := `{"op":"auth","ref":1,"token":"` + token + `"}`
	const publish = `{"op":"publish","ref":2,"room":"a","data":1}`
	dial := func(path string) *websocket.Conn {
		at := *s
		at.URL += "/" + path
		return at.Dial("", caddytest.Session)
	}
	for path, want := range map[string]string{"open": `"status":403`, "inner": `"id":`, "none": `"status":401`} {
		c := dial(path)
		caddytest.Speak(t, c, auth, publish)
		if answer := caddytest.Hear(t, c, `"ref":2`); !strings.Contains(answer, want) {
			t.Errorf("%s: %s, want %s", path, answer, want)
		}
	}
	c := dial("inner")
	caddytest.Hear(t, c, `"op":"ready"`)
	s.Reload(site("heartbeat 20s"))
	caddytest.Speak(t, c, auth, publish)
	if answer := caddytest.Hear(t, c, `"ref":2`); !strings.Contains(answer, `"id":`) {
		t.Errorf("after a reload: %s", answer)
	}
	c = dial("inner")
	caddytest.Hear(t, c, `"op":"ready"`)
	s.Reload(strings.ReplaceAll(site(""), "grants publish", "max_lifetime 1h\ngrants publish"))
	caddytest.Speak(t, c, auth)
	if answer := caddytest.Hear(t, c, `"ref":1`); !strings.Contains(answer, `"status":401`) || !strings.Contains(answer, "connect anew") {
		t.Errorf("after a reload that makes something else of tokens: %s", answer)
	}
}
