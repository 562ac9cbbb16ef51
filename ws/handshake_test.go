package ws_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws"
)

// RFC 6455, section 4.2.1.
func TestCheckHandshake(t *testing.T) {
	const key = "Sec-WebSocket-Key"
	tests := []struct {
		name   string
		change func(*http.Request)
		status int // 0: passes
	}{
		{"sample", func(*http.Request) {}, 0},
		{"lower case", func(r *http.Request) { r.Header.Set("Connection", "upgrade"); r.Header.Set("Upgrade", "WebSocket") }, 0},
		{"tokens in several headers", func(r *http.Request) { r.Header["Connection"] = []string{"keep-alive", "Upgrade"} }, 0},
		{"space around the key", func(r *http.Request) { r.Header.Set(key, " "+r.Header.Get(key)+" ") }, 0},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, 400},
		{"HEAD", func(r *http.Request) { r.Method = http.MethodHead }, 400},
		{"HTTP/1.0", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0 }, 400},
		{"HTTP/2", func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, 501},
		{"HTTP/3, and nothing to upgrade", func(r *http.Request) {
			r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0
			r.Header.Del("Connection")
			r.Header.Del("Upgrade")
		}, 501},
		{"no Connection", func(r *http.Request) { r.Header.Del("Connection") }, 426},
		{"another Connection", func(r *http.Request) { r.Header.Set("Connection", "keep-alive, Upgraded") }, 426},
		{"no Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 426},
		{"another Upgrade", func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, 426},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 426},
		{"version 8", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426},
		{"two versions", func(r *http.Request) { r.Header.Add("Sec-WebSocket-Version", "13") }, 426},
		{"no key", func(r *http.Request) { r.Header.Del(key) }, 400},
		{"short key", func(r *http.Request) { r.Header.Set(key, "c2hvcnQ=") }, 400},
		{"long key", func(r *http.Request) { r.Header.Set(key, "dGhlIHNhbXBsZSBub25jZSE=") }, 400},
		{"key that is not base64", func(r *http.Request) { r.Header.Set(key, "the sample nonce") }, 400},
		{"two keys", func(r *http.Request) { r.Header.Add(key, r.Header.Get(key)) }, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, h := handshake(), make(http.Header)
			test.change(r)
			err := ws.CheckHandshake(r, h)
			if test.status == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var p *protocol.Problem
			if !errors.As(err, &p) || p.Status != test.status || p.Detail == "" {
				t.Fatalf("%v, want a problem of status %d", err, test.status)
			}
			// A 426 says what to upgrade to (RFC 9110, section 15.5.22); others have no business to.
			upgrade := h.Get("Upgrade") == "websocket" && h.Get("Connection") == "Upgrade"
			if upgrade != (p.Status == 426) || len(h) > 0 && !upgrade {
				t.Errorf("headers %v", h)
			}
			// RFC 6455, section 4.4.
			if strings.Contains(test.name, "version") && h.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestSubprotocol(t *testing.T) {
	for _, chosen := range []string{"", "chat"} {
		t.Run(chosen, func(t *testing.T) {
			s := listen(t, configured(), func(o *ws.Options) { o.Subprotocol = chosen })
			r := handshake()
			r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", s.addr
			r.Header.Set("Sec-WebSocket-Protocol", "superchat, chat")
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if got := answer.Header.Get("Sec-WebSocket-Protocol"); answer.StatusCode != 101 || got != chosen {
				t.Errorf("%s, subprotocol %q, want %q", answer.Status, got, chosen)
			}
			s.ended(t, hub.CauseGone)
		})
	}
}

// A refusal is an HTTP answer, and leaves nothing behind.
func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		set    *settings.Settings
		change func(*server)
		status int
	}{
		{"full", configured(func(s *settings.Settings) { s.MaxConnections = 1 }), func(s *server) { connect(t, s.hub) }, 503},
		{"rooms", configured(func(s *settings.Settings) { s.MaxRooms = 1 }), func(s *server) {
			if _, err := connect(t, s.hub).Subscribe(t.Context(), "other", hub.Start{}); err != nil {
				t.Fatal(err)
			}
		}, 503},
		{"closed", configured(), func(s *server) { s.hub.Close(t.Context()) }, 503},
		{"room name", configured(), func(s *server) { s.options.Rooms[0].Room = "a//b" }, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, test.set)
			test.change(s)
			before := s.hub.Stats().Sessions
			w := httptest.NewRecorder()
			s.ServeHTTP(w, handshake())
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			if after := s.hub.Stats().Sessions; after != before {
				t.Errorf("%d sessions, before %d", after, before)
			}
		})
	}
	t.Run("no hijacker", func(t *testing.T) {
		s := newServer(t, configured())
		w := httptest.NewRecorder()
		s.ServeHTTP(w, handshake())
		if n := s.hub.Stats().Sessions; n != 0 || s.group.Len() != 0 {
			t.Errorf("%d sessions, %d connections", n, s.group.Len())
		}
	})
}

func connect(t *testing.T, h *hub.Hub) *hub.Session {
	t.Helper()
	s, err := h.Connect(hub.Client{}, make(hub.WakeChan, 1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
