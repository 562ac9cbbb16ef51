package reload

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The site knows Ann by the password "secret", and strangers as such.
const (
	knowing = "@signs header Authorization *\nbasic_auth @signs {\nann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS\n}\n"
	ann     = "Authorization: Basic YW5uOnNlY3JldA=="
)

// next returns the next frame that is a message, or that tells of rights.
func next(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	for {
		frame := caddytest.Receive(t, c)
		for _, part := range []string{`"data"`, `"op":"left"`, `"op":"can"`} {
			if strings.Contains(frame, part) {
				return frame
			}
		}
	}
}

// ending returns what a session gets until it ends with the code of a restart.
func ending(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var all strings.Builder
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				t.Errorf("the session ends by %v", err)
			}
			return all.String()
		}
		all.Write(b)
	}
}

// A reload that takes subscribe away ends the subscriptions of whom it concerns, on every
// transport, and nobody else's.
func TestReloadTakesRightsAway(t *testing.T) {
	s := caddytest.Start(t, knowing+"realtime {\n"+caddytest.Open+"}")
	s.Within = 5 * time.Second // also for the streams
	session := s.Dial("", caddytest.Session)
	caddytest.Speak(t, session, `{"op":"join","room":"closing"}`, `{"op":"join","room":"open"}`)
	caddytest.Hear(t, session, `"op":"ok"`, `"room":"open"`)
	raw := s.Dial("closing")
	events := s.Stream("closing", "text/event-stream")
	events.Until("id: ")
	lines := s.Stream("closing", "application/x-ndjson")
	lines.Next()
	known := s.Dial("closing", caddytest.Session, ann)
	caddytest.Hear(t, known, `"op":"ready"`)
	other := s.Stream("open", "application/x-ndjson")
	other.Next()

	s.Reload(knowing + "realtime {\n" + caddytest.Open + "room closing {\nallow subscribe users\n}\n}")
	s.Post("closing", "secret", ann)
	s.Post("open", "public")

	caddytest.Hear(t, known, "secret")
	if got := other.Next(); !strings.Contains(got, "public") {
		t.Errorf("the stream of the open room gets %s", got)
	}
	if left := next(t, session); !strings.Contains(left, `"op":"left","room":"closing"`) || !strings.Contains(left, `"status":403`) {
		t.Errorf("the session is told %s", left)
	} else if got := next(t, session); !strings.Contains(got, "public") {
		t.Errorf("the session gets %s after it has left", got)
	}
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, b, err := raw.Read(soon); websocket.CloseStatus(err) != 4403 {
		t.Errorf("the raw WebSocket gets %q, %v", b, err)
	}
	for name, rest := range map[string][]string{"SSE": events.Rest(), "NDJSON": lines.Rest()} {
		if got := strings.Join(rest, "\n"); strings.Contains(got, "secret") || !strings.Contains(got, "bye") || !strings.Contains(got, "403") {
			t.Errorf("%s ends with %q", name, got)
		}
	}
}

// Rights that a reload leaves alone stay, those of a refused one never come into force, and
// those that it gives are there.
func TestReloadKeepsAndGivesRights(t *testing.T) {
	const closed = "room closed {\nallow subscribe users\n}\n"
	s := caddytest.Start(t, knowing+"realtime {\n"+caddytest.Open+closed+"}")
	known := s.Dial("closed", caddytest.Session, ann)
	caddytest.Hear(t, known, `"op":"ready"`)
	hear := func(text string) {
		t.Helper()
		s.Post("closed", text, ann)
		if got := next(t, known); !strings.Contains(got, text) {
			t.Errorf("got %s, want %s", got, text)
		}
	}
	s.Reload(knowing + "realtime {\n" + caddytest.Open + "max_rooms 50\n" + closed + "}")
	hear("after another option has changed")
	caddytest.Refused(t, s.Do("GET", "/rt/closed", ""), 401, "")

	config, _, err := caddytest.Adapt(s.Caddyfile(knowing + "realtime {\n" + caddytest.Open + "room closed {\nallow subscribe nobody\n}\n}\n}\nhttp://192.0.2.1:1 {\nbind 192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err == nil {
		t.Fatal("the bad configuration was loaded")
	}
	hear("after a refused configuration")

	s.Reload(knowing + "realtime {\n" + caddytest.Open + "}")
	hear("after all rules are gone")
	if resp := s.Do("GET", "/rt/closed", ""); resp.StatusCode != 200 {
		t.Errorf("a stranger gets %s without rules", resp.Status)
	}
}

// What a matcher told at connect holds until a reload changes what the matcher means.
func TestReloadKeepsFacts(t *testing.T) {
	site := func(matcher, option string) string {
		return "@staff " + matcher + "\nrealtime {\n" + caddytest.Open + option + "room staff {\nallow all @staff\n}\n}"
	}
	const staff = "X-Staff: yes"
	for name, test := range map[string]struct {
		before, after string
		keeps         bool
	}{
		"the same":              {"header X-Staff yes", "header X-Staff yes", true},
		"another value":         {"header X-Staff yes", "header X-Staff *", false},
		"an address":            {"client_ip 127.0.0.1", "client_ip 127.0.0.1", false},
		"an address of a peer":  {"remote_ip 127.0.0.1", "remote_ip 127.0.0.1", true},
		"an expression":         {"expression `{header.X-Staff} == \"yes\"`", "expression `{header.X-Staff} == \"yes\"`", false},
		"with a placeholder":    {"header X-Staff {env.REALTIME_TEST}*", "header X-Staff {env.REALTIME_TEST}*", false},
		"not a foreign address": {"not client_ip 192.0.2.1", "not client_ip 192.0.2.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := caddytest.Start(t, site(test.before, ""))
			c := s.Dial("?room=staff&room=other", caddytest.Session, staff)
			caddytest.Hear(t, c, `"op":"ready"`)
			s.Reload(site(test.after, "max_rooms 50\n"))
			s.Post("staff", "for staff", staff)
			s.Post("other", "for all")
			if test.keeps {
				if got := next(t, c); !strings.Contains(got, "for staff") {
					t.Errorf("after the reload the session gets %s", got)
				}
			} else if got := ending(t, c); !strings.Contains(got, `"op":"bye","status":503,"retry_ms":`) || strings.Contains(got, "for staff") {
				t.Errorf("the session ends with %s", got)
			}
			// Whoever comes now is asked anew.
			if resp := s.Do("GET", "/rt/staff", "", staff); resp.StatusCode != 200 {
				t.Errorf("staff gets %s", resp.Status)
			}
		})
	}
}
