package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/protocol"
)

// executor records the calls that it gets.
type executor struct {
	err     error
	did     []string
	start   hub.Start
	p       hub.Publication
	q       hub.Query
	page    hub.Page
	joined  hub.Joined
	answers []string
}

func (a *executor) do(what ...string) error {
	a.did = append(a.did, strings.Join(what, " "))
	return a.err
}

func (a *executor) Subscribe(_ context.Context, room string, start hub.Start) (hub.Joined, error) {
	if err := a.do("join", room); err != nil {
		return hub.Joined{}, err
	}
	a.start = start
	a.Answer(start.Answer(a.joined))
	return a.joined, nil
}

func (a *executor) Authenticate(_ context.Context, token string) (hub.Authenticated, error) {
	return hub.Authenticated{Conn: "c", User: &hub.User{ID: "ann"}}, a.do("auth", token)
}
func (a *executor) Unsubscribe(room string) error { return a.do("leave", room) }
func (a *executor) Publish(_ context.Context, p hub.Publication) (hub.Receipt, error) {
	a.p = p
	receipt := hub.Receipt{Position: pos, Time: at}
	if p.Signal {
		receipt.Position = hub.Position{}
	}
	return receipt, a.do("publish", p.Room)
}

func (a *executor) Show(_ context.Context, room string, state []byte) error {
	return a.do("show", room, string(state))
}

func (a *executor) History(_ context.Context, room string, q hub.Query) (hub.Page, error) {
	a.q = q
	return a.page, a.do("read", room)
}
func (a *executor) Answer(b []byte) { a.answers = append(a.answers, string(b)) }

// later is a position after those of the messages.
var later = hub.Position{Epoch: "k3f9", Offset: 2000}

// commands are lines from clients, what an executor does for each, and the answers.
var commands = []struct {
	name, line string
	did        string // what the executor was asked
	answer     string
	check      func(*executor) bool
}{
	{
		name: "join", line: `{"op":"join","room":"r","ref":7}`, did: "join r",
		answer: `{"op":"ok","ref":7,"room":"r","cursor":"k3f9.1042","members":12,"can":["publish","signal","history","presence"]}`,
		check:  func(a *executor) bool { return a.start.State == nil && a.start.Last == 0 && a.start.After.IsZero() },
	},
	{
		name: "join after a cursor", line: `{"op":"join","room":"r","since":"k3f9.5","last":20,"state":{"a": 1}}`, did: "join r",
		answer: `{"op":"ok","room":"r","cursor":"k3f9.1042","recovered":true,"members":12,"can":["publish","signal","history","presence"]}`,
		check: func(a *executor) bool {
			return a.start.After.Offset == 5 && string(a.start.State) == `{"a":1}` && a.start.Last == 0
		},
	},
	{
		name: "join with a foreign cursor", line: `{"op":"join","room":"r","since":"42"}`, did: "join r",
		check: func(a *executor) bool { return a.start.InvalidCursor },
	},
	{name: "join with the last", line: `{"op":"join","room":"r","last":20}`, did: "join r", check: func(a *executor) bool { return a.start.Last == 20 }},
	{name: "join with the last minutes", line: `{"op":"join","room":"r","last":"10m"}`, did: "join r", check: func(a *executor) bool { return a.start.Age == 10*time.Minute }},
	{name: "join with the last days", line: `{"op":"join","room":"r","last":"2d"}`, did: "join r", check: func(a *executor) bool { return a.start.Age == 48*time.Hour }},
	{name: "leave", line: `{"op":"leave","room":"r","ref":0}`, did: "leave r", answer: `{"op":"ok","ref":0,"room":"r"}`},
	{name: "leave without an answer", line: `{"op":"leave","room":"r"}`, did: "leave r", answer: "none"},
	{
		name: "publish text", line: `{"op":"publish","room":"r","ref":-1,"data":"a\r\nb","event":"message","key":"k"}`, did: "publish r",
		answer: `{"op":"ok","ref":-1,"room":"r","id":"k3f9.1042","at":"2026-11-21T07:00:00.123Z"}`,
		check: func(a *executor) bool {
			return a.p.Kind == message.Text && string(a.p.Data) == "a\nb" && a.p.Event == "" && a.p.Key == "k" && !a.p.Signal && a.p.TTL == 0
		},
	},
	{
		name: "publish JSON", line: `{"op":"publish","room":"r","data":{"base64": "aGk="},"event":"order","ttl":60}`, did: "publish r", answer: "none",
		check: func(a *executor) bool {
			return a.p.Kind == message.JSON && string(a.p.Data) == `{"base64":"aGk="}` && a.p.Event == "order" && a.p.TTL == time.Minute
		},
	},
	{name: "publish null", line: `{"op":"publish","room":"r","data":null}`, did: "publish r", answer: "none", check: func(a *executor) bool { return a.p.Kind == message.JSON && string(a.p.Data) == "null" }},
	{
		name: "publish bytes", line: `{"op":"publish","room":"r","data":{"type":"image/png","base64":"aGk="}}`, did: "publish r", answer: "none",
		check: func(a *executor) bool {
			return a.p.Kind == message.Binary && string(a.p.Data) == "hi" && a.p.Type == "image/png"
		},
	},
	{name: "publish for no time", line: `{"op":"publish","room":"r","ref":1,"data":1,"ttl":0}`, did: "publish r", answer: `{"op":"ok","ref":1,"room":"r","at":"2026-11-21T07:00:00.123Z"}`, check: func(a *executor) bool { return a.p.Signal }},
	{name: "signal", line: `{"op":"signal","room":"r","event":"typing"}`, did: "publish r", answer: "none", check: func(a *executor) bool { return a.p.Signal && a.p.Event == "typing" && string(a.p.Data) == "null" }},
	{name: "state", line: `{"op":"state","room":"r","state":null,"ref":1}`, did: "show r null", answer: `{"op":"ok","ref":1,"room":"r"}`},
	{
		name: "history", line: `{"op":"history","room":"r","ref":1,"before":"k3f9.2000","limit":2}`, did: "read r",
		answer: `{"op":"ok","ref":1,"room":"r","messages":[{"id":"k3f9.1042","room":"lobby","data":"hi","at":"2026-11-21T07:00:00.123Z"}],"more":true}`,
		check:  func(a *executor) bool { return a.q.Before == later && a.q.Limit == 2 },
	},
	{name: "newest history", line: `{"op":"history","room":"r"}`, did: "read r", answer: `{"op":"ok","room":"r","messages":[{"id":"k3f9.1042","room":"lobby","data":"hi","at":"2026-11-21T07:00:00.123Z"}],"cursor":"k3f9.2000","more":true}`, check: func(a *executor) bool { return a.q.Last == 50 && a.q.Limit == 50 }},
	{name: "history since", line: `{"op":"history","room":"r","since":"k3f9.2000"}`, did: "read r", check: func(a *executor) bool { return a.q.After == later }},
	{name: "history since a foreign cursor", line: `{"op":"history","room":"r","since":"x"}`, did: "read r", check: func(a *executor) bool { return a.q.InvalidCursor }},
}

func TestCommands(t *testing.T) {
	for _, test := range commands {
		t.Run(test.name, func(t *testing.T) {
			a := &executor{
				joined: hub.Joined{Cursor: pos, Members: 12, Rights: hub.Rights{Can: hub.AllVerbs}},
				page:   hub.Page{Messages: []*hub.Message{sample()}, Cursor: later, More: true},
			}
			c, err := protocol.Decode([]byte(test.line))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Do(t.Context(), a, false); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.did, ", "); got != test.did {
				t.Errorf("did %q, want %q", got, test.did)
			}
			switch {
			case test.answer == "none" && len(a.answers) > 0, len(a.answers) > 1, test.answer != "" && test.answer != "none" && (len(a.answers) == 0 || a.answers[0] != test.answer):
				t.Errorf("answered %q, want %q", a.answers, test.answer)
			}
			if test.check != nil && !test.check(a) {
				t.Errorf("asked for %+v %+v %+v", a.start, a.p, a.q)
			}
			if test.answer == "none" {
				if err := c.Do(t.Context(), a, true); err != nil || len(a.answers) != 1 {
					t.Errorf("asked to answer always: %q, %v", a.answers, err)
				}
			}
		})
	}
}

func TestCommandsThatMakeNoSense(t *testing.T) {
	for _, test := range []struct{ name, line, answer string }{
		{"no JSON", `hello`, `"status":400`},
		{"no object", `[1]`, `must be a JSON object, not a JSON array`},
		{"not UTF-8", "{\"op\":\"\xff\"}", `UTF-8`},
		{"no op", `{"room":"r","ref":3}`, `"ref":3,"room":"r","status":400,"title":"bad request","detail":"op: missing; name the operation","field":"op"`},
		{"unknown op", `{"op":"dance","ref":3}`, `"field":"op"`},
		{"auth without a token", `{"op":"auth","ref":3}`, `"ref":3,"status":400,"title":"bad request","detail":"token: missing","field":"token"`},
		{"no room", `{"op":"join"}`, `"field":"room"`},
		{"bad room", `{"op":"join","room":"a//b"}`, `empty segment`},
		{"room of another type", `{"op":"join","room":1,"ref":4}`, `"ref":4,"status":400,"title":"bad request","detail":"room: must be a string, not a number","field":"room"`},
		{"ref of another type", `{"op":"join","room":"r","ref":"x"}`, `{"op":"error","room":"r","status":400,"title":"bad request","detail":"ref: must be an integer, not a string","field":"ref"}`},
		{"no data", `{"op":"publish","room":"r"}`, `"field":"data"`},
		{"no event", `{"op":"signal","room":"r"}`, `"field":"event"`},
		{"no state", `{"op":"state","room":"r"}`, `"field":"state"`},
		{"negative ttl", `{"op":"publish","room":"r","data":1,"ttl":-1}`, `"field":"ttl"`},
		{"limit 0", `{"op":"history","room":"r","limit":0}`, `"field":"limit"`},
		{"limit above all", `{"op":"history","room":"r","limit":1001}`, `"field":"limit"`},
		{"two directions", `{"op":"history","room":"r","before":"a.1","since":"a.1"}`, `"field":"before"`},
		{"before nothing", `{"op":"history","room":"r","before":"x"}`, `"field":"before"`},
		{"last of nothing", `{"op":"join","room":"r","last":"soon"}`, `"field":"last"`},
		{"last below 0", `{"op":"join","room":"r","last":-1}`, `"field":"last"`},
		{"bytes that are none", `{"op":"publish","room":"r","data":{"base64":"?","type":"x/y"}}`, `"field":"data"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := new(executor)
			c, err := protocol.Decode([]byte(test.line))
			if err != nil {
				a.Answer(c.Refusal(err))
			} else {
				err = c.Do(t.Context(), a, false)
			}
			if err == nil || len(a.answers) != 1 || !strings.Contains(a.answers[0], test.answer) || !json.Valid([]byte(a.answers[0])) {
				t.Errorf("%v, answered %q, want %q", err, a.answers, test.answer)
			}
		})
	}
}

// A refusal by the hub is answered, and returned.
func TestRefusedCommands(t *testing.T) {
	for err, want := range map[error]string{
		hub.ErrNotJoined: `{"op":"error","ref":1,"room":"r","status":400,"title":"not joined","detail":"not in this room"}`,
		hub.ErrScope:     `"status":403,"title":"not allowed","detail":"this connection is limited to the rooms that its URL names; connect to the hub's own URL for others","field":"room"`,
		hub.ErrPresence:  `"status":403,"title":"no presence"`,
		hub.ErrRooms:     `"title":"too many rooms","detail":"one connection may be in at most 100 rooms"`,
		hub.ErrConn:      `"title":"no connection"`,
		hub.ErrState:     `"field":"state"`,
		names.ErrEvent:   `"field":"event"`,
		names.ErrKey:     `"field":"key"`,
		&limit.Error{Limit: "rate", Max: "10/s 20", RetryAfter: time.Second, Err: limit.ErrRate}: `"status":429,"title":"too many messages","detail":"rate is 10/s 20","retry_ms":1000`,
	} {
		a := &executor{err: err}
		c, bad := protocol.Decode([]byte(`{"op":"state","room":"r","state":1,"ref":1}`))
		if bad != nil {
			t.Fatal(bad)
		}
		if got := c.Do(t.Context(), a, false); !errors.Is(got, err) || len(a.answers) != 1 || !strings.Contains(a.answers[0], want) {
			t.Errorf("%v: answered %q, want %q", got, a.answers, want)
		}
	}
	a := &executor{err: hub.ErrEnded}
	c, _ := protocol.Decode([]byte(`{"op":"state","room":"r","state":1,"ref":1}`))
	if err := c.Do(t.Context(), a, false); !errors.Is(err, hub.ErrEnded) || len(a.answers) != 0 {
		t.Errorf("nobody is left to be told: %v, %q", err, a.answers)
	}
}

// A page that would be too large is cut where its reader goes on.
func TestHistoryIsCut(t *testing.T) {
	var all []*hub.Message
	for i := range 5 {
		all = append(all, sample(func(m *hub.Message) {
			m.Data, m.Offset = []byte(strings.Repeat("x", 100<<10)), uint64(i)
		}))
	}
	for line, want := range map[string]string{
		`{"op":"history","room":"r","since":"k3f9.9"}`:  "k3f9.0 k3f9.1 cursor k3f9.1",
		`{"op":"history","room":"r","before":"k3f9.9"}`: "k3f9.3 k3f9.4 cursor ",
		`{"op":"history","room":"r"}`:                   "k3f9.3 k3f9.4 cursor .0",
	} {
		a := &executor{page: hub.Page{Messages: all}}
		c, err := protocol.Decode([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(t.Context(), a, false); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Messages []struct{ ID string }
			Cursor   string
			More     bool
		}
		if err := json.Unmarshal([]byte(a.answers[0]), &got); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range got.Messages {
			ids = append(ids, m.ID)
		}
		if text := strings.Join(ids, " ") + " cursor " + got.Cursor; text != want || !got.More {
			t.Errorf("%s: got %s, more %t, want %s", line, text, got.More, want)
		}
	}
}

// FuzzDecode checks that any input gives either a command or a problem, and that the
// answer is JSON.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"op":"join","room":"r","last":"1d"}`, `{"op":"publish","room":"r","data":{"base64":"","type":""}}`, `{"op":"history","limit":1e3}`, `[]`, ``, `{"op":"signal","room":"é","event":"a"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a := new(executor)
		c, err := protocol.Decode(line)
		if err != nil {
			a.Answer(c.Refusal(err))
		} else if err = c.Do(t.Context(), a, true); err == nil && len(a.did) != 1 {
			t.Errorf("%q: did %q", line, a.did)
		}
		if len(a.answers) != 1 || !json.Valid([]byte(a.answers[0])) || strings.ContainsAny(a.answers[0], "\r\n") {
			t.Errorf("%q: answered %q", line, a.answers)
		}
	})
}
