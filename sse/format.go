package sse

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// Format encodes a stream. It is comparable: streams of equal formats share what is
// encoded.
type Format interface {
	// ContentType is the media type of the stream.
	ContentType() string
	// Begin appends the opening, so that a client which drops before the first
	// message can resume exactly.
	Begin(b []byte, o *Opening) []byte
	// Append appends one item.
	Append(b []byte, it hub.Item) []byte
	// Heartbeat appends bytes that show an idle client that the stream is alive.
	Heartbeat(b []byte) []byte
	// End appends the bytes before a planned end, for the cause of the session's end.
	End(b []byte, cause hub.Cause) []byte
}

// Opening is the content of a stream's beginning.
type Opening struct {
	protocol.Opening
	ID      string   // the event id to begin with; empty: the client keeps its own
	Answers [][]byte // of joined rooms
}

// PresenceOptions says how much presence a stream contains.
type PresenceOptions struct {
	Presence hub.PresenceLevel
	// Only leaves out everything except presence.
	Only bool
}

// slot returns a random time at which a client is to come back.
func slot() time.Duration {
	return protocol.RetryFirst + rand.N(protocol.RetryLast-protocol.RetryFirst)
}

// Events is the format of an EventSource.
type Events struct {
	Envelope bool
	PresenceOptions
}

// ContentType implements [Format].
func (Events) ContentType() string { return "text/event-stream" }

// Begin implements [Format] with a retry, and an event that has an id and no data: it
// sets the client's last event id and dispatches nothing. With envelopes the opening
// objects follow the retry instead.
func (e Events) Begin(b []byte, o *Opening) []byte {
	b = appendRetry(b, slot())
	if e.Envelope || e.Only {
		b = appendControl(b, "ready", o.ID, o.Ready())
		for _, answer := range o.Answers {
			b = appendControl(b, "ok", "", answer)
		}
		return b
	}
	return append(appendID(b, o.ID), '\n')
}

// Append implements [Format].
func (e Events) Append(b []byte, it hub.Item) []byte {
	switch {
	case it.Notice != nil:
		if op := protocol.OpOf(it.Notice); op != "" {
			b = appendControl(b, op, "", it.Notice)
		}
		return b
	case it.Presence != nil && e.Presence != hub.PresenceNothing:
		all := e.Presence == hub.PresenceAll
		return append(b, it.Presence.Form(protocol.FormPresenceEvent, all, func(p *hub.Presence, _ bool) []byte {
			return appendControl(nil, "presence", "", protocol.Presence(p, all))
		})...)
	case e.Only:
		return b
	case it.Message != nil && e.Envelope:
		return append(b, it.Message.Form(protocol.FormEventEnvelope, eventEnvelope)...)
	case it.Message != nil:
		return append(b, it.Message.Form(protocol.FormEvent, event)...)
	case it.Gap != nil:
		return appendControl(b, "gap", it.Gap.To.String(), protocol.Gap(it.Gap))
	default:
		return b
	}
}

// Heartbeat implements [Format] with a comment.
func (Events) Heartbeat(b []byte) []byte { return append(b, ":\n\n"...) }

// End implements [Format] with the time at which this client is to come back, or says that it
// is not to.
func (Events) End(b []byte, cause hub.Cause) []byte {
	if status, final := refused(cause); final {
		return appendControl(b, "bye", "", protocol.Farewell(status))
	}
	return append(appendRetry(b, slot()), '\n')
}

// Bye appends the event that refuses a client and tells it when to come back. (Any
// status except 200 would end an EventSource for good.)
func Bye(b []byte, status int, after time.Duration) []byte {
	after = max(after, protocol.RetryFirst)
	b = appendRetry(b, after+slot())
	return appendControl(b, "bye", "", protocol.Bye(status, after, after+protocol.RetryLast))
}

func appendRetry(b []byte, d time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, d.Milliseconds(), 10)
	return append(b, '\n')
}

// appendID appends an event's id, unless it is empty.
func appendID(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	b = append(b, "id: "...)
	b = append(b, id...)
	return append(b, '\n')
}

// appendControl appends a control event. An empty id is left out.
func appendControl(b []byte, name, id string, object []byte) []byte {
	b = appendID(b, id)
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, object...)
	return append(b, "\n\n"...)
}

// event encodes a message whose data is sent as published.
func event(m *hub.Message) []byte {
	data := m.Data
	if m.Kind == message.Binary {
		data = protocol.AppendBinary(nil, m)
	}
	return appendEvent(m, protocol.EventName(m), data)
}

// eventEnvelope encodes a message whose data is its envelope.
func eventEnvelope(m *hub.Message) []byte {
	return appendEvent(m, envelopeName(m), protocol.Envelope(m))
}

func envelopeName(m *hub.Message) string {
	if m.Signal {
		return "signal"
	}
	return protocol.EventName(m)
}

func appendEvent(m *hub.Message, name string, data []byte) []byte {
	b := make([]byte, 0, len(data)+96)
	if !m.Signal {
		b = append(b, "id: "...)
		b = m.AppendTo(b)
		b = append(b, '\n')
	}
	return appendLines(b, name, data)
}

// appendLines appends the rest of an event.
func appendLines(b []byte, name string, data []byte) []byte {
	if name != protocol.DefaultEvent {
		b = append(b, "event: "...)
		b = append(b, name...)
		b = append(b, '\n')
	}
	// Every line is a field of its own; the client joins them with LF.
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		b = append(b, "data: "...)
		b = append(b, line...)
		b = append(b, '\n')
	}
	return append(b, '\n')
}

// multiRoom is the format of one stream of several rooms: each event's id is the
// cursor of all rooms. It must not be used concurrently.
type multiRoom struct {
	Events
	cursors protocol.CursorSet
}

// Append implements [Format].
func (v *multiRoom) Append(b []byte, it hub.Item) []byte {
	switch {
	case v.Only || it.Message != nil && it.Message.Signal:
		return v.Events.Append(b, it)
	case it.Message != nil:
		v.cursors.Move(it.Message.Room, it.Message.Position)
		b = appendID(b, v.cursors.String())
		return appendLines(b, envelopeName(it.Message), protocol.Envelope(it.Message))
	case it.Gap != nil:
		v.cursors.Move(it.Gap.Room, it.Gap.To)
		return appendControl(b, "gap", v.cursors.String(), protocol.Gap(it.Gap))
	default:
		return v.Events.Append(b, it)
	}
}

// Lines is the format of NDJSON: one control object or envelope a line.
type Lines struct{ PresenceOptions }

// ContentType implements [Format].
func (Lines) ContentType() string { return "application/x-ndjson" }

// Begin implements [Format].
func (Lines) Begin(b []byte, o *Opening) []byte {
	b = append(append(b, o.Ready()...), '\n')
	for _, answer := range o.Answers {
		b = append(append(b, answer...), '\n')
	}
	return b
}

// Append implements [Format].
func (l Lines) Append(b []byte, it hub.Item) []byte {
	switch {
	case it.Notice != nil && protocol.OpOf(it.Notice) != "":
		return append(append(b, it.Notice...), '\n')
	case it.Presence != nil && l.Presence != hub.PresenceNothing:
		all := l.Presence == hub.PresenceAll
		return append(b, it.Presence.Form(protocol.FormPresenceLine, all, func(p *hub.Presence, _ bool) []byte {
			return append(bytes.Clone(protocol.Presence(p, all)), '\n')
		})...)
	case l.Only:
		return b
	case it.Message != nil:
		return append(b, protocol.Line(it.Message)...)
	case it.Gap != nil:
		return append(append(b, protocol.Gap(it.Gap)...), '\n')
	default:
		return b
	}
}

// Heartbeat implements [Format] with an empty line.
func (Lines) Heartbeat(b []byte) []byte { return append(b, '\n') }

// End implements [Format].
func (Lines) End(b []byte, cause hub.Cause) []byte {
	bye := protocol.Bye(http.StatusServiceUnavailable, protocol.RetryFirst, protocol.RetryLast)
	if status, final := refused(cause); final {
		bye = protocol.Farewell(status)
	}
	return append(append(b, bye...), '\n')
}

// refused returns the status of an ending, and whether the client is not to come back as it is:
// without a right, with the same credential, or to a room that does not exist.
func refused(cause hub.Cause) (status int, final bool) {
	status = protocol.EndingOf(cause).Status
	switch status {
	case http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound:
		return status, true
	default:
		return status, false
	}
}
