package realtime

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

// startTLS runs a site with a certificate of its own making, over HTTP/1.1,
// HTTP/2 and HTTP/3.
func startTLS(t *testing.T, block string) *site {
	t.Helper()
	s := startSite(t, "respond ok")
	s.URL = fmt.Sprintf("https://localhost:%d", freePort(t))
	s.reloadTLS(block)
	// The certificate is made in the background.
	h1 := clients(t)["HTTP/1.1"]
	eventually(t, "a certificate", func() bool {
		resp, err := h1.Head(s.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
	return s
}

func (s *site) reloadTLS(block string) {
	s.t.Helper()
	loadCaddyfile(s.t, fmt.Sprintf("{\nadmin off\npersist_config off\nskip_install_trust\nauto_https disable_redirects\n}\n%s {\ntls internal\n%s\n}\n", s.URL, block))
}

// clients returns a client for each version of HTTP.
func clients(t *testing.T) map[string]*http.Client {
	t.Helper()
	insecure := func(alpn ...string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: alpn}
	}
	h1 := &http.Transport{TLSClientConfig: insecure("http/1.1")}
	h2 := &http.Transport{TLSClientConfig: insecure("h2"), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure("h3")}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		_ = h3.Close()
	})
	return map[string]*http.Client{"HTTP/1.1": {Transport: h1}, "HTTP/2.0": {Transport: h2}, "HTTP/3.0": {Transport: h3}}
}

// fetch sends a request with a client and checks the protocol.
func (s *site) fetch(c *http.Client, proto, method, target, body string, headers ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	s.t.Cleanup(cancel)
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/rt/"+target, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s %s: %v", proto, method, target, err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.Proto != proto {
		s.t.Fatalf("came by %s, want %s", resp.Proto, proto)
	}
	return resp
}

func TestEveryVersionOfHTTP(t *testing.T) {
	s := startTLS(t, "realtime {\n"+open+"}")
	for proto, c := range clients(t) {
		t.Run(proto, func(t *testing.T) {
			s.t = t
			room := strings.NewReplacer("/", "", ".", "").Replace(proto)
			resp := s.fetch(c, proto, "POST", room, "one")
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("POST: %s", resp.Status)
			}
			var p page
			decode(t, readAll(t, s.fetch(c, proto, "GET", room, "")), &p)
			if !slices.Equal(p.texts(), []string{"one"}) {
				t.Errorf("page: %q", p.texts())
			}
			stream := func(accept string) *lines {
				resp := s.fetch(c, proto, "GET", room+"?last=1", "", "Accept: "+accept)
				return &lines{t: t, Scanner: bufio.NewScanner(resp.Body)}
			}
			events, ndjson := stream("text/event-stream"), stream("application/x-ndjson")
			if got := events.until("data: "); got != "one" {
				t.Errorf("SSE began with %q", got)
			}
			ndjson.next()
			ndjson.next()
			polled := make(chan page, 1)
			go func() {
				var p page
				decode(t, readAll(t, s.fetch(c, proto, "GET", room+"?wait=10&since="+p.Cursor, "")), &p)
				polled <- p
			}()
			eventually(t, "three members", func() bool { return hubOf(t, "").SubscriberCount(room) == 3 })
			s.fetch(c, proto, "POST", room, "two")
			if got := events.until("data: "); got != "two" {
				t.Errorf("SSE went on with %q", got)
			}
			var e envelope
			if decode(t, ndjson.next(), &e); e.text() != "two" {
				t.Errorf("NDJSON went on with %+v", e)
			}
			if p := <-polled; !slices.Equal(p.texts(), []string{"two"}) {
				t.Errorf("long-poll: %q", p.texts())
			}
			s.reloadTLS("realtime {\n" + open + "heartbeat 20s\n}\nheader X-Round " + room)
			if proto == "HTTP/1.1" {
				wantStreamsStay(t, room, events, ndjson)
			} else {
				wantStreamsEnd(t, events, ndjson)
			}
		})
	}
}

// wantStreamsStay checks that streams which have left net/http stay at a reload.
func wantStreamsStay(t *testing.T, room string, events, ndjson *lines) {
	t.Helper()
	three := hub.Publication{Room: room, Kind: message.Text, Data: []byte("three")}
	if _, err := hubOf(t, "").Caller(hub.Client{}).Publish(t.Context(), three); err != nil {
		t.Fatal(err)
	}
	if got := events.until("data: "); got != "three" {
		t.Errorf("after a reload SSE went on with %q", got)
	}
	var e envelope
	if decode(t, ndjson.next(), &e); e.text() != "three" {
		t.Errorf("after a reload NDJSON went on with %+v", e)
	}
}

// wantStreamsEnd checks that streams which net/http serves end at a reload, and say so.
func wantStreamsEnd(t *testing.T, events, ndjson *lines) {
	t.Helper()
	if rest := events.rest(); len(rest) < 2 || !strings.HasPrefix(rest[len(rest)-2], "retry: ") {
		t.Errorf("at a reload SSE ends with %q, want retry", rest)
	}
	if rest := ndjson.rest(); len(rest) == 0 || !strings.Contains(rest[len(rest)-1], `"op":"bye"`) {
		t.Errorf("at a reload NDJSON ends with %q, want bye", rest)
	}
}

// Several rooms, commands and presence do not care for the version of HTTP.
func TestSeveralRoomsInEveryVersionOfHTTP(t *testing.T) {
	s := startTLS(t, "realtime {\n"+open+"}")
	for proto, c := range clients(t) {
		t.Run(proto, func(t *testing.T) {
			s.t = t
			prefix := strings.NewReplacer("/", "", ".", "").Replace(proto)
			rooms := "?room=" + prefix + "a&room=" + prefix + "b&state=1"
			resp := s.fetch(c, proto, "GET", rooms, "", "Accept: text/event-stream")
			events := &lines{t: t, Scanner: bufio.NewScanner(resp.Body)}
			var ready envelope
			decode(t, events.until("data: "), &ready)
			events.until(`data: {"op":"presence","room":"` + prefix + `a","members":1,"here":[{"id":"~`)
			command := `{"op":"publish","room":"` + prefix + `b","data":"hi"}` + "\n" + `{"op":"state","room":"` + prefix + `a","state":2}`
			answer := readAll(t, s.fetch(c, proto, "POST", "?conn="+ready.Conn, command, ndjson))
			if strings.Count(answer, `"op":"ok"`) != 2 {
				t.Errorf("answer %s", answer)
			}
			got := map[string]bool{}
			for !got["message"] || !got["presence"] {
				line := events.next()
				got["message"] = got["message"] || strings.Contains(line, `"data":"hi"`)
				got["presence"] = got["presence"] || strings.Contains(line, `"update":[{"id":"~`) || strings.Contains(line, `"state":2`)
			}
		})
	}
}

func TestStreamsOutliveConfiguredTimeouts(t *testing.T) {
	s := startSite(t, "realtime")
	loadCaddyfile(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nservers {\ntimeouts {\nread_body 300ms\nwrite 300ms\nread_body_idle 300ms\n}\n}\n}\n%s {\nrealtime {\n%s\nheartbeat 1s\n}\n}\n", s.URL, open))
	l := s.stream("lobby", "text/event-stream")
	l.until("id: ")
	c := s.dial("lobby")
	p := make(chan page, 1)
	go func() { p <- s.page("lobby?wait=10") }()
	l.until(":") // the heartbeat, long after every timeout
	s.post("lobby", "still here")
	if got := l.until("data: "); got != "still here" {
		t.Errorf("SSE got %q", got)
	}
	if got := receive(t, c); got != "still here" {
		t.Errorf("WebSocket got %q", got)
	}
	if got := (<-p).texts(); !slices.Equal(got, []string{"still here"}) {
		t.Errorf("long-poll got %q", got)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	s := startTLS(t, "realtime {\n"+open+"}")
	c, _, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby", &websocket.DialOptions{HTTPClient: clients(t)["HTTP/1.1"]})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	text := strings.Repeat("x", 60_000)
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	if got := receive(t, c); got != text {
		t.Errorf("got %d bytes back, want %d", len(got), len(text))
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// TestExtendedConnectIsRefused: any 2xx would open a socket without a server.
func TestExtendedConnectIsRefused(t *testing.T) {
	s := startTLS(t, "realtime {\n"+open+"}\nrespond ok")
	target, _ := url.Parse(s.URL + "/rt/lobby")
	req := &http.Request{Method: http.MethodConnect, Proto: "websocket", URL: target, Host: target.Host, Header: http.Header{}}
	resp, err := clients(t)["HTTP/3.0"].Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("got %s, want 501", resp.Status)
	}
}
