// Package recipes is what the recipes of the documents need beside Caddy: an application that
// signs people in, an identity provider, and the secrets of the environment.
package recipes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/internal/freeport"
)

// What stands for something else in the documents.
const (
	appAddress     = "localhost:9000"         // of the application
	privateAddress = "127.0.0.1:8081"         // where servers of this machine come in
	issuer         = "https://id.example.com" // the identity provider
)

const jwtSecret = "a secret of at least thirty-two bytes"

// SetSecrets puts the secrets of the documents into the environment until t ends.
func SetSecrets(t *testing.T) {
	key, _ := backend.Generate()
	t.Setenv("JWT_SECRET", jwtSecret)
	t.Setenv("LINKS_KEY", "another secret of thirty-two bytes and more")
	t.Setenv("SHOP_KEY", key)
}

// An App is an application with accounts, and an identity provider. Its methods may be used
// concurrently.
type App struct {
	*httptest.Server

	private string

	mu   sync.Mutex
	keys []*ecdsa.PrivateKey // of the provider, the newest last; nil: it has been withdrawn
}

// Start runs an application until t ends, and sets the secrets.
func Start(t *testing.T) *App {
	t.Helper()
	SetSecrets(t)
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	a := &App{private: fmt.Sprintf("127.0.0.1:%d", port)}
	a.Rotate(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/sign-in", signIn)
	mux.HandleFunc("/who-is-it", whoIsIt)
	mux.HandleFunc("/token", tokenOf)
	mux.HandleFunc("/jwks.json", a.jwks)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	t.Setenv("TOKEN", a.Token(t, "ann", nil))
	return a
}

// Here writes what a document says as it is here.
func (a *App) Here(text string) string {
	return strings.NewReplacer(appAddress, a.Listener.Addr().String(), privateAddress, a.private,
		issuer+"/", a.URL+"/").Replace(text)
}

// With adds global options to a Caddyfile, which may have some.
func With(options, caddyfile string) string {
	if own, ok := strings.CutPrefix(caddyfile, "{\n"); ok {
		return "{\n" + options + own
	}
	return "{\n" + options + "}\n" + caddyfile
}

// user returns whose session a request has.
func user(r *http.Request) string {
	c, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return c.Value
}

// signIn begins a session of whom the query names.
func signIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "session", Value: r.URL.Query().Get("user"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	w.WriteHeader(http.StatusNoContent)
}

// whoIsIt answers forward_auth: strangers may come in, too.
func whoIsIt(w http.ResponseWriter, r *http.Request) {
	if name := user(r); name != "" {
		w.Header().Set("Remote-User", name)
		w.Header().Set("Remote-Name", strings.ToUpper(name[:1])+name[1:]+" Archer")
	}
}

// tokenOf gives who has a session a token by the secret, and others nothing.
func tokenOf(w http.ResponseWriter, r *http.Request) {
	name := user(r)
	if name == "" {
		return
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(name, nil)).SignedString([]byte(jwtSecret))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte(text))
}

func claims(user string, more map[string]any) jwt.MapClaims {
	now := time.Now()
	all := jwt.MapClaims{"sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, more)
	return all
}

// Token returns a token of the provider by its newest key.
func (a *App) Token(t *testing.T, user string, more map[string]any) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	all := claims(user, map[string]any{"iss": issuer, "aud": "chat"})
	maps.Copy(all, more)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	token.Header["kid"] = kid(len(a.keys) - 1)
	text, err := token.SignedString(a.keys[len(a.keys)-1])
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Rotate gives the provider a new key, beside those that it has.
func (a *App) Rotate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(a.keys, key)
}

// Withdraw takes all keys but the newest out of the provider's set.
func (a *App) Withdraw() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.keys[:len(a.keys)-1])
}

func kid(n int) string { return fmt.Sprint("key-", n) }

// jwks answers with the keys of the provider (RFC 7517).
func (a *App) jwks(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := map[string][]map[string]string{"keys": {}}
	for n, key := range a.keys {
		if key == nil {
			continue
		}
		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		half := 1 + (len(point)-1)/2
		set["keys"] = append(set["keys"], map[string]string{
			"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid(n),
			"x": base64.RawURLEncoding.EncodeToString(point[1:half]), "y": base64.RawURLEncoding.EncodeToString(point[half:]),
		})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(set)
}
