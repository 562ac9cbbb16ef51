package sse

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// Format is how a stream is written.
type Format interface {
	// ContentType is the media type of the stream.
	ContentType() string
	// Begin appends what comes first, so that a client which drops before the
	// first message resumes exactly.
	Begin(b []byte, conn string, joined hub.Joined) []byte
	// Append appends one item.
	Append(b []byte, it hub.Item) []byte
	// Heartbeat appends what shows an idle client that the stream lives.
	Heartbeat(b []byte) []byte
	// End appends what comes before a planned end.
	End(b []byte) []byte
}

// A client that is sent away comes back after a time between these two, so
// that not all come at once.
const (
	RetryFirst = 500 * time.Millisecond
	RetryLast  = 3 * time.Second
)

func slot() time.Duration {
	return RetryFirst + rand.N(RetryLast-RetryFirst)
}

// Events is the format of an EventSource.
type Events struct{ Envelope bool }

// ContentType implements [Format].
func (Events) ContentType() string { return "text/event-stream" }

// Begin implements [Format]: a retry, and an event that has an id and no data,
// which sets the client's last event id and dispatches nothing. A client whose
// cursor was not honoured keeps it until it has been told of the gap.
func (e Events) Begin(b []byte, conn string, joined hub.Joined) []byte {
	b = appendRetry(b, slot())
	id := joined.Cursor
	if joined.Gap != nil {
		id = hub.Position{}
	}
	switch {
	case e.Envelope:
		return appendControl(b, "ready", id, protocol.Ready(conn, joined.Cursor))
	case id.IsZero():
		return append(b, '\n')
	default:
		b = append(b, "id: "...)
		b = id.AppendTo(b)
		return append(b, "\n\n"...)
	}
}

// Append implements [Format].
func (e Events) Append(b []byte, it hub.Item) []byte {
	switch {
	case it.Message != nil && e.Envelope:
		return append(b, it.Message.Form(protocol.FormEventEnvelope, eventEnvelope)...)
	case it.Message != nil:
		return append(b, it.Message.Form(protocol.FormEvent, event)...)
	case it.Gap != nil:
		return appendControl(b, "gap", it.Gap.To, protocol.Gap(it.Gap))
	default:
		return b
	}
}

// Heartbeat implements [Format] with a comment.
func (Events) Heartbeat(b []byte) []byte { return append(b, ":\n\n"...) }

// End implements [Format] with the time at which this client is to come back.
func (Events) End(b []byte) []byte { return append(appendRetry(b, slot()), '\n') }

// Bye appends the event that sends a client away before it was let in. (Any
// status but 200 would end an EventSource for good.)
func Bye(b []byte, status int, after time.Duration) []byte {
	after = max(after, RetryFirst)
	b = appendRetry(b, after+slot())
	return appendControl(b, "bye", hub.Position{}, protocol.Bye(status, after, after+RetryLast))
}

func appendRetry(b []byte, d time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, d.Milliseconds(), 10)
	return append(b, '\n')
}

// appendControl appends a control event. A zero id is left out.
func appendControl(b []byte, name string, id hub.Position, object []byte) []byte {
	if !id.IsZero() {
		b = append(b, "id: "...)
		b = id.AppendTo(b)
		b = append(b, '\n')
	}
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, object...)
	return append(b, "\n\n"...)
}

// event encodes a message with its data as published.
func event(m *hub.Message) []byte {
	data := m.Data
	if m.Kind == hub.Binary {
		data = protocol.AppendBinary(nil, m)
	}
	return appendEvent(m, protocol.EventName(m), data)
}

// eventEnvelope encodes a message with its envelope.
func eventEnvelope(m *hub.Message) []byte {
	name := protocol.EventName(m)
	if m.Signal {
		name = "signal"
	}
	return appendEvent(m, name, protocol.Envelope(m))
}

func appendEvent(m *hub.Message, name string, data []byte) []byte {
	b := make([]byte, 0, len(data)+96)
	if !m.Signal {
		b = append(b, "id: "...)
		b = m.AppendTo(b)
		b = append(b, '\n')
	}
	if name != protocol.DefaultEvent {
		b = append(b, "event: "...)
		b = append(b, name...)
		b = append(b, '\n')
	}
	// Every line is its own field; the client joins them with LF again.
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		b = append(b, "data: "...)
		b = append(b, line...)
		b = append(b, '\n')
	}
	return append(b, '\n')
}

// Lines is the format of NDJSON: one control object or envelope a line.
type Lines struct{}

// ContentType implements [Format].
func (Lines) ContentType() string { return "application/x-ndjson" }

// Begin implements [Format].
func (Lines) Begin(b []byte, conn string, joined hub.Joined) []byte {
	b = append(b, protocol.Ready(conn, joined.Cursor)...)
	return append(b, '\n')
}

// Append implements [Format].
func (Lines) Append(b []byte, it hub.Item) []byte {
	switch {
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
func (Lines) End(b []byte) []byte {
	return append(append(b, protocol.Bye(503, RetryFirst, RetryLast)...), '\n')
}
