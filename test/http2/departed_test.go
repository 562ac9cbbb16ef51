package http2

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A stream that breaks has another cause than a stream that its client ends.
func TestWhyAStreamEnds(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room * {\npresence on off\n}\n}")
	for why, end := range map[string]func(*net.TCPConn){
		"left":    func(c *net.TCPConn) { _ = c.CloseWrite() },
		"timeout": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, // a reset
	} {
		watcher := s.Stream(why+"?members", "text/event-stream")
		watcher.Until("event: presence")
		var d net.Dialer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		t.Cleanup(cancel)
		conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // at once, it would answer with a reset what still comes
		fmt.Fprintf(conn, "GET /rt/%s?state=1 HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", why, strings.TrimPrefix(s.URL, "http://"))
		watcher.Until(`data: {"op":"presence","room":"` + why + `","members":1,"enter"`)
		end(conn.(*net.TCPConn))
		if got := watcher.Until(`data: {"op":"presence","room":"` + why + `","members":0`); !strings.Contains(got, `"why":"`+why+`"`) {
			t.Errorf("%s: %s", why, got)
		}
	}
}

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
