package sse_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
)

var (
	at  = time.Date(2026, 11, 21, 7, 0, 0, 123_000_000, time.UTC)
	pos = hub.Position{Epoch: "k3f9", Offset: 1042}
	to  = hub.Position{Epoch: "k3f9", Offset: 2000}
)

// item returns a text message, changed by change.
func item(data string, change ...func(*hub.Message)) hub.Item {
	m := &hub.Message{Room: "lobby", Position: pos, Kind: message.Text, Data: []byte(data), Time: at}
	for _, f := range change {
		f(m)
	}
	return hub.Item{Message: m}
}

func TestAppend(t *testing.T) {
	signal := func(m *hub.Message) { m.Signal, m.Position, m.Event = true, hub.Position{}, "typing" }
	const envelope = `{"id":"k3f9.1042","room":"lobby","data":"a\nb","at":"2026-11-21T07:00:00.123Z"}`
	const gap = `{"op":"gap","room":"lobby","from":"k3f9.1042","to":"k3f9.2000","reason":"expired"}`
	who := &hub.Presence{Room: "lobby", Members: 2, Snapshot: true, Here: []hub.Member{{ID: "u1", Name: "Ann", State: []byte(`{}`)}}}
	const there = `{"op":"presence","room":"lobby","members":2,"here":[{"id":"u1","name":"Ann","state":{}}]}`
	some := sse.PresenceOptions{Presence: hub.PresenceSome}
	raw, whole, ndjson := sse.Events{}, sse.Events{Envelope: true}, sse.Lines{}
	tests := []struct {
		name   string
		format sse.Format
		item   hub.Item
		want   string
	}{
		{"text", raw, item("hi"), "id: k3f9.1042\ndata: hi\n\n"},
		{"nothing", raw, item(""), "id: k3f9.1042\ndata: \n\n"},
		{"lines", raw, item("a\n\nb"), "id: k3f9.1042\ndata: a\ndata: \ndata: b\n\n"},
		{"line ends at the end", raw, item("a\n\n"), "id: k3f9.1042\ndata: a\ndata: \ndata: \n\n"},
		{"what looks like a field", raw, item(" data: x\n:y"), "id: k3f9.1042\ndata:  data: x\ndata: :y\n\n"},
		{"event", raw, item("x", func(m *hub.Message) { m.Event = "order" }), "id: k3f9.1042\nevent: order\ndata: x\n\n"},
		{"event message", raw, item("x", func(m *hub.Message) { m.Event = "message" }), "id: k3f9.1042\ndata: x\n\n"},
		{"JSON", raw, item(`{"a":1}`, func(m *hub.Message) { m.Kind = message.JSON }), "id: k3f9.1042\ndata: {\"a\":1}\n\n"},
		{
			"bytes", raw, item("\xff\n", func(m *hub.Message) { m.Kind, m.Type = message.Binary, "image/png" }),
			"id: k3f9.1042\ndata: {\"base64\":\"/wo=\",\"type\":\"image/png\"}\n\n",
		},
		{"signal", raw, item("x", signal), "event: typing\ndata: x\n\n"},
		{"gap", raw, hub.Item{Gap: &hub.Gap{Room: "lobby", From: pos, To: to, Reason: message.GapExpired}}, "id: k3f9.2000\nevent: gap\ndata: " + gap + "\n\n"},
		{"presence", raw, hub.Item{Presence: who}, ""},
		{"presence told", sse.Events{PresenceOptions: some}, hub.Item{Presence: who}, "event: presence\ndata: " + there + "\n\n"},
		{"line of presence", sse.Lines{PresenceOptions: some}, hub.Item{Presence: who}, there + "\n"},
		{"presence only", sse.Events{PresenceOptions: sse.PresenceOptions{Presence: hub.PresenceSome, Only: true}}, item("hi"), ""},
		{"presence only, in lines", sse.Lines{PresenceOptions: sse.PresenceOptions{Only: true}}, item("hi"), ""},
		{"notice", raw, hub.Item{Notice: []byte("x")}, ""},
		{"envelope", whole, item("a\nb"), "id: k3f9.1042\ndata: " + envelope + "\n\n"},
		{
			"envelope of an event", whole, item("x", func(m *hub.Message) { m.Event = "order" }),
			"id: k3f9.1042\nevent: order\ndata: " + `{"id":"k3f9.1042","room":"lobby","event":"order","data":"x","at":"2026-11-21T07:00:00.123Z"}` + "\n\n",
		},
		{
			"envelope of a signal", whole, item("x", signal),
			"event: signal\ndata: " + `{"op":"signal","room":"lobby","event":"typing","data":"x","at":"2026-11-21T07:00:00.123Z"}` + "\n\n",
		},
		{"line", ndjson, item("a\nb"), envelope + "\n"},
		{"line of a gap", ndjson, hub.Item{Gap: &hub.Gap{Room: "lobby", From: pos, To: to, Reason: message.GapExpired}}, gap + "\n"},
		{"line of a notice", ndjson, hub.Item{Notice: []byte("x")}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second time it is remembered
				if got := string(test.format.Append([]byte("x"), test.item)); got != "x"+test.want {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
			}
		})
	}
}

func TestHeartbeatAndType(t *testing.T) {
	raw, ndjson := sse.Events{}, sse.Lines{}
	if a, b := string(raw.Heartbeat(nil)), string(ndjson.Heartbeat(nil)); a != ":\n\n" || b != "\n" {
		t.Errorf("heartbeats %q and %q", a, b)
	}
	if a, b := raw.ContentType(), ndjson.ContentType(); a != "text/event-stream" || b != "application/x-ndjson" {
		t.Errorf("types %q and %q", a, b)
	}
}

// The beginning and the end of a stream. R stands for a time to reconnect after.
func TestBeginAndEnd(t *testing.T) {
	opening := protocol.Opening{Conn: "c9", Cursor: pos.String(), Heartbeat: 25 * time.Second, MaxMessage: 9}
	joined := &sse.Opening{Opening: opening, ID: pos.String()}
	lost := &sse.Opening{Opening: opening}
	answered := &sse.Opening{Opening: opening, ID: pos.String(), Answers: [][]byte{[]byte("{1}"), []byte("{2}")}}
	const ready = `{"op":"ready","conn":"c9","cursor":"k3f9.1042","heartbeat":25,"limits":{"message":9,"rooms":100}}`
	tests := []struct {
		name string
		got  func() []byte
		want string
	}{
		{"begin", func() []byte { return sse.Events{}.Begin(nil, joined) }, "retry: R\nid: k3f9.1042\n\n"},
		{"begin before a gap", func() []byte { return sse.Events{}.Begin(nil, lost) }, "retry: R\n\n"},
		{
			"ready", func() []byte { return sse.Events{Envelope: true}.Begin(nil, joined) },
			"retry: R\nid: k3f9.1042\nevent: ready\ndata: " + ready + "\n\n",
		},
		{
			"ready before a gap", func() []byte { return sse.Events{Envelope: true}.Begin(nil, lost) },
			"retry: R\nevent: ready\ndata: " + ready + "\n\n",
		},
		{"line", func() []byte { return sse.Lines{}.Begin(nil, joined) }, ready + "\n"},
		{"answers", func() []byte { return sse.Lines{}.Begin(nil, answered) }, ready + "\n{1}\n{2}\n"},
		{
			"answers in events", func() []byte { return sse.Events{Envelope: true}.Begin(nil, answered) },
			"retry: R\nid: k3f9.1042\nevent: ready\ndata: " + ready + "\n\nevent: ok\ndata: {1}\n\nevent: ok\ndata: {2}\n\n",
		},
		{"end", func() []byte { return sse.Events{}.End(nil, hub.CauseDraining) }, "retry: R\n\n"},
		{"end of lines", func() []byte { return sse.Lines{}.End(nil, hub.CauseDraining) }, `{"op":"bye","status":503,"retry_ms":[500,3000]}` + "\n"},
	}
	number := regexp.MustCompile(`retry: (\d+)\n`)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := make(map[time.Duration]bool)
			for range 100 {
				got := string(test.got())
				if plain := number.ReplaceAllString(got, "retry: R\n"); plain != test.want {
					t.Fatalf("got %q, want %q", got, test.want)
				}
				if retry := parse(got).retry; retry != 0 {
					seen[retry] = true
					if retry < protocol.RetryFirst || retry >= protocol.RetryLast {
						t.Errorf("retry %v", retry)
					}
				}
			}
			if strings.Contains(test.want, "R") && len(seen) < 10 {
				t.Errorf("only %d different times", len(seen))
			}
		})
	}
}

func TestBye(t *testing.T) {
	for _, after := range []time.Duration{0, protocol.RetryFirst, 5 * time.Second} {
		first := max(after, protocol.RetryFirst)
		p := parse(string(sse.Bye(nil, 503, after)))
		want := fmt.Sprintf(`{"op":"bye","status":503,"retry_ms":[%d,%d]}`, first.Milliseconds(), (first + protocol.RetryLast).Milliseconds())
		if len(p.events) != 1 || p.events[0] != (event{"bye", want, ""}) {
			t.Errorf("after %v: %q, want %s", after, p.events, want)
		}
		if p.retry < first || p.retry > first+protocol.RetryLast {
			t.Errorf("after %v: retry %v", after, p.retry)
		}
	}
}

// Every message that is accepted arrives as it was published.
func FuzzRoundTrip(f *testing.F) {
	f.Add("text/plain", []byte("a\r\nb\rc\n\n d\x00\u2028\ufeff:"), "order", false)
	f.Add("application/json", []byte("{ \"a\\r\\n\" :\r\n 1 }"), "", true)
	f.Add("image/png", []byte("\xff\r\n\x00"), "a.b:c-d_e", false)
	f.Add("", []byte("data: x\n\nevent: y\nid: z\n"), "", false)
	f.Fuzz(func(t *testing.T, contentType string, body []byte, name string, signal bool) {
		kind, data, err := protocol.Content(contentType, body)
		if err != nil || names.CheckEvent(name) != nil {
			return
		}
		it := item("", func(m *hub.Message) {
			m.Kind, m.Data, m.Type, m.Event, m.Signal = kind, data, contentType, name, signal
		})
		stream := sse.Events{}.Begin(nil, &sse.Opening{ID: to.String()})
		stream = sse.Events{}.Append(stream, it)
		stream = sse.Events{}.Heartbeat(stream)
		stream = sse.Events{Envelope: true}.Append(stream, it)
		p := parse(string(sse.Events{}.End(stream, hub.CauseDraining)))
		if len(p.events) != 2 {
			t.Fatalf("%d events in %q", len(p.events), stream)
		}
		raw, whole := p.events[0], p.events[1]
		id := pos.String()
		if signal {
			id = to.String() // what it was
		}
		if raw.id != id || whole.id != id || raw.name != protocol.EventName(it.Message) {
			t.Errorf("event %+v, then id %q", raw, whole.id)
		}
		if whole.data != string(protocol.Envelope(it.Message)) {
			t.Errorf("envelope %q", whole.data)
		}
		if kind != message.Binary {
			if raw.data != string(data) {
				t.Errorf("data %q, want %q", raw.data, data)
			}
			return
		}
		var object struct{ Base64 string }
		if err := json.Unmarshal([]byte(raw.data), &object); err != nil {
			t.Fatal(err)
		}
		if b, err := base64.StdEncoding.DecodeString(object.Base64); err != nil || string(b) != string(data) {
			t.Errorf("bytes %q, %v, want %q", b, err, data)
		}
	})
}

// Who ends for want of a right, of a good credential or of a room is not told to come back as it is.
func TestEndsForGood(t *testing.T) {
	for cause, status := range map[hub.Cause]string{hub.CauseCredential: "401", hub.CauseUser: "401", hub.CauseForbidden: "403", hub.CauseNoRoom: "404"} {
		bye := `{"op":"bye","status":` + status + "}"
		if got, want := string(sse.Events{}.End(nil, cause)), "event: bye\ndata: "+bye+"\n\n"; got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
		if got, want := string(sse.Lines{}.End(nil, cause)), bye+"\n"; got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}
