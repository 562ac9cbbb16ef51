package serve

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://app.example.com", "https://app.example.com", true},
		{"https://app.example.com", "https://APP.example.com", true},
		{"https://app.example.com", "http://app.example.com", false},
		{"https://app.example.com", "https://app.example.com:8443", false},
		{"https://app.example.com:8443", "https://app.example.com:8443", true},
		{"app.example.com", "http://app.example.com", true},
		{"app.example.com", "https://evil-app.example.com", false},
		{"https://*.example.com", "https://a.example.com", true},
		{"https://*.example.com", "https://a.b.example.com", true},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://example.com.evil.org", false},
		{"https://*.example.com", "null", false},
	} {
		if err := CheckOrigin(test.pattern); err != nil {
			t.Errorf("%s: %v", test.pattern, err)
		}
		if got := matchOrigin(test.pattern, test.origin); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s for %s: %v, want %v", test.pattern, test.origin, got, test.want)
		}
	}
	for _, test := range []struct {
		origin, host string
		want         bool
	}{
		{"https://example.com", "example.com", true},
		{"https://example.com", "example.com:443", true},
		{"https://example.com:443", "example.com", true},
		{"http://example.com:80", "Example.com", true},
		{"http://example.com:8080", "example.com", false},
		{"https://other.com", "example.com", false},
		{"null", "example.com", false},
		{"://", "example.com", false},
	} {
		if got := sameHost(test.origin, test.host); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s on %s: %v, want %v", test.origin, test.host, got, test.want)
		}
	}
}

func TestOriginsInOtherWords(t *testing.T) {
	for _, test := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://app.example.com:443", "https://app.example.com", true},
		{"http://app.example.com:80", "http://app.example.com", true},
		{"http://app.example.com:443", "http://app.example.com", false},
		{"https://app.example.com:0443", "https://app.example.com", true},
		{"https://app.example.com:", "https://app.example.com", true},
		{"https://app.example.com/", "https://app.example.com", true},
		{"HTTPS://App.Example.COM", "https://app.example.com", true},
		{"https://bücher.example", "https://xn--bcher-kva.example", true},
		{"https://*.BÜCHER.example", "https://shop.xn--bcher-kva.example", true},
		{"https://xn--bcher-kva.example", "https://xn--bcher-kva.example", true},
		{"例え.example", "http://xn--r8jz45g.example", true},
		{"http://[::1]:8080", "http://[::1]:8080", true},
		{"http://[0:0:0:0:0:0:0:1]", "http://[::1]", true},
		{"http://[2001:DB8::1]", "http://[2001:db8::1]", true},
		{"http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", true},
		{"[::1]:8080", "https://[::1]:8080", true},
		{"127.0.0.1:8080", "http://127.0.0.1:8080", true},
		{"app.example.com:443", "https://app.example.com", true},
		{"app.example.com:8443", "https://app.example.com", false},
		{"*.example.com:8443", "https://a.example.com:8443", true},
		{"https://*.example.com", "https://.example.com", false},
		{"capacitor://localhost", "capacitor://localhost", true},
		{"chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true},
		{"my_host.example", "http://my_host.example", true},
		{"null", "null", true},
		{"NULL", "null", true},
		{"null", "file://", true},
		{"null", "https://null", false},
		{"app.example.com", "null", false},
	} {
		if err := CheckOrigin(test.pattern); err != nil {
			t.Errorf("%s: %v", test.pattern, err)
		}
		if got := matchOrigin(test.pattern, test.origin); got != test.want {
			t.Errorf("%s for %s: %v, want %v", test.pattern, test.origin, got, test.want)
		}
	}
}

func TestOriginsThatNoPageHas(t *testing.T) {
	for pattern, remedy := range map[string]string{
		"https://app.example.com,":            "spaces",
		"https://a.example,https://b.example": "spaces",
		"https://a.example https://b.example": "spaces",
		"https://app.example.com/chat":        "use https://app.example.com",
		"https://app.example.com?x":           "use https://app.example.com",
		"https://app.example.com/#":           "use https://app.example.com",
		"app.example.com/chat/":               "use app.example.com",
		"wss://app.example.com":               "use https://",
		"ws://app.example.com":                "use http://",
		"file://":                             "use null",
		"file:///home/ann/chat.html":          "use null",
		"http://localhost:*":                  "each port",
		"http://localhost:http":               "port",
		"http://localhost:99999":              "port",
		"http://localhost:0":                  "port",
		"https://*":                           "https://*.example.com",
		"https://app.*":                       "https://*.example.com",
		"https://*app.example.com":            "https://*.example.com",
		"https://*.*.example.com":             "https://*.example.com",
		"http://::1":                          "[::1]",
		"http://[::1":                         "IPv6",
		"http://[fe80::1%25eth0]":             "IPv6",
		"http://127.1":                        "127.0.0.1",
		"http://0x7f.1":                       "127.0.0.1",
		"http://2130706433":                   "127.0.0.1",
		"http://*.0.0.1":                      "127.0.0.1",
		"http://*.127.0.0.1":                  "address",
		"https://{env.APP}":                   "{$NAME}",
		"https://ann@example.com":             "must be like",
		"https://":                            "must be like",
		"://app.example.com":                  "must be like",
		"":                                    "must be like",
		"https://a..example":                  "",
		"https://a<b.example":                 "",
	} {
		if err := CheckOrigin(pattern); err == nil || !strings.Contains(err.Error(), remedy) || strings.HasPrefix(remedy, "use ") && !strings.HasSuffix(err.Error(), remedy) {
			t.Errorf("%q: %v, want %q", pattern, err, remedy)
		}
	}
}

func TestRemediesForRefusedOrigins(t *testing.T) {
	for _, test := range []struct{ name, origin, host, forwarded, want string }{
		{"another site", "https://app.example.com", "127.0.0.1:8080", "", "origins https://app.example.com"},
		{"the name of an upstream", "https://example.com", "backend", "", "proxy_set_header Host $http_host"},
		{"the proxy tells", "https://example.com", "backend:8080", "example.com", "a proxy changed the Host header"},
		{"two proxies tell", "https://example.com", "backend:8080", "example.com, inner", "a proxy changed the Host header"},
		{"the proxy tells of another", "https://evil.example", "backend:8080", "example.com", "origins https://evil.example"},
		{"the port is lost", "http://localhost:21172", "localhost", "", "the ports differ"},
		{"no TLS", "http://example.com", "example.com", "", "open it over https"},
		{"a file", "null", "localhost", "", "origins null"},
		{"a file of a web view", "file://", "localhost", "", "origins null"},
		{"nonsense", "x", "localhost", "", "this origin cannot be listed"},
	} {
		if got := remedy(test.origin, test.host, test.forwarded); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// Where the server itself ends TLS, a page that came without is not the site's: anybody on its way may
// have written it.
func TestPageWithoutTLSIsForeign(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct {
		origin string
		tls    bool
		own    bool
	}{
		{"http://example.com", false, true},
		{"https://example.com", false, true}, // a proxy ends TLS
		{"https://example.com", true, true},
		{"http://example.com", true, false},
		{"http://example.com:443", true, false},
	} {
		r, _ := newRequest(t, http.MethodGet, "a", "", "Origin: "+test.origin)
		if strings.HasSuffix(test.origin, ":443") {
			r.Host = "example.com:443"
		}
		if test.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if _, err := s.admitOrigin(httptest.NewRecorder(), r); (err == nil) != test.own {
			t.Errorf("%+v: %v", test, err)
		}
	}
}
