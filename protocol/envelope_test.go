package protocol_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"iter"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
)

var (
	at  = time.Date(2026, 11, 21, 8, 0, 0, 123_999_999, time.FixedZone("", 3600))
	pos = hub.Position{Epoch: "k3f9", Offset: 1042}
)

// sample returns a text message, changed by change.
func sample(change ...func(*hub.Message)) *hub.Message {
	m := &hub.Message{Room: "lobby", Position: pos, Kind: message.Text, Data: []byte("hi"), Time: at}
	for _, f := range change {
		f(m)
	}
	return m
}

func TestEnvelope(t *testing.T) {
	tests := []struct {
		name string
		m    *hub.Message
		want string
	}{
		{"text", sample(), `{"id":"k3f9.1042","room":"lobby","data":"hi","at":"2026-11-21T07:00:00.123Z"}`},
		{
			"JSON", sample(func(m *hub.Message) { m.Kind, m.Data = message.JSON, []byte(`{"a":[1,null]}`) }),
			`{"id":"k3f9.1042","room":"lobby","data":{"a":[1,null]},"at":"2026-11-21T07:00:00.123Z"}`,
		},
		{
			"bytes", sample(func(m *hub.Message) { m.Kind, m.Data, m.Type = message.Binary, []byte("\xff\xfe\x00"), "image/png" }),
			`{"id":"k3f9.1042","room":"lobby","data":{"base64":"//4A","type":"image/png"},"at":"2026-11-21T07:00:00.123Z"}`,
		},
		{
			"bytes without a type", sample(func(m *hub.Message) { m.Kind, m.Data = message.Binary, nil }),
			`{"id":"k3f9.1042","room":"lobby","data":{"base64":"","type":"application/octet-stream"},"at":"2026-11-21T07:00:00.123Z"}`,
		},
		{
			"everything", sample(func(m *hub.Message) { m.Event, m.Key, m.From = "order", "k1", &hub.User{ID: "u42", Name: "Ann"} }),
			`{"id":"k3f9.1042","room":"lobby","event":"order","data":"hi","from":{"id":"u42","name":"Ann"},"key":"k1","at":"2026-11-21T07:00:00.123Z"}`,
		},
		{
			"event message", sample(func(m *hub.Message) { m.Event, m.From = "message", &hub.User{ID: "u"} }),
			`{"id":"k3f9.1042","room":"lobby","data":"hi","from":{"id":"u"},"at":"2026-11-21T07:00:00.123Z"}`,
		},
		{
			"signal", sample(func(m *hub.Message) { m.Signal, m.Position = true, hub.Position{} }),
			`{"op":"signal","room":"lobby","event":"message","data":"hi","at":"2026-11-21T07:00:00.123Z"}`,
		},
		{"escapes", sample(func(m *hub.Message) {
			m.Room, m.Key, m.Data = `a"b\c/ü`, "\"\x7f", []byte("\"\\/\b\f\n\t\x00\x1f<>&'\u2028\u2029\U0001f44b\ufeff")
			m.From = &hub.User{ID: `"`, Name: "é\n"}
		}), `{"id":"k3f9.1042","room":"a\"b\\c/ü","data":"\"\\/\b\f\n\t\u0000\u001f<>&'\u2028\u2029👋` + "\ufeff" +
			`","from":{"id":"\"","name":"é\n"},"key":"\"` + "\x7f" + `","at":"2026-11-21T07:00:00.123Z"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := protocol.Envelope(test.m)
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !json.Valid(got) {
				t.Error("no JSON")
			}
			if line := string(protocol.Line(test.m)); line != test.want+"\n" {
				t.Errorf("line %q", line)
			}
		})
	}
}

func TestControlObjects(t *testing.T) {
	to := hub.Position{Epoch: "k3f9", Offset: 7}
	refusal := protocol.Problem{Status: 429, Title: "too many", Detail: `"x"`, RetryAfter: 1500 * time.Millisecond}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"ready", (&protocol.Opening{Conn: `c"9`, Cursor: "k3f9.1042", Heartbeat: 25 * time.Second, MaxMessage: 9, User: &hub.User{ID: "u", Name: "Ann"}}).Ready(), `{"op":"ready","conn":"c\"9","cursor":"k3f9.1042","user":{"id":"u","name":"Ann"},"heartbeat":25,"limits":{"message":9,"rooms":100}}`},
		{"ready without a cursor", (&protocol.Opening{Conn: "c9", MaxMessage: settings.Off}).Ready(), `{"op":"ready","conn":"c9","heartbeat":0,"limits":{"rooms":100}}`},
		{"gap", protocol.Gap(&hub.Gap{Room: "ü", From: pos, To: to, Reason: message.GapSlow}), `{"op":"gap","room":"ü","from":"k3f9.1042","to":"k3f9.7","reason":"slow"}`},
		{"gap from nowhere", protocol.Gap(&hub.Gap{Room: "r", To: to, Reason: message.GapEpoch}), `{"op":"gap","room":"r","to":"k3f9.7","reason":"epoch"}`},
		{"bye", protocol.Bye(503, time.Second, 9*time.Second), `{"op":"bye","status":503,"retry_ms":[1000,9000]}`},
		{"error", protocol.Error(&refusal), `{"op":"error","status":429,"title":"too many","detail":"\"x\"","retry_ms":1500}`},
		{"bare error", protocol.Error(&protocol.Problem{Status: 500, Title: "internal error"}), `{"op":"error","status":500,"title":"internal error"}`},
		{"receipt", protocol.Receipt(hub.Receipt{Position: pos, Time: at}), `{"id":"k3f9.1042","at":"2026-11-21T07:00:00.123Z"}`},
		{"receipt of a signal", protocol.Receipt(hub.Receipt{Time: at}), `{"at":"2026-11-21T07:00:00.123Z"}`},
		{"problem", refusal.JSON(), `{"type":"about:blank","title":"too many","status":429,"detail":"\"x\"","retry_ms":1500}` + "\n"},
		{"empty page", whole((&protocol.Page{Rooms: []string{"r"}, Conn: "c"}).Parts), `{"room":"r","conn":"c","messages":[],"more":false}` + "\n"},
		{"page", whole((&protocol.Page{
			Rooms: []string{"lobby"}, Conn: "c", Cursor: to.String(), More: true, Gaps: []*hub.Gap{{Room: "lobby", To: to, Reason: message.GapEpoch}},
			Messages: []*hub.Message{sample(), sample(func(m *hub.Message) { m.Signal = true })},
		}).Parts), `{"room":"lobby","cursor":"k3f9.7","conn":"c","gap":{"op":"gap","room":"lobby","to":"k3f9.7","reason":"epoch"},"messages":[` +
			`{"id":"k3f9.1042","room":"lobby","data":"hi","at":"2026-11-21T07:00:00.123Z"},` +
			`{"op":"signal","room":"lobby","event":"message","data":"hi","at":"2026-11-21T07:00:00.123Z"}],"more":true}` + "\n"},
	}
	for _, test := range tests {
		if string(test.got) != test.want {
			t.Errorf("%s: got  %s\nwant %s", test.name, test.got, test.want)
		}
	}
}

// An envelope is JSON that says what the message says.
func FuzzEnvelope(f *testing.F) {
	f.Add("lobby", "order", "key", "u1", "Ann", "", "text/plain", []byte("hi\u2028"), false)
	f.Add("a\"b", "", "\\", "", "", "\xff", "application/json", []byte(`{"a": 1.0}`), true)
	f.Add("r", "e", "", "\x00", "\x7f", "", "", []byte{0xff, 0}, false)
	f.Fuzz(func(t *testing.T, room, event, key, user, name, media, contentType string, body []byte, signal bool) {
		kind, data, err := protocol.Content(contentType, body)
		if err != nil || names.CheckRoom(room) != nil || names.CheckEvent(event) != nil {
			return // is never published
		}
		m := &hub.Message{Room: room, Event: event, Key: key, Kind: kind, Type: media, Data: data, Signal: signal, Position: pos, Time: at}
		if user != "" {
			m.From = &hub.User{ID: user, Name: name}
		}
		b := protocol.Envelope(m)
		if bytes.ContainsAny(b, "\r\n") || !utf8.Valid(b) {
			t.Fatalf("envelope %q", b)
		}
		var got struct {
			Op, ID, Room, Event, Key, At string
			Data                         json.RawMessage
			From                         *hub.User
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("envelope %q: %v", b, err)
		}
		if got.Event == "" {
			got.Event = protocol.DefaultEvent
		}
		clean := func(s string) string { return string([]rune(s)) } // what JSON makes of bytes that are not UTF-8
		if got.Room != room || got.Event != protocol.EventName(m) || got.Key != clean(key) || (got.ID == "") != signal || (got.Op == "signal") != signal {
			t.Errorf("envelope %q of %+v", b, m)
		}
		if (got.From == nil) != (user == "") || got.From != nil && (got.From.ID != clean(user) || got.From.Name != clean(name)) {
			t.Errorf("from %+v, want %q %q", got.From, user, name)
		}
		sameData(t, kind, data, got.Data)
	})
}

// sameData checks that an envelope's data stands for a message's.
func sameData(t *testing.T, kind hub.Kind, data []byte, got json.RawMessage) {
	t.Helper()
	switch kind {
	case message.JSON:
		if !bytes.Equal(got, data) {
			t.Errorf("data %q, want %q", got, data)
		}
	case message.Text:
		var s string
		if err := json.Unmarshal(got, &s); err != nil || s != string(data) {
			t.Errorf("data %q, %v, want %q", s, err, data)
		}
	default:
		var object struct{ Base64, Type string }
		err := json.Unmarshal(got, &object)
		if b, bad := base64.StdEncoding.DecodeString(object.Base64); err != nil || bad != nil || !bytes.Equal(b, data) || object.Type == "" {
			t.Errorf("data %q, %v, %v, want %q", got, err, bad, data)
		}
	}
}

// whole joins the parts of an answer.
func whole(parts iter.Seq[[]byte]) []byte { return bytes.Join(slices.Collect(parts), nil) }
