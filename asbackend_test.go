package realtime

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// validate provisions a Caddyfile with global options.
func validate(t *testing.T, options, caddyfile string) error {
	t.Helper()
	config, _, err := caddytest.Adapt("{\nadmin off\nskip_install_trust\n" + options + "}\n" + caddyfile)
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, caddyfile)
	}
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&c)
}

// TestAsBackendIsOutOfReach checks what must keep others out of a handler whose clients all are a
// backend.
func TestAsBackendIsOutOfReach(t *testing.T) {
	const (
		as     = "\nrealtime {\nas backend ci\n}\n"
		ca     = "trust_pool pki_root local\n"
		verify = "tls internal {\nclient_auth {\n" + ca + "}\n}\n"
	)
	for _, test := range []struct {
		name, options, caddyfile string
		ok                       bool
	}{
		{"every address", "", "http://:9080 {" + as + "}", false},
		{"a name", "", "http://localhost:9080 {" + as + "}", false},
		{"HTTPS", "", "example.com {\ntls internal" + as + "}", false},
		{"loopback", "", "http://:9080 {\nbind 127.0.0.1 ::1" + as + "}", true},
		{"localhost", "", "http://:9080 {\nbind localhost" + as + "}", true},
		{"loopback and another", "", "http://:9080 {\nbind 127.0.0.1 192.0.2.1" + as + "}", false},
		{"a unix socket", "", "http://:9080 {\nbind unix//tmp/realtime-test.sock" + as + "}", true},
		{"a descriptor", "", "http://:9080 {\nbind fd/3" + as + "}", false},
		{"addresses", "", "http://:9080 {\n@in client_ip 10.0.0.0/8\nhandle @in {" + as + "}\n}", true},
		{"addresses of peers", "", "http://:9080 {\n@in remote_ip 10.0.0.0/8\nhandle @in {" + as + "}\n}", true},
		{"addresses, its own matcher", "", "http://:9080 {\n@in remote_ip 10.0.0.0/8\nrealtime @in {\nprefix /rt/\nas backend ci\n}\n}", true},
		{"all but some addresses", "", "http://:9080 {\n@out not remote_ip 10.0.0.0/8\nhandle @out {" + as + "}\n}", false},
		{"addresses of the neighbour", "", "http://:9080 {\n@in client_ip 10.0.0.0/8\nhandle @in {\nrespond in\n}\nhandle {" + as + "}\n}", false},
		{"a header", "", "http://:9080 {\n@in header X-In 1\nhandle @in {" + as + "}\n}", false},
		{"certificates", "", "example.com {\n" + verify + as + "}", true},
		{"certificates, beside another site", "", "example.com {\n" + verify + as + "}\nother.com {\ntls internal\nrespond ok\n}", true},
		{"certificates of another site", "", "example.com {\ntls internal" + as + "}\nother.com {\n" + verify + "respond ok\n}", false},
		{"certificates, not strict", "servers {\nstrict_sni_host insecure_off\n}\n", "example.com {\n" + verify + as + "}\nother.com {\ntls internal\nrespond ok\n}", false},
		{"certificates that nobody verifies", "", "example.com {\ntls internal {\nclient_auth {\nmode require\n" + ca + "}\n}" + as + "}", false},
		{"certificates for those who have some", "", "example.com {\ntls internal {\nclient_auth {\nmode verify_if_given\n" + ca + "}\n}" + as + "}", false},
		{"certificates on a wildcard", "", "*.example.com {\n" + verify + as + "}", true},
		{"not on the HTTP port", "", "http://example.com {" + as + "}\nexample.com {\n" + verify + "respond ok\n}", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := validate(t, test.options, test.caddyfile)
			if test.ok && err != nil || !test.ok && (err == nil || !strings.Contains(err.Error(), "as backend ci: everybody who reaches")) {
				t.Errorf("%v, want an error: %v", err, !test.ok)
			}
		})
	}
}

func TestAsBackendRefusesBrowsersAndProxies(t *testing.T) {
	h := &Handler{AsBackend: "ci", asHosts: caddyhttp.MatchHost{"internal.example.com", "*.hooks.example.com"}}
	nameless := &Handler{AsBackend: "ci"}
	for _, test := range []struct {
		h            *Handler
		host, header string
		ok           bool
	}{
		{h, "internal.example.com", "", true},
		{h, "Internal.example.com:8443", "", true},
		{h, "a.hooks.example.com", "", true},
		{h, "evil.example", "", false},
		{h, "127.0.0.1", "", false},
		{h, "", "", false},
		{h, "internal.example.com", "Origin: null", false},
		{h, "internal.example.com", "Origin: https://internal.example.com", false},
		{h, "internal.example.com", "Origin: ", false},
		{h, "internal.example.com", "Sec-Fetch-Site: none", false},
		{h, "internal.example.com", "Sec-Fetch-Mode: cors", false},
		{h, "internal.example.com", "Cookie: a=b", false},
		{h, "internal.example.com", "Forwarded: for=192.0.2.1", false},
		{h, "internal.example.com", "X-Forwarded-For: 192.0.2.1", false},
		{h, "internal.example.com", "via: 1.1 proxy", false},
		{h, "internal.example.com", "Authorization: Bearer x", true},
		{nameless, "127.0.0.1:9080", "", true},
		{nameless, "[::1]:9080", "", true},
		{nameless, "[::1]", "", true},
		{nameless, "10.0.0.1", "", true},
		{nameless, "LOCALHOST:9080", "", true},
		{nameless, "evil.example:9080", "", false},
		{nameless, "localhost.evil.example", "", false},
		{nameless, "", "", false},
		{nameless, "localhost", "Origin: http://localhost", false},
	} {
		if got := test.h.asBackendAllowed(request(test.host, test.header)); got != test.ok {
			t.Errorf("%q, %q: %v", test.host, test.header, got)
		}
	}
}

func TestKeysAreForServers(t *testing.T) {
	for header, ok := range map[string]bool{
		"": true, "Cookie: a=b": true, "X-Forwarded-For: 192.0.2.1": true, "User-Agent: curl": true,
		"Origin: https://example.com": false, "Origin: null": false, "Referer: https://example.com/": false, "sec-fetch-dest: image": false, "Sec-Fetch-User: ?1": false,
	} {
		if got := keyRequestAllowed(request("example.com", header)); got != ok {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func TestGuestCookieBelongsToTheHost(t *testing.T) {
	plain, secure, proxied, forged := request("h", ""), request("h", ""), request("h", "X-Forwarded-Proto: https"), request("h", "X-Forwarded-Proto: https")
	secure.TLS = new(tls.ConnectionState)
	caddyhttp.SetVar(proxied.Context(), caddyhttp.TrustedProxyVarKey, true)
	for cookie, bare := range map[string]string{"": "realtime-guest", "visitor": "visitor", "__Host-visitor": "visitor"} {
		g := &Guests{Cookie: cookie}
		for r, want := range map[*http.Request]string{plain: bare, forged: bare, secure: "__Host-" + bare, proxied: "__Host-" + bare} {
			if got := g.cookieFor(r, ""); got != want {
				t.Errorf("%q: %q, want %q", cookie, got, want)
			}
		}
	}
}

// request returns a request as handlers get it.
func request(host, header string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/rt/lobby", nil)
	r.Host = host
	if name, value, ok := strings.Cut(header, ": "); ok {
		r.Header.Set(name, value)
	}
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, make(map[string]any))
	return r.WithContext(ctx)
}
