package transports

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestGapIsAnnouncedOnEveryTransport(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room * {\nhistory 2\n}\n}")
	const foreign = "otherepoch.7"
	for _, text := range []string{"one", "two", "three"} {
		s.Post("lobby", text)
	}
	p := s.Page("lobby?since=" + foreign)
	if p.Gap == nil || p.Gap.Reason != "epoch" || p.Gap.To == "" || !slices.Equal(p.Texts(), []string{"two", "three"}) {
		t.Errorf("page: %+v, want a gap of reason epoch, then two, three", p)
	}
	if p = s.Page("lobby?wait=5&since=" + foreign); p.Gap == nil || len(p.Messages) != 2 {
		t.Errorf("long-poll: %+v, want a gap, then two, three", p)
	}
	l := s.Stream("lobby", "text/event-stream", "Last-Event-ID: no cursor at all")
	if line := l.Next(); !strings.HasPrefix(line, "retry: ") {
		t.Errorf("SSE begins with %q, want retry", line)
	}
	if id := l.Until("id: "); id != p.Gap.To {
		t.Errorf("the gap's id is %q, want %q", id, p.Gap.To)
	}
	if event := l.Next(); event != "event: gap" {
		t.Errorf("SSE has %q after the id, want event: gap", event)
	}
	if l.Until("data: {"); l.Until("data: ") != "two" {
		t.Error("SSE does not go on with the oldest message kept")
	}
	ndjson := s.Stream("lobby", "application/x-ndjson", "Last-Event-ID: no cursor at all")
	if first := ndjson.Next(); strings.Contains(first, "cursor") {
		t.Errorf("NDJSON begins with %q: whoever drops here would miss the gap", first)
	}
	if second := ndjson.Next(); !strings.HasPrefix(second, `{"op":"gap"`) {
		t.Errorf("NDJSON goes on with %q, want gap", second)
	}
	w := s.Dial("lobby?envelope=1&since=" + foreign)
	if e := caddytest.ReceiveEnvelope(t, w); e.Op != "ready" || e.Cursor != foreign {
		t.Errorf("WebSocket begins with %+v, want ready with the client's own cursor", e)
	}
	if e := caddytest.ReceiveEnvelope(t, w); e.Op != "gap" || e.Reason != "epoch" {
		t.Errorf("WebSocket goes on with %+v, want gap", e)
	}
	_, _, err := s.Dial("lobby?since=" + foreign).Read(t.Context())
	if code := websocket.CloseStatus(err); code != 4410 {
		t.Errorf("raw WebSocket closed with %v (%v), want 4410", code, err)
	}
}

func TestPlainAndConditionalPolling(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Post("lobby", "hi")
	resp := s.Do("GET", "/rt/lobby", "")
	tag := resp.Header.Get("ETag")
	for header, want := range map[string]string{
		"Cache-Control": "private, no-store, no-transform", "X-Content-Type-Options": "nosniff",
		"Vary": "Accept, Authorization, Cookie, Origin, Prefer, Sec-WebSocket-Protocol", "Content-Type": "application/json",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	if resp := s.Do("GET", "/rt/lobby", "", "If-None-Match: "+tag); resp.StatusCode != http.StatusNotModified || resp.Header.Get("ETag") == "" {
		t.Errorf("with the same tag: %s, ETag %q, want 304 with one", resp.Status, resp.Header.Get("ETag"))
	}
	if resp := s.Do("GET", "/rt/lobby?wait=1", "", "If-None-Match: "+tag); resp.StatusCode != http.StatusNotModified {
		t.Errorf("waiting with the same tag: %s, want 304", resp.Status)
	}
	s.Post("lobby", "ho")
	if got := s.Page("lobby", "If-None-Match: "+tag).Texts(); !slices.Equal(got, []string{"ho"}) {
		t.Errorf("after a message: %q, want ho", got)
	}
	resp = s.Do("HEAD", "/rt/lobby", "")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Realtime-Members") != "0" || resp.Header.Get("ETag") == tag {
		t.Errorf("HEAD: %s, members %q, ETag %q", resp.Status, resp.Header.Get("Realtime-Members"), resp.Header.Get("ETag"))
	}
	s.Dial("lobby")
	if resp = s.Do("HEAD", "/rt/lobby", ""); resp.Header.Get("Realtime-Members") != "1" {
		t.Errorf("members are %q with one WebSocket, want 1", resp.Header.Get("Realtime-Members"))
	}
}

func TestPagingBackwards(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for text := range strings.FieldsSeq("a b c d e") {
		s.Post("lobby", text)
	}
	newest := s.Page("lobby?limit=2")
	if !slices.Equal(newest.Texts(), []string{"d", "e"}) || !newest.More {
		t.Fatalf("newest: %q, more %v, want d e and more", newest.Texts(), newest.More)
	}
	older := s.Page("lobby?limit=2&before=" + newest.Messages[0].ID)
	if !slices.Equal(older.Texts(), []string{"b", "c"}) || !older.More || older.Cursor != "" {
		t.Errorf("older: %q, more %v, cursor %q, want b c, more, no cursor", older.Texts(), older.More, older.Cursor)
	}
	oldest := s.Page("lobby?limit=2&before=" + older.Messages[0].ID)
	if !slices.Equal(oldest.Texts(), []string{"a"}) || oldest.More {
		t.Errorf("oldest: %q, more %v, want a and no more", oldest.Texts(), oldest.More)
	}
	if got := s.Page("lobby?limit=1&since=" + oldest.Messages[0].ID); !slices.Equal(got.Texts(), []string{"b"}) || !got.More {
		t.Errorf("since a: %q, more %v, want b and more", got.Texts(), got.More)
	}
	if got := s.Page("lobby?last=3").Texts(); !slices.Equal(got, []string{"c", "d", "e"}) {
		t.Errorf("last=3: %q", got)
	}
	if got := s.Page("lobby?last=10m").Texts(); len(got) != 5 {
		t.Errorf("last=10m: %q", got)
	}
}

func TestWhatAMessageIsMadeOf(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for _, test := range []struct {
		name, contentType, body string
		want                    string // data in the envelope
		sse                     []string
	}{
		{"JSON is made compact", "application/json", "{ \"a\" : [1, 2] }\n", `{"a":[1,2]}`, []string{`{"a":[1,2]}`}},
		{"text keeps its lines", "text/plain", "a\r\nb\rc", `"a\nb\nc"`, []string{"a", "b", "c"}},
		{"curl -d is text", "application/x-www-form-urlencoded", "hi=1&x", `"hi=1&x"`, []string{"hi=1&x"}},
		{"bytes are base64", "image/png", "\x89PNG", `{"base64":"iVBORw==","type":"image/png"}`, []string{`{"base64":"iVBORw==","type":"image/png"}`}},
		{"no type, no text", "", "\xff", `{"base64":"/w==","type":"application/octet-stream"}`, nil},
		{"nothing", "text/plain", "", `""`, []string{""}},
		{"markup stays", "text/plain", "<b>&\u2028", `"<b>&\u2028"`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := s.Stream("lobby", "text/event-stream")
			l.Until("id: ")
			s.Post("lobby", test.body, "Content-Type: "+test.contentType)
			p := s.Page("lobby?last=1")
			if got := string(p.Messages[0].Data); got != test.want {
				t.Errorf("data is %s, want %s", got, test.want)
			}
			for _, want := range test.sse {
				if got := l.Until("data: "); got != want {
					t.Errorf("SSE has %q, want %q", got, want)
				}
			}
		})
	}
}
