package http2

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The cause is also right for streams that stay with net/http, because they are
// compressed or came over HTTP/2 or 3.
func TestWhyAStreamEndsThatStays(t *testing.T) {
	const block = "route {\nencode gzip\nheader >Cache-Control no-cache\nrealtime {\n" + caddytest.Open + "}\n}"
	s := caddytest.StartTLS(t, block)
	logged := s.LoadLogged(fmt.Sprintf("%s {\ntls internal\n%s\n}", s.URL, block))
	for _, test := range []struct {
		name, proto, alpn string
		reset             bool
		want              hub.Cause
	}{
		{"ended", "HTTP/1.1", "http/1.1", false, hub.CauseLeft},
		{"broken", "HTTP/1.1", "http/1.1", true, hub.CauseGone},
		{"ended", "HTTP/2.0", "h2", false, hub.CauseLeft},
		{"broken", "HTTP/2.0", "h2", true, hub.CauseGone},
		{"ended", "HTTP/3.0", "", false, hub.CauseLeft},
	} {
		t.Run(test.name+" "+test.proto, func(t *testing.T) {
			s := s.In(t)
			before := len(logged("connection ended"))
			c := caddytest.Clients(t)["HTTP/3.0"]
			var tcp *net.TCPConn
			if test.alpn != "" {
				c = &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
					nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
					if err != nil {
						return nil, err
					}
					tcp = nc.(*net.TCPConn)
					over := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{test.alpn}})
					return over, over.HandshakeContext(ctx)
				}}}
			}
			resp := s.Fetch(c, test.proto, "GET", "lobby", "", "Accept: text/event-stream", "Accept-Encoding: gzip")
			if resp.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("headers %v", resp.Header)
			}
			if test.reset {
				_ = tcp.SetLinger(0)
				_ = tcp.Close()
			} else {
				_ = resp.Body.Close()
			}
			caddytest.Eventually(t, "the end", func() bool { return len(logged("connection ended")) > before })
			if ended := logged("connection ended")[before:]; len(ended) != 1 || ended[0]["cause"] != test.want.String() {
				t.Errorf("endings %v, want one of %v", ended, test.want)
			}
		})
	}
}
