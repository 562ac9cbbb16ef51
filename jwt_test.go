package realtime

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

const jwtSecret = "0123456789abcdef0123456789abcdef"

// signed returns a token of ann.
func signed(t *testing.T, secret string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "ann", "iat": time.Now().Unix(), "exp": time.Now().Unix() + 60}
	maps.Copy(all, claims)
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestJWTTakesSecretsFromTheEnvironmentAndFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	other := strings.Repeat("other", 8)
	if err := os.WriteFile(file, []byte(other+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REALTIME_TEST_SECRET", jwtSecret)
	t.Setenv("REALTIME_TEST_ISSUER", "me")
	t.Setenv("REALTIME_TEST_KEY", "testdata/jwt_key.pem")
	j := JWT{
		Secrets: []string{"{env.REALTIME_TEST_SECRET}", "{file." + file + "}"}, KeyFiles: []string{"{env.REALTIME_TEST_KEY}"},
		Issuer: "{env.REALTIME_TEST_ISSUER}", Audience: []string{"{env.REALTIME_TEST_ISSUER}-chat"},
	}
	v, err := j.provision(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{jwtSecret, other} {
		got, err := v.Verify(t.Context(), signed(t, secret, jwt.MapClaims{"iss": "me", "aud": "me-chat"}), nil)
		if err != nil || got.User != "ann" {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := v.Verify(t.Context(), signed(t, jwtSecret, jwt.MapClaims{"iss": "you", "aud": "me-chat"}), nil); err == nil {
		t.Error("another issuer's token is good")
	}
	if n := len(v.Sources()); n != 3 {
		t.Errorf("%d sources", n)
	}
}

// Neither what is written nor what placeholders stand for comes up in errors.
func TestJWTErrorsHideSecrets(t *testing.T) {
	t.Setenv("REALTIME_TEST_CANARY", "canary")
	t.Setenv("REALTIME_TEST_EMPTY", "")
	for name, test := range map[string]struct {
		jwt   JWT
		names string
	}{
		"short":          {JWT{Secrets: []string{"{env.REALTIME_TEST_CANARY}"}}, "secret 1"},
		"braces":         {JWT{Secrets: []string{jwtSecret, "canary{canary}" + jwtSecret}}, "secret 2"},
		"empty variable": {JWT{Secrets: []string{"canary{env.REALTIME_TEST_EMPTY}"}}, "secret 1"},
		"empty":          {JWT{Secrets: []string{""}}, "secret 1"},
		"not PEM":        {JWT{Keys: []string{"{env.REALTIME_TEST_CANARY}"}}, "key 1"},
		"broken PEM":     {JWT{Keys: []string{"-----BEGIN PUBLIC KEY-----\ncanary==\n-----END PUBLIC KEY-----"}}, "key 1"},
		"no file":        {JWT{KeyFiles: []string{"{env.REALTIME_TEST_EMPTY}"}}, "key_file 1"},
		"twice":          {JWT{Secrets: []string{jwtSecret + "canary", jwtSecret + "canary"}}, "twice"},
		"issuer":         {JWT{Secrets: []string{jwtSecret}, Issuer: "{env.REALTIME_TEST_EMPTY}"}, "issuer"},
		"audience":       {JWT{Secrets: []string{jwtSecret}, Audience: []string{"a", "{nothing}"}}, "audience 2"},
	} {
		_, err := test.jwt.provision(slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(err.Error(), "jwt: ") || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), jwtSecret) {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
	// Caddyfiles, at the places where a secret may stand by mistake.
	for _, block := range []string{"jwt canary", "jwt {\ncanary\n}", "jwt {\nsecret canary {\nx\n}\n}", "jwt {\nsecret canary\nsecret canary\n}", "jwt {\nsecret\ncanary\n}"} {
		_, _, err := caddytest.Adapt("http://localhost:8080\n\nrealtime {\n" + block + "\n}\n")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", block, err)
		}
	}
}

// A JWK set that does not answer holds nothing up, and a reload ends the fetch.
func TestJWKSIsFetchedBehindTheScenes(t *testing.T) {
	asked, ended := make(chan string, 1), make(chan struct{}, 1)
	issuer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	defer issuer.Close()
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"jwt {\njwks "+issuer.URL+"/keys\nissuer me\naudience any\n}\n}")
	if path := <-asked; path != "/keys" {
		t.Errorf("asked for %s", path)
	}
	s.Post("lobby", "hello")
	s.Reload("realtime {\n" + caddytest.Open + "}")
	<-ended
}

// What a Caddyfile cannot say about tokens, JSON cannot either.
func TestJWTIsCheckedInJSON(t *testing.T) {
	grants := func(verb, pattern string) *JWT {
		return &JWT{Grants: []Grant{{Verbs: []string{"subscribe", verb}, Patterns: []string{pattern}}}}
	}
	for name, j := range map[string]*JWT{
		"verb":     grants("bogus", "a"),
		"reserved": grants("publish", "-/audit"),
		"pattern":  grants("publish", ""),
		"cookie":   {Cookie: "a b"},
		"jwks":     {JWKS: "http://example.com/keys"},
	} {
		if err := (&Handler{JWT: j}).check(); err == nil || !strings.Contains(err.Error(), "jwt: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Handler{JWT: grants("publish", "a/*")}).check(); err != nil {
		t.Error(err)
	}
}
