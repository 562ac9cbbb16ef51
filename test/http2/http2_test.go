package http2

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestEveryVersionOfHTTP(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"}")
	for proto, c := range caddytest.Clients(t) {
		t.Run(proto, func(t *testing.T) {
			s := s.In(t)
			room := strings.NewReplacer("/", "", ".", "").Replace(proto)
			resp := s.Fetch(c, proto, "POST", room, "one")
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("POST: %s", resp.Status)
			}
			var p caddytest.Page
			caddytest.Decode(t, caddytest.ReadAll(t, s.Fetch(c, proto, "GET", room, "")), &p)
			if !slices.Equal(p.Texts(), []string{"one"}) {
				t.Errorf("page: %q", p.Texts())
			}
			stream := func(accept string) *caddytest.Lines {
				resp := s.Fetch(c, proto, "GET", room+"?last=1", "", "Accept: "+accept)
				return caddytest.NewLines(t, resp)
			}
			events, ndjson := stream("text/event-stream"), stream("application/x-ndjson")
			if got := events.Until("data: "); got != "one" {
				t.Errorf("SSE began with %q", got)
			}
			ndjson.Next()
			ndjson.Next()
			polled := make(chan caddytest.Page, 1)
			go func() {
				var p caddytest.Page
				caddytest.Decode(t, caddytest.ReadAll(t, s.Fetch(c, proto, "GET", room+"?wait=10&since="+p.Cursor, "")), &p)
				polled <- p
			}()
			caddytest.Eventually(t, "three members", func() bool {
				return s.Fetch(c, proto, "HEAD", room, "").Header.Get("Realtime-Members") == "3"
			})
			s.Fetch(c, proto, "POST", room, "two")
			if got := events.Until("data: "); got != "two" {
				t.Errorf("SSE went on with %q", got)
			}
			var e caddytest.Envelope
			if caddytest.Decode(t, ndjson.Next(), &e); e.Text() != "two" {
				t.Errorf("NDJSON went on with %+v", e)
			}
			if p := <-polled; !slices.Equal(p.Texts(), []string{"two"}) {
				t.Errorf("long-poll: %q", p.Texts())
			}
			s.ReloadTLS("realtime {\n" + caddytest.Open + "heartbeat 20s\n}\nheader X-Round " + room)
			if proto == "HTTP/1.1" {
				c.CloseIdleConnections() // the old server is closing them
				s.Fetch(c, proto, "POST", room, "three")
				wantStreamsStay(t, events, ndjson)
			} else {
				wantStreamsEnd(t, events, ndjson)
			}
		})
	}
}

// wantStreamsStay checks that streams which have left net/http stay at a reload: they go
// on with the next message.
func wantStreamsStay(t *testing.T, events, ndjson *caddytest.Lines) {
	t.Helper()
	if got := events.Until("data: "); got != "three" {
		t.Errorf("after a reload SSE went on with %q", got)
	}
	var e caddytest.Envelope
	if caddytest.Decode(t, ndjson.Next(), &e); e.Text() != "three" {
		t.Errorf("after a reload NDJSON went on with %+v", e)
	}
}

// wantStreamsEnd checks that streams which net/http serves end at a reload, and say so.
func wantStreamsEnd(t *testing.T, events, ndjson *caddytest.Lines) {
	t.Helper()
	if rest := events.Rest(); len(rest) < 2 || !strings.HasPrefix(rest[len(rest)-2], "retry: ") {
		t.Errorf("at a reload SSE ends with %q, want retry", rest)
	}
	if rest := ndjson.Rest(); len(rest) == 0 || !strings.Contains(rest[len(rest)-1], `"op":"bye"`) {
		t.Errorf("at a reload NDJSON ends with %q, want bye", rest)
	}
}

// Several rooms, commands and presence do not care for the version of HTTP.
func TestSeveralRoomsInEveryVersionOfHTTP(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"}")
	for proto, c := range caddytest.Clients(t) {
		t.Run(proto, func(t *testing.T) {
			s := s.In(t)
			prefix := strings.NewReplacer("/", "", ".", "").Replace(proto)
			rooms := "?room=" + prefix + "a&room=" + prefix + "b&state=1"
			resp := s.Fetch(c, proto, "GET", rooms, "", "Accept: text/event-stream")
			events := caddytest.NewLines(t, resp)
			var ready caddytest.Envelope
			caddytest.Decode(t, events.Until("data: "), &ready)
			events.Until(`data: {"op":"presence","room":"` + prefix + `a","members":1,"here":[{"id":"~`)
			command := `{"op":"publish","room":"` + prefix + `b","data":"hi"}` + "\n" + `{"op":"state","room":"` + prefix + `a","state":2}`
			answer := caddytest.ReadAll(t, s.Fetch(c, proto, "POST", "?conn="+ready.Conn, command, caddytest.NDJSON))
			if strings.Count(answer, `"op":"ok"`) != 2 {
				t.Errorf("answer %s", answer)
			}
			got := map[string]bool{}
			for !got["message"] || !got["presence"] {
				line := events.Next()
				got["message"] = got["message"] || strings.Contains(line, `"data":"hi"`)
				got["presence"] = got["presence"] || strings.Contains(line, `"update":[{"id":"~`) || strings.Contains(line, `"state":2`)
			}
		})
	}
}

func TestStreamsOutliveConfiguredTimeouts(t *testing.T) {
	s := caddytest.Start(t, "realtime")
	caddytest.Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nservers {\ntimeouts {\nread_body 300ms\nwrite 300ms\nread_body_idle 300ms\n}\n}\n}\n%s {\nrealtime {\n%s\nheartbeat 1s\n}\n}\n", s.URL, caddytest.Open))
	l := s.Stream("lobby", "text/event-stream")
	l.Until("id: ")
	c := s.Dial("lobby")
	p := make(chan caddytest.Page, 1)
	go func() { p <- s.Page("lobby?wait=10") }()
	l.Until(":") // the heartbeat, long after every timeout
	s.Post("lobby", "still here")
	if got := l.Until("data: "); got != "still here" {
		t.Errorf("SSE got %q", got)
	}
	if got := caddytest.Receive(t, c); got != "still here" {
		t.Errorf("WebSocket got %q", got)
	}
	if got := (<-p).Texts(); !slices.Equal(got, []string{"still here"}) {
		t.Errorf("long-poll got %q", got)
	}
}

func TestWebSocketOverTLS(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"}")
	c, _, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby", &websocket.DialOptions{HTTPClient: caddytest.Clients(t)["HTTP/1.1"]})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	text := strings.Repeat("x", 60_000)
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	if got := caddytest.Receive(t, c); got != text {
		t.Errorf("got %d bytes back, want %d", len(got), len(text))
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// TestExtendedConnectIsRefused: any 2xx would open a socket without a server.
func TestExtendedConnectIsRefused(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"}\nrespond ok")
	target, _ := url.Parse(s.URL + "/rt/lobby")
	req := &http.Request{Method: http.MethodConnect, Proto: "websocket", URL: target, Host: target.Host, Header: http.Header{}}
	resp, err := caddytest.Clients(t)["HTTP/3.0"].Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotImplemented {
		t.Errorf("got %s, want 501", resp.Status)
	}
}
