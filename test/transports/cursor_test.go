package transports

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A client may come back with any cursor that it was given, on any transport.
func TestCursorsThatAreIssuedAreAccepted(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for name, test := range map[string]struct {
		rooms int
		name  string
	}{
		"one":                 {1, "r"},
		"32 of 100 bytes":     {32, strings.Repeat("x", 98)},
		"100 rooms":           {100, "room"},
		"100 of 90 bytes":     {100, strings.Repeat("x", 88)},
		"encoded":             {100, strings.Repeat("é", 12)},
		"long and encoded":    {20, strings.Repeat("日", 64)},
		"characters of lists": {100, strings.Repeat(",=%", 6)},
	} {
		t.Run(name, func(t *testing.T) {
			query := make(url.Values)
			for i := range test.rooms {
				query.Add("room", fmt.Sprintf("%s%02d", test.name, i))
			}
			cursors := cursorsOf(t, s, "?"+query.Encode())
			last := query["room"][test.rooms-1]
			for from, cursor := range cursors {
				s.Post("?room="+url.QueryEscape(last), "after "+from)
				for to, read := range map[string]func() string{
					"SSE, header":  func() string { return streamed(t, s, from, query, "text/event-stream", "Last-Event-ID: "+cursor) },
					"SSE, query":   func() string { return streamed(t, s, from, with(query, "lastEventId", cursor), "text/event-stream") },
					"NDJSON":       func() string { return streamed(t, s, from, with(query, "since", cursor), "application/x-ndjson") },
					"page":         func() string { return read(t, s, with(query, "since", cursor)) },
					"conditional":  func() string { return read(t, s, query, `If-None-Match: "`+cursor+`"`) },
					"long polling": func() string { return read(t, s, with(query, "since", cursor), "Prefer: wait=5") },
				} {
					if got := read(); !strings.Contains(got, "after "+from) || strings.Contains(got, `"gap`) {
						t.Errorf("from %s to %s: %.200s", from, to, got)
					}
				}
			}
		})
	}
}

// cursorsOf returns the cursors that the transports give for the rooms.
func cursorsOf(t *testing.T, s *caddytest.Site, rooms string) map[string]string {
	t.Helper()
	cursors := make(map[string]string)
	cursors["page"] = s.Page(rooms).Cursor
	cursors["ETag"] = strings.Trim(s.Do("HEAD", "/rt/"+rooms, "").Header.Get("ETag"), `"`)
	events := s.Stream(rooms, "text/event-stream")
	cursors["SSE"] = events.Until("id: ")
	events.Close()
	lines := s.Stream(rooms, "application/x-ndjson")
	var ready caddytest.Envelope
	caddytest.Decode(t, lines.Next(), &ready)
	lines.Close()
	cursors["NDJSON"] = ready.Cursor
	return cursors
}

func with(query url.Values, name, value string) url.Values {
	more := url.Values{name: {value}}
	maps.Copy(more, query)
	return more
}

// streamed returns what a stream of the rooms begins with, up to the message that
// was published after the cursor was taken.
func streamed(t *testing.T, s *caddytest.Site, from string, query url.Values, accept string, headers ...string) string {
	t.Helper()
	l := s.Stream("?"+query.Encode(), accept, headers...)
	defer l.Close()
	var all strings.Builder
	for {
		line := l.Next()
		all.WriteString(line + "\n")
		if strings.Contains(line, `after `+from) || strings.Contains(line, `"gap"`) {
			return all.String()
		}
	}
}

func read(t *testing.T, s *caddytest.Site, query url.Values, headers ...string) string {
	t.Helper()
	resp := s.Do("GET", "/rt/?"+query.Encode(), "", headers...)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s", resp.Status)
	}
	return caddytest.ReadAll(t, resp)
}

// Rooms whose cursor could not be taken back are refused before one is given.
func TestRoomsWithoutACursorAreRefused(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	query := make(url.Values)
	for i := range 28 {
		query.Add("room", fmt.Sprintf("%s%03d", strings.Repeat("é", 98), i))
	}
	for _, accept := range []string{"text/event-stream", "application/x-ndjson", "application/json"} {
		caddytest.Refused(t, s.Do("GET", "/rt/?"+query.Encode(), "", "Accept: "+accept), 400, "too long together")
	}
	c := s.Dial("?"+query.Encode(), caddytest.Session)
	caddytest.Hear(t, c, `"op":"ok"`)
}

// An EventSource cannot recover from an error, nor can a page that only knows
// that its WebSocket did not open.
func TestACursorThatCannotBeReadIsAGap(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Post("lobby", "one")
	for _, cursor := range []string{"42", "x", "a=b", "e.-1", strings.Repeat("9", 20_000), "%FF", "undefined", "null"} {
		for _, name := range []string{"since", "lastEventId"} {
			target := "lobby?envelope=1&" + name + "=" + cursor
			if l := s.Stream(target, "text/event-stream"); l.Until("event: ") != "ready" || l.Until("event: ") != "gap" {
				t.Errorf("SSE with %s=%.20s: no gap", name, cursor)
			}
			if l := s.Stream(target, "application/x-ndjson"); !strings.Contains(l.Next()+l.Next(), `"op":"gap"`) {
				t.Errorf("NDJSON with %s=%.20s: no gap", name, cursor)
			}
			if p := s.Page(target + "&wait=5"); p.Gap == nil || len(p.Texts()) != 1 {
				t.Errorf("long poll with %s=%.20s: %+v", name, cursor, p)
			}
			c := s.Dial(target)
			caddytest.Hear(t, c, `"op":"gap"`)
			caddytest.Refused(t, s.Do("GET", "/rt/"+target, ""), 400, name)
		}
	}
}
