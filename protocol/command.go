package protocol

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The operations of a [Command].
const (
	OpJoin    = "join"
	OpLeave   = "leave"
	OpPublish = "publish"
	OpSignal  = "signal"
	OpState   = "state"
	OpHistory = "history"
	OpAuth    = "auth"
)

// MaxPage is how many messages a page of history may have, DefaultPage how many it has
// unless the client asks for another number.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Command is one command of a client, on a realtime.v1 connection or in a POST of
// several. [Decode] reads and checks it, [Command.Do] executes it on an [Executor] and
// answers it; [Command.Refusal] is the answer to a command that failed.
//
// Op is always set, and Room except for auth. The other fields belong to single operations, as
// docs/PROTOCOL.md says; fields that an operation does not have are ignored. It is
// used by one goroutine.
type Command struct {
	Op    string `json:"op"`
	Room  string `json:"room"`
	Ref   *int64 `json:"ref"` // asks for an answer, which repeats it; nil: none
	Since string `json:"since"`
	// Last is a number of messages, or a string like "10m".
	Last   json.RawMessage `json:"last"`
	State  json.RawMessage `json:"state"`
	Data   json.RawMessage `json:"data"`
	Event  string          `json:"event"`
	Key    string          `json:"key"`
	Conn   string          `json:"conn"`
	TTL    *int64          `json:"ttl"` // seconds; 0: a signal
	Before string          `json:"before"`
	Limit  *int            `json:"limit"`
	Token  string          `json:"token"`
}

// JoinRequest is a room to join, and where to begin in it.
type JoinRequest struct {
	Room  string
	Start hub.Start
}

// Answered returns the start with an Answer, as for a join by command.
func (r *JoinRequest) Answered() hub.Start {
	c := Command{Op: OpJoin, Room: r.Room}
	start := r.Start
	start.Answer = func(j hub.Joined) []byte { return c.Joined(j, start.InvalidCursor || !start.After.IsZero()) }
	return start
}

// Executor executes commands for one client. There are two: a [hub.Session], whose
// answers go out on its connection in the order of its items, and a [hub.Caller] that
// gathers them for the response to a POST. Each method is one operation; its error
// becomes the answer by [Command.Refusal], so an Executor answers successes at most.
// Methods are called by one goroutine, one after the other.
type Executor interface {
	// Subscribe answers with the start's Answer, ahead of everything of the room.
	Subscribe(ctx context.Context, room string, start hub.Start) (hub.Joined, error)
	Unsubscribe(room string) error
	Publish(ctx context.Context, p hub.Publication) (hub.Receipt, error)
	Show(ctx context.Context, room string, state []byte) error
	History(ctx context.Context, room string, q hub.Query) (hub.Page, error)
	Authenticate(ctx context.Context, token string) (hub.Authenticated, error)
	// Answer sends the client an answer. object must not be changed afterwards.
	Answer(object []byte)
}

// MaxCommand returns how many bytes a command may have if it publishes a message of at
// most that many: JSON may need some bytes more, and base64 a third more.
func MaxCommand(message int) int64 {
	return 2*int64(min(message, math.MaxInt64/4)) + 4<<10
}

// Decode reads and checks one command. An error is a [*Problem], which names the field
// at fault; the command then has its Ref, if that could be read.
func Decode(line []byte) (*Command, error) {
	c := new(Command)
	if !utf8.Valid(line) {
		return c, Bad("the command is not UTF-8")
	}
	if err := json.Unmarshal(line, c); err != nil {
		return c, c.unreadable(err)
	}
	return c, c.check()
}

// unreadable returns the problem for an error of json.Unmarshal.
func (c *Command) unreadable(err error) error {
	kind, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return Bad("the command is not JSON: %v", err)
	case kind.Field == "":
		return Bad("the command must be a JSON object, not a JSON %s", kind.Value)
	case kind.Field == "ref":
		c.Ref = nil // its value is not what was sent
	}
	want := "an integer"
	if kind.Type.Kind() == reflect.String {
		want = "a string"
	}
	return badField(kind.Field, "must be "+want+", not a "+kind.Value)
}

// check returns the problem of the first field that is missing or invalid.
func (c *Command) check() error {
	switch c.Op {
	case "":
		return badField("op", "missing; name the operation")
	case OpAuth:
		if c.Token == "" {
			return badField("token", "missing")
		}
		return nil
	case OpJoin, OpLeave, OpPublish, OpSignal, OpState, OpHistory:
	default:
		return badField("op", "unknown operation "+strconv.Quote(c.Op))
	}
	if c.Room == "" {
		return badField("room", "missing")
	}
	if err := names.CheckRoom(c.Room); err != nil {
		return &Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: err.Error(), Field: "room", Err: err}
	}
	switch {
	case c.Op == OpPublish && c.Data == nil:
		return badField("data", "missing")
	case c.Op == OpSignal && c.Event == "":
		return badField("event", "missing; a signal needs a name")
	case c.Op == OpState && c.State == nil:
		return badField("state", "missing; null is a state, too")
	case c.TTL != nil && (*c.TTL < 0 || *c.TTL > 1<<31):
		return badField("ttl", "must be a number of seconds")
	case c.Limit != nil && (*c.Limit < 1 || *c.Limit > MaxPage):
		return badField("limit", "must be a number from 1 to "+strconv.Itoa(MaxPage))
	case c.Before != "" && c.Since != "":
		return badField("before", "cannot be combined with since")
	}
	return nil
}

func badField(name, what string) *Problem {
	p := Bad("%s: %s", name, what)
	p.Field = name
	return p
}

// Do executes the command and answers it: an error always, a success if the command
// has a Ref, or if always is set. It returns the error.
func (c *Command) Do(ctx context.Context, e Executor, always bool) error {
	err := c.do(ctx, e, always || c.Ref != nil)
	if err != nil && !errors.Is(err, hub.ErrEnded) {
		e.Answer(c.Refusal(err))
	}
	return err
}

func (c *Command) do(ctx context.Context, e Executor, answer bool) error {
	switch c.Op {
	case OpJoin:
		return c.join(ctx, e)
	case OpLeave:
		return c.answer(e, e.Unsubscribe(c.Room), answer)
	case OpState:
		return c.answer(e, e.Show(ctx, c.Room, compact(c.State)), answer)
	case OpHistory:
		return c.history(ctx, e)
	case OpAuth:
		return c.authenticate(ctx, e)
	default:
		return c.publish(ctx, e, answer)
	}
}

// answer answers a success, if that is wanted. It returns err.
func (c *Command) answer(e Executor, err error, answer bool) error {
	if err == nil && answer {
		e.Answer(append(c.ok(), '}'))
	}
	return err
}

// join is always answered: its answer comes ahead of the room's messages.
func (c *Command) join(ctx context.Context, e Executor) error {
	start, err := c.start()
	if err != nil {
		return err
	}
	start.Answer = func(j hub.Joined) []byte { return c.Joined(j, c.Since != "") }
	_, err = e.Subscribe(ctx, c.Room, start)
	return err
}

// start returns where a join begins.
func (c *Command) start() (hub.Start, error) {
	start := hub.Start{State: compact(c.State)}
	if c.Since != "" {
		var err error
		if start.After, err = message.ParsePosition(c.Since); err != nil {
			start.InvalidCursor = true // a gap: no error would help the client
		}
		return start, nil
	}
	if len(c.Last) == 0 || string(c.Last) == "null" {
		return start, nil
	}
	last := string(c.Last)
	if text := ""; json.Unmarshal(c.Last, &text) == nil {
		last = text
	}
	var err error
	if start.Last, start.Age, err = ParseLast(last); err != nil {
		return start, badField("last", err.Error())
	}
	return start, nil
}

// ErrLast is returned by [ParseLast].
var ErrLast = errors.New("must be a number of messages, or a duration like 10m")

// ParseLast parses where a client wants to begin: a number of messages, or an age.
func ParseLast(s string) (n int, age time.Duration, err error) {
	if n, err = strconv.Atoi(s); err == nil && n >= 0 {
		return n, 0, nil
	}
	if age, err = time.ParseDuration(s); err != nil || age <= 0 {
		if days, found := strings.CutSuffix(s, "d"); found {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
				return 0, time.Duration(n) * 24 * time.Hour, nil
			}
		}
		return 0, 0, ErrLast
	}
	return 0, age, nil
}

// authenticate is always answered, with who the client is from then on.
func (c *Command) authenticate(ctx context.Context, e Executor) error {
	is, err := e.Authenticate(ctx, c.Token)
	if err != nil {
		return err
	}
	b := append(c.appendRef([]byte(`{"op":"ok"`)), `,"conn":`...)
	b = appendWho(appendString(b, is.Conn), `,"user":`, is.User)
	if !is.Expires.IsZero() {
		b = appendExpires(b, time.Until(is.Expires))
	}
	e.Answer(append(b, '}'))
	return nil
}

// publish publishes a message or a signal.
func (c *Command) publish(ctx context.Context, e Executor, answer bool) error {
	p := hub.Publication{Room: c.Room, Event: c.Event, Key: c.Key, Conn: c.Conn, Signal: c.Op == OpSignal}
	if p.Event == DefaultEvent {
		p.Event = ""
	}
	if c.TTL != nil {
		p.TTL = time.Duration(*c.TTL) * time.Second
		p.Signal = p.Signal || p.TTL == 0
	}
	var err error
	if p.Kind, p.Type, p.Data, err = dataOf(c.Data); err != nil {
		return err
	}
	receipt, err := e.Publish(ctx, p)
	if err != nil || !answer {
		return err
	}
	b := append(c.ok(), ',')
	e.Answer(append(b, Receipt(receipt)[1:]...))
	return nil
}

// dataOf turns data as in an envelope into a message's data: a string is text, an
// object with base64 and type alone is bytes, everything else is JSON.
func dataOf(raw json.RawMessage) (kind hub.Kind, media string, data []byte, err error) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0:
		return message.JSON, "", []byte("null"), nil
	case raw[0] == '"':
		var text string
		if err = json.Unmarshal(raw, &text); err != nil {
			return 0, "", nil, badField("data", err.Error())
		}
		return message.Text, "", newlines([]byte(text)), nil
	case raw[0] == '{':
		var fields map[string]json.RawMessage
		var bytes64 string
		_ = json.Unmarshal(raw, &fields) // it has been parsed before
		if fields["base64"] == nil || fields["type"] == nil || len(fields) != 2 ||
			json.Unmarshal(fields["base64"], &bytes64) != nil || json.Unmarshal(fields["type"], &media) != nil {
			break
		}
		if data, err = base64.StdEncoding.DecodeString(bytes64); err != nil {
			return 0, "", nil, badField("data", err.Error())
		}
		if len(media) > names.MaxType {
			return 0, "", nil, badField("data", "the type is too long")
		}
		return message.Binary, media, data, nil
	}
	return message.JSON, "application/json", compact(raw), nil
}

// compact returns valid JSON without spaces; nil stays nil.
func compact(raw json.RawMessage) []byte {
	if raw == nil {
		return nil
	}
	var b bytes.Buffer
	_ = json.Compact(&b, raw) // it has been parsed before
	return b.Bytes()
}

// maxHistory bounds the messages of one answer, in bytes. The first one always fits.
const maxHistory = 256 << 10

func (c *Command) history(ctx context.Context, e Executor) error {
	q := hub.Query{Limit: DefaultPage}
	if c.Limit != nil {
		q.Limit = *c.Limit
	}
	var err error
	switch {
	case c.Since != "":
		if q.After, err = message.ParsePosition(c.Since); err != nil {
			q.InvalidCursor = true
		}
	case c.Before != "":
		if q.Before, err = message.ParsePosition(c.Before); err != nil {
			return badField("before", err.Error())
		}
	default:
		q.Last = q.Limit
	}
	page, err := e.History(ctx, c.Room, q)
	if err != nil {
		return err
	}
	e.Answer(c.page(&page, q.InvalidCursor || !q.After.IsZero()))
	return nil
}

// page returns the answer to history. If there are too many bytes it leaves out what
// the next page can have.
func (c *Command) page(page *hub.Page, forward bool) []byte {
	messages, size := page.Messages, 0
	kept := 0
	for ; kept < len(messages); kept++ {
		m := messages[kept]
		if !forward {
			m = messages[len(messages)-1-kept]
		}
		if size += len(Envelope(m)); size > maxHistory && kept > 0 {
			page.More = true
			break
		}
	}
	if forward {
		messages = messages[:kept]
		if kept < len(page.Messages) {
			page.Cursor = messages[kept-1].Position
		}
	} else {
		messages = messages[len(messages)-kept:]
	}
	b := append(c.ok(), `,"messages":`...)
	b = appendMessages(b, messages)
	if page.Gap != nil {
		b = append(append(b, `,"gap":`...), Gap(page.Gap)...)
	}
	if c.Before == "" { // paging backwards does not move the cursor
		b = append(b, `,"cursor":"`...)
		b = append(page.Cursor.AppendTo(b), '"')
	}
	b = append(b, `,"more":`...)
	return append(strconv.AppendBool(b, page.More), '}')
}

// ok begins the answer to a success. Its other fields follow, and a brace.
func (c *Command) ok() []byte {
	b := append([]byte(nil), `{"op":"ok"`...)
	b = c.appendRef(b)
	b = append(b, `,"room":`...)
	return appendString(b, c.Room)
}

func (c *Command) appendRef(b []byte) []byte {
	if c.Ref != nil {
		b = append(b, `,"ref":`...)
		b = strconv.AppendInt(b, *c.Ref, 10)
	}
	return b
}

// Joined returns the answer to a join: where the client stands now and, if it resumes
// from a cursor, whether the cursor was honoured.
func (c *Command) Joined(j hub.Joined, resumes bool) []byte {
	b := c.ok()
	if !j.Cursor.IsZero() {
		b = append(b, `,"cursor":"`...)
		b = append(j.Cursor.AppendTo(b), '"')
	}
	if resumes {
		b = append(b, `,"recovered":`...)
		b = strconv.AppendBool(b, j.Gap == nil)
	}
	if j.Presence != settings.PresenceOff && j.Can.Has(hub.VerbMembers) && !j.Returning {
		b = append(b, `,"members":`...)
		b = strconv.AppendInt(b, int64(j.Members), 10)
	}
	return append(appendCan(b, j.Rights), '}')
}

// Refusal returns the answer to a command that failed.
func (c *Command) Refusal(err error) []byte {
	const head = `{"op":"error"`
	b := c.appendRef([]byte(head))
	if c.Room != "" && len(c.Room) <= names.MaxRoom && utf8.ValidString(c.Room) {
		b = append(b, `,"room":`...)
		b = appendString(b, c.Room)
	}
	return append(b, Error(ProblemOf(err))[len(head):]...)
}
