package serve

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
)

// newServer returns a server of a new hub, whose clients are the users that they name
// in the header From.
func newServer(t *testing.T) *Server {
	t.Helper()
	h, err := hub.New(settings.Defaults(), hub.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.WithoutCancel(t.Context())) })
	return &Server{
		Hub: h, Group: new(outbound.Group), Poller: new(netpoll.Poller), Log: slog.New(slog.DiscardHandler),
		Attached: hub.NewAttached(h), Refused: new(RefusedOrigins), LiftWriteTimeout: func(*http.Request) {},
		Identify: func(r *http.Request, shown Presented) (c hub.Client, err error) {
			if id := r.Header.Get("From"); id != "" && shown.Ambient {
				c.User = &hub.User{ID: id}
			}
			if shown.Bearer == "bad" {
				return c, BadCredential("no token of ours")
			}
			if shown.Bearer != "" {
				c.User = &hub.User{ID: shown.Bearer}
			}
			return c, nil
		},
	}
}

// newRequest returns a request below /rt/, with headers given as "Name: value", and the
// rest of its path.
func newRequest(t *testing.T, method, target, body string, headers ...string) (r *http.Request, rest string) {
	t.Helper()
	r = httptest.NewRequestWithContext(t.Context(), method, "http://example.com/rt/"+target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r, strings.TrimPrefix(r.URL.Path, "/rt/")
}

// TestServe sends requests of each kind on their whole way, without Caddy.
func TestServe(t *testing.T) {
	s := newServer(t)
	s.Origins = []string{"https://app.example.com", "*"}
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		want                       string // part of the body, or a header of the answer
	}{
		{"POST", "POST", "lobby", "one", []string{"From: ann"}, 201, `"id":`},
		{"commands", "POST", "", `{"op":"publish","room":"lobby","data":"two"}`, []string{"Content-Type: application/x-ndjson"}, 200, `"id":`},
		{"a form", "POST", "lobby", "text=three", []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html", "Referer: http://example.com/chat"}, 303, "Location: /chat"},
		{"page", "GET", "lobby", "", nil, 200, `"data":"three"`},
		{"page of several rooms", "GET", "?room=lobby&room=b", "", nil, 200, `"data":"one"`},
		{"members", "GET", "lobby?members", "", nil, 200, `"members":0`},
		{"HEAD", "HEAD", "lobby", "", []string{"From: ann"}, 200, "Realtime-User: ann"},
		{"HEAD of the hub", "HEAD", "", "", []string{"From: ann"}, 200, "Realtime-User: ann"},
		{"HEAD of an origin that proves nothing", "HEAD", "lobby", "", []string{"From: ann", "Origin: https://evil.example"}, 200, "Realtime-User: "},
		{"OPTIONS", "OPTIONS", "lobby", "", nil, 204, "Allow: " + allowedMethods},
		{"preflight", "OPTIONS", "lobby", "", []string{"Origin: https://app.example.com", "Access-Control-Request-Method: POST"}, 204, "Access-Control-Allow-Credentials: true"},
	} {
		r, rest := newRequest(t, test.method, test.target, test.body, test.headers...)
		w := httptest.NewRecorder()
		if err := s.Serve(w, r, rest); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		name, value, isHeader := strings.Cut(test.want, ": ")
		if w.Code != test.status || isHeader && w.Header().Get(name) != value || !isHeader && !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: %d %v %s, want %d and %s", test.name, w.Code, w.Header(), w.Body, test.status, test.want)
		}
	}
}

// TestServeRefuses checks that a refused request leaves the answer to the caller.
func TestServeRefuses(t *testing.T) {
	s := newServer(t)
	for _, test := range []struct {
		name, method, target string
		headers              []string
		status               int
		header               string
	}{
		{"origin", "GET", "lobby", []string{"Origin: https://evil.example"}, 403, "Access-Control-Allow-Origin: https://evil.example"},
		{"method", "PUT", "lobby", nil, 405, "Allow: " + allowedMethods},
		{"no room", "GET", "", nil, 400, ""},
		{"nothing below -", "GET", "-", nil, 404, ""},
		{"another user", "GET", "lobby?user=bob", []string{"From: ann"}, 412, ""},
		{"another site", "POST", "lobby", []string{"Sec-Fetch-Site: cross-site"}, 403, ""},
		{"several rooms to publish to", "POST", "?room=a&room=b", nil, 400, ""},
		{"several rooms on a bare WebSocket", "GET", "?room=a&room=b", []string{"Upgrade: websocket"}, 400, ""},
		{"no handshake", "GET", "lobby", []string{"Upgrade: websocket"}, 426, "Connection: Upgrade"},
	} {
		r, rest := newRequest(t, test.method, test.target, "", test.headers...)
		w := httptest.NewRecorder()
		err := s.Serve(w, r, rest)
		if err == nil {
			t.Errorf("%s: it was served: %d %s", test.name, w.Code, w.Body)
			continue
		}
		p := s.Refuse(w, r, err)
		name, value, _ := strings.Cut(test.header, ": ")
		if p == nil || p.Status != test.status || w.Header().Get(name) != value {
			t.Errorf("%s: %+v %v, want %d and %s", test.name, p, w.Header(), test.status, test.header)
		}
		if w.Body.Len() > 0 {
			t.Errorf("%s: written is %s", test.name, w.Body)
		}
	}
}

// TestRefuseForAWhile: an EventSource comes back after a 200 only.
func TestRefuseForAWhile(t *testing.T) {
	s := newServer(t)
	full := &protocol.Problem{Status: http.StatusServiceUnavailable, Title: "full", RetryAfter: 1500 * time.Millisecond}
	for accept, written := range map[string]bool{"application/json": false, "text/event-stream": true} {
		r, _ := newRequest(t, "GET", "lobby", "", "Accept: "+accept)
		w := httptest.NewRecorder()
		p := s.Refuse(w, r, full)
		if (p == nil) != written || w.Header().Get("Retry-After") != "2" || strings.Contains(w.Body.String(), "retry:") != written {
			t.Errorf("%s: %+v %v %s", accept, p, w.Header(), w.Body)
		}
	}
}

// TestServeUI: browsers get the page, if there is one, and other clients do not.
func TestServeUI(t *testing.T) {
	const browser = "Accept: text/html,*/*;q=0.8"
	s := newServer(t)
	for _, on := range []bool{false, true} {
		s.UI, s.Prefix = on, "/rt/"
		for accept, shown := range map[string]bool{browser: true, "Accept: */*": false, "Accept: application/json": false} {
			r, rest := newRequest(t, "GET", "a/b", "", accept)
			w := httptest.NewRecorder()
			if err := s.Serve(w, r, rest); err != nil || strings.Contains(w.Body.String(), `room="a/b"`) != (shown && on) {
				t.Errorf("%s, on %t: %v %s", accept, on, err, w.Body)
			}
		}
	}
}
