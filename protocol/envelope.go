package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The forms in which a message is encoded, each of them once for all connections.
const (
	FormEnvelope         hub.Form = iota // JSON, for pages
	FormLine                             // the envelope and a newline, for NDJSON
	FormEvent                            // an SSE event with the data as published
	FormEventEnvelope                    // an SSE event with the envelope
	FormFrame                            // a WebSocket frame with the data as published
	FormFrameEnvelope                    // a WebSocket frame with the envelope
	FormDeflated                         // FormFrame, compressed
	FormDeflatedEnvelope                 // FormFrameEnvelope, compressed
)

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Envelope returns the message or signal as one JSON object. The result is shared and
// must not be changed.
func Envelope(m *hub.Message) []byte { return m.Form(FormEnvelope, envelope) }

// Line returns the envelope followed by a newline, shared in the same way.
func Line(m *hub.Message) []byte {
	return m.Form(FormLine, func(m *hub.Message) []byte { return append(envelope(m), '\n') })
}

// envelope encodes m.
func envelope(m *hub.Message) []byte {
	b := make([]byte, 0, len(m.Data)+len(m.Room)+160)
	if m.Signal {
		b = append(b, `{"op":"signal","room":`...)
	} else {
		b = append(b, `{"id":"`...)
		b = m.AppendTo(b)
		b = append(b, `","room":`...)
	}
	b = appendString(b, m.Room)
	if event := EventName(m); m.Signal || event != DefaultEvent {
		b = append(b, `,"event":`...)
		b = appendString(b, event)
	}
	b = append(b, `,"data":`...)
	b = appendData(b, m)
	b = appendWho(b, `,"from":`, m.From)
	if m.Key != "" {
		b = append(b, `,"key":`...)
		b = appendString(b, m.Key)
	}
	b = append(b, `,"at":"`...)
	b = m.Time.UTC().AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// DefaultEvent is the event of a message that names none.
const DefaultEvent = "message"

// EventName returns the message's event.
func EventName(m *hub.Message) string {
	if m.Event == "" {
		return DefaultEvent
	}
	return m.Event
}

// appendData appends the message's data as a JSON value.
func appendData(b []byte, m *hub.Message) []byte {
	switch m.Kind {
	case message.JSON:
		return append(b, m.Data...)
	case message.Text:
		return appendString(b, string(m.Data))
	default:
		return AppendBinary(b, m)
	}
}

// AppendBinary appends the object that stands for bytes where only text is possible.
func AppendBinary(b []byte, m *hub.Message) []byte {
	b = append(b, `{"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, m.Data)
	b = append(b, `","type":`...)
	kind := m.Type
	if kind == "" {
		kind = "application/octet-stream"
	}
	b = appendString(b, kind)
	return append(b, '}')
}

// Opening is the content of the first object on a connection.
type Opening struct {
	Conn       string
	Cursor     string // empty: left out, and the client keeps its own
	User       *hub.User
	Expires    time.Time // when the client's credential does; zero: never
	Heartbeat  time.Duration
	MaxMessage int // bytes; settings.Off: no limit
	// Rights are those in the only room of the connection; nil: there are several, or none.
	Rights *hub.Rights
}

// Ready returns the control object that begins a connection.
func (o *Opening) Ready() []byte {
	b := append([]byte(`{"op":"ready","conn":`), quote(o.Conn)...)
	if o.Cursor != "" {
		b = append(b, `,"cursor":`...)
		b = appendString(b, o.Cursor)
	}
	b = appendWho(b, `,"user":`, o.User)
	if !o.Expires.IsZero() {
		b = appendExpires(b, time.Until(o.Expires))
	}
	b = append(b, `,"heartbeat":`...)
	b = strconv.AppendInt(b, int64(o.Heartbeat.Seconds()), 10)
	b = append(b, `,"limits":{`...)
	if o.MaxMessage != settings.Off {
		b = append(b, `"message":`...)
		b = strconv.AppendInt(b, int64(o.MaxMessage), 10)
		b = append(b, ',')
	}
	b = append(b, `"rooms":`...)
	b = strconv.AppendInt(b, settings.MaxRoomsJoined, 10)
	b = append(b, '}')
	if o.Rights != nil {
		b = appendLess(b, *o.Rights)
	}
	return append(b, '}')
}

// Gap returns the control object that announces missing messages. It has no from if
// the client's cursor could not be read.
func Gap(g *hub.Gap) []byte {
	b := append([]byte(`{"op":"gap","room":`), quote(g.Room)...)
	if !g.From.IsZero() {
		b = append(b, `,"from":"`...)
		b = g.From.AppendTo(b)
		b = append(b, '"')
	}
	b = append(b, `,"to":"`...)
	b = g.To.AppendTo(b)
	b = append(b, `","reason":"`...)
	b = append(b, g.Reason...)
	return append(b, `"}`...)
}

// Farewell returns the control object before an end after which the client is not to come back.
func Farewell(status int) []byte {
	return append(strconv.AppendInt([]byte(`{"op":"bye","status":`), int64(status), 10), '}')
}

// Bye returns the control object before a planned end: the client is to come back
// after a random time between first and last.
func Bye(status int, first, last time.Duration) []byte {
	b := append([]byte(`{"op":"bye","status":`), strconv.Itoa(status)...)
	b = append(b, `,"retry_ms":[`...)
	b = strconv.AppendInt(b, first.Milliseconds(), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, last.Milliseconds(), 10)
	return append(b, `]}`...)
}

// Error returns the control object of a refusal on a connection that goes on.
func Error(p *Problem) []byte {
	b := append([]byte(`{"op":"error","status":`), strconv.Itoa(p.Status)...)
	b = append(b, `,"title":`...)
	b = appendString(b, p.Title)
	if p.Detail != "" {
		b = append(b, `,"detail":`...)
		b = appendString(b, p.Detail)
	}
	if p.Field != "" {
		b = append(b, `,"field":`...)
		b = appendString(b, p.Field)
	}
	if p.RetryAfter > 0 {
		b = append(b, `,"retry_ms":`...)
		b = strconv.AppendInt(b, p.RetryAfter.Milliseconds(), 10)
	}
	return append(b, '}')
}

// Receipt returns the answer to a publication.
func Receipt(r hub.Receipt) []byte {
	b := []byte{'{'}
	if !r.IsZero() {
		b = append(b, `"id":"`...)
		b = r.AppendTo(b)
		b = append(b, `",`...)
	}
	b = append(b, `"at":"`...)
	b = r.Time.UTC().AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// appendWho appends a field with a user; nothing if u is nil.
func appendWho(b []byte, field string, u *hub.User) []byte {
	if u == nil {
		return b
	}
	b = append(b, field...)
	return append(appendUser(b, u.ID, u.Name), '}')
}

// appendUser appends a user as an object, without its last brace.
func appendUser(b []byte, id, name string) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, id)
	if name != "" {
		b = append(b, `,"name":`...)
		b = appendString(b, name)
	}
	switch message.KindOf(id) {
	case message.UserGuest:
		b = append(b, `,"guest":true`...)
	case message.UserBackend:
		b = append(b, `,"backend":true`...)
	default: // the id says it
	}
	return b
}

func appendMessages(b []byte, messages []*hub.Message) []byte {
	return appendList(b, messages, func(b []byte, m *hub.Message) []byte { return append(b, Envelope(m)...) })
}

// appendList appends a JSON list. one appends a single item.
func appendList[T any](b []byte, items []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, item)
	}
	return append(b, ']')
}

func quote(s string) []byte { return appendString(nil, s) }

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	return append(b, bytes.TrimSuffix(line(s), []byte("\n"))...)
}

// line returns v as a line of JSON, without escapes for HTML. Encoding v must not
// fail.
func line(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return b.Bytes()
}
