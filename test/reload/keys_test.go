package reload

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A reload after which a key is not accepted any more ends what was opened with it, also if the
// key stands in a file, so that the configuration is the same. What was opened with a key that is
// still accepted goes on.
func TestReloadDropsKeys(t *testing.T) {
	kept, keptHash := backend.Generate()
	old, _ := backend.Generate()
	next, _ := backend.Generate()
	file := filepath.Join(t.TempDir(), "key")
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(old)
	site := "realtime {\n" + caddytest.Open + "backend shop " + keptHash + " {file." + file + "}\n}"
	s := caddytest.Start(t, site)
	byOld := s.Dial("orders", caddytest.Session, "Authorization: Bearer "+old)
	byKept := s.Dial("orders", caddytest.Session, "Authorization: Bearer "+kept)
	caddytest.Hear(t, byOld, `"op":"ready"`)
	caddytest.Hear(t, byKept, `"op":"ready"`)

	write(next)
	s.Reload(site)
	wantClosed(t, byOld)
	s.Reload("realtime {\n" + caddytest.Open + "backend shop " + keptHash + "\n}")
	s.Post("orders", "hi", "Authorization: Bearer "+kept)
	caddytest.Hear(t, byKept, `"data":"hi"`)
	s.Reload("realtime {\n" + caddytest.Open + "backend shop " + keptHash + " {\nallow subscribe\n}\n}")
	wantClosed(t, byKept) // it may do less, so it has to come back
}

// Whoever came through a handler with as_backend does not stay the backend without it, though the
// name is still that of one with a key.
func TestReloadDropsAsBackend(t *testing.T) {
	_, hash := backend.Generate()
	options := caddytest.Open + "backend shop " + hash + "\n"
	s := caddytest.Start(t, "bind 127.0.0.1\nrealtime {\n"+options+"as backend shop\n}")
	c := s.Dial("orders", caddytest.Session)
	caddytest.Hear(t, c, `"op":"ready"`)
	s.Reload("bind 127.0.0.1\nrealtime {\n" + options + "}")
	wantClosed(t, c)
}

// wantClosed checks that the server closes a WebSocket because its credential does not count any more.
func wantClosed(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for {
		if _, b, err := c.Read(ctx); err != nil {
			if websocket.CloseStatus(err) != 4401 {
				t.Errorf("the connection ends with %v after %s", err, b)
			}
			return
		}
	}
}

// A reload after which the server would not take a token any more, or would make another user of
// it, ends what was opened with it. Other changes do not.
func TestReloadTakesOtherTokens(t *testing.T) {
	const secret = "a secret of at least thirty-two bytes"
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "ann", "email": "ann@example.com", "iss": "me", "aud": "chat", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	site := func(options string) string {
		return "realtime {\n" + caddytest.Open + "jwt {\nsecret \"" + secret + "\"\n" + options + "\n}\n}"
	}
	for options, keeps := range map[string]bool{
		"issuer me\naudience chat":                   true,
		"issuer me\naudience chat\ncookie session":   true,
		"issuer me\naudience chat\nleeway 10s":       true,
		"issuer me\naudience shop":                   false,
		"issuer you\naudience chat":                  false,
		"issuer me\naudience chat\nuser_claim email": false,
		"issuer me\naudience chat\nmax_lifetime 1m":  false,
	} {
		t.Run(options, func(t *testing.T) {
			s := caddytest.Start(t, site("issuer me\naudience chat"))
			c := s.Dial("orders", caddytest.Session, "Authorization: Bearer "+token)
			caddytest.Hear(t, c, `"op":"ready"`)
			s.Reload(site(options))
			if !keeps {
				wantClosed(t, c)
				return
			}
			s.Post("orders", "hi")
			caddytest.Hear(t, c, `"data":"hi"`)
		})
	}
}
