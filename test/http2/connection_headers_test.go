package http2

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// TestNoConnectionHeadersBeyondHTTP1: HTTP/2 and HTTP/3 forbid what is about one
// connection (RFC 9113, section 8.2.2; RFC 9114, section 4.2), and strict
// clients take such an answer for none.
func TestNoConnectionHeadersBeyondHTTP1(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"max_message_size 100\n}\n")
	const key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		h1, later                  int // status
	}{
		{"handshake", "GET", "lobby", "", []string{key, "Sec-WebSocket-Version: 13"}, 426, 501},
		{"another version", "GET", "lobby", "", []string{key, "Sec-WebSocket-Version: 8"}, 426, 501},
		{"all that can be sent", "GET", "lobby", "", []string{key, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: realtime.raw"}, 426, 501},
		{"page", "GET", "lobby", "", nil, 200, 200},
		{"events", "GET", "lobby", "", []string{"Accept: text/event-stream"}, 200, 200},
		{"lines", "GET", "lobby", "", []string{"Accept: application/x-ndjson"}, 200, 200},
		{"head", "HEAD", "lobby", "", []string{key}, 200, 200},
		{"script", "GET", "-/realtime.js", "", []string{key}, 200, 200},
		{"no script", "GET", "-/other.js", "", []string{key}, 404, 404},
		{"publish", "POST", "lobby", "hi", nil, 201, 201},
		{"too large", "POST", "lobby", strings.Repeat("x", 101), nil, 413, 413},
		{"another method", "PUT", "lobby", "hi", nil, 405, 405},
		{"options", "OPTIONS", "lobby", "", nil, 204, 204},
		{"origin", "POST", "lobby", "hi", []string{"Origin: https://elsewhere.example"}, 403, 403},
	} {
		for proto, c := range caddytest.Clients(t) {
			t.Run(test.name+" "+proto, func(t *testing.T) {
				s := s.In(t)
				resp := s.Fetch(c, proto, test.method, test.target, test.body, test.headers...)
				want := test.later
				if proto == "HTTP/1.1" {
					want = test.h1
				}
				if resp.StatusCode != want {
					t.Errorf("got %s, want %d", resp.Status, want)
				}
				if proto == "HTTP/1.1" {
					// RFC 9110, section 15.5.22.
					if want == http.StatusUpgradeRequired && (resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade") {
						t.Errorf("426 without Upgrade: %v", resp.Header)
					}
					return
				}
				for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
					if v, ok := resp.Header[name]; ok {
						t.Errorf("%s: %q", name, v)
					}
				}
			})
		}
	}
}
