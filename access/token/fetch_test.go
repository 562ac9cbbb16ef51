package token

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Over real connections, with the client as it is.
func TestFetch(t *testing.T) {
	set := setOf(jwkOf("a", rsaKey().Public(), nil))
	var hits, written atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		io.WriteString(w, set)
	})
	mux.Handle("/redirect", http.RedirectHandler("/keys", http.StatusFound))
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		for range 200 << 4 { // 200 MiB
			n, err := io.WriteString(w, strings.Repeat(" ", 64<<10))
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, set)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]string{
		"/keys": "", "/redirect": "status 302", "/large": "more than 256 KiB", "/cut": "reading", "/none": "status 404",
	} {
		c := setConfig()
		c.JWKS = server.URL + path + "?secret=canary"
		r := newVerifier(t, c).remote
		keys, err := r.fetch(t.Context())
		if want == "" && (err != nil || len(keys) != 1) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v", path, keys, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error has the URL: %v", path, err)
		}
	}
	server.Close() // waits for the handlers
	if n := hits.Load(); n != 1 {
		t.Errorf("%d requests reached the keys", n)
	}
	if n := written.Load(); n > 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
	c := setConfig()
	c.JWKS = server.URL + "/keys?secret=canary"
	if _, err := newVerifier(t, c).remote.fetch(t.Context()); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("nobody listens: %v", err)
	}
}
