package realtime_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The whole module at work: one site, and every transport. The tests of one topic with a
// whole Caddy are below test.

// TestMain makes the test's binary the program caddy, where the documents' commands call it.
func TestMain(m *testing.M) {
	if os.Getenv("REALTIME_TEST_IS_CADDY") != "" {
		caddycmd.Main()
		return
	}
	caddytest.Run(m)
}

func TestEveryTransportSeesWhatEveryOtherPublishes(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	raw := s.Dial("lobby")
	wrapped := s.Dial("lobby?envelope=1")
	if e := caddytest.ReceiveEnvelope(t, wrapped); e.Op != "ready" || e.Cursor == "" || e.Conn == "" {
		t.Fatalf("first frame is %+v, want ready with cursor and conn", e)
	}
	events := s.Stream("lobby", "text/event-stream")
	events.Until("id: ")
	ndjson := s.Stream("lobby", "application/x-ndjson")
	if first := ndjson.Next(); !strings.HasPrefix(first, `{"op":"ready","conn":"`) {
		t.Fatalf("first line is %q, want ready", first)
	}
	cursor := s.Page("lobby").Cursor

	publish := map[string]func(text string){
		"POST": func(text string) { s.Post("lobby", text) },
		"raw WebSocket": func(text string) {
			if err := raw.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		},
		"WebSocket": func(text string) {
			if err := wrapped.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, send := range publish {
		text := "by " + name
		send(text)
		if got := caddytest.Receive(t, raw); got != text {
			t.Errorf("raw WebSocket got %q, want %q", got, text)
		}
		if e := caddytest.ReceiveEnvelope(t, wrapped); e.Text() != text || e.ID == "" || e.Room != "lobby" || e.At == "" {
			t.Errorf("WebSocket got %+v, want %q", e, text)
		}
		if got := events.Until("data: "); got != text {
			t.Errorf("SSE got %q, want %q", got, text)
		}
		var e caddytest.Envelope
		caddytest.Decode(t, ndjson.Next(), &e)
		if e.Text() != text {
			t.Errorf("NDJSON got %+v, want %q", e, text)
		}
		p := s.Page("lobby?wait=10&since=" + cursor)
		if got := p.Texts(); !slices.Equal(got, []string{text}) {
			t.Errorf("long-poll got %q, want %q", got, text)
		}
		cursor = p.Cursor
	}
}

func TestCursorOfOneTransportResumesOnEveryOther(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Post("lobby", "before")
	cursor := s.Page("lobby").Cursor
	want := []string{"one", "two", "three"}
	for _, text := range want {
		s.Post("lobby", text)
	}
	for _, test := range []struct {
		name string
		read func() []string
	}{
		{"page", func() []string { return s.Page("lobby?since=" + cursor).Texts() }},
		{"long-poll", func() []string { return s.Page("lobby?wait=5&since=" + cursor).Texts() }},
		{"page, If-None-Match", func() []string { return s.Page("lobby", `If-None-Match: W/"x", "`+cursor+`"`).Texts() }},
		{"WebSocket", func() []string {
			c := s.Dial("lobby?since=" + cursor)
			return []string{caddytest.Receive(t, c), caddytest.Receive(t, c), caddytest.Receive(t, c)}
		}},
		{"SSE, header before query", func() []string {
			l := s.Stream("lobby?since=bad.1", "text/event-stream", "Last-Event-ID: "+cursor)
			return []string{l.Until("data: "), l.Until("data: "), l.Until("data: ")}
		}},
		{"NDJSON", func() []string {
			l := s.Stream("lobby?since="+cursor, "application/x-ndjson")
			l.Next()
			var got []string
			for range want {
				var e caddytest.Envelope
				caddytest.Decode(t, l.Next(), &e)
				got = append(got, e.Text())
			}
			return got
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.read(); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
