package hub_test

import (
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

// reader compares what it gets with the list of its room.
type reader struct {
	*model
	room   string
	conn   string       // whose messages it does not see, if any
	joined int          // index in the list: signals before it are not for this reader
	next   int          // index in the list: what comes must be there or after it
	pos    hub.Position // all messages up to here came, or were lost with notice
	gap    *hub.Gap     // must come first
}

// list is all that was published in the reader's room.
func (r *reader) list() []sent { return r.rooms[r.room] }

// excused reports whether the reader need not see s.
func (r *reader) excused(s sent) bool {
	return s.IsZero() || s.Offset <= r.pos.Offset || s.expired() || r.conn != "" && s.conn == r.conn
}

func (s sent) expired() bool { return !s.expires.IsZero() && !time.Now().Before(s.expires) }

// upTo checks that nothing before index end is missing.
func (r *reader) upTo(end int) {
	r.Helper()
	if r.gap != nil {
		r.Errorf("%s: the gap %+v was not told", r.room, r.gap)
	}
	for ; r.next < end; r.next++ {
		if s := r.list()[r.next]; !r.excused(s) {
			r.Errorf("%s: %v is missing after %v", r.room, s.Position, r.pos)
		}
	}
}

// take checks a message that the reader is given.
func (r *reader) take(m *hub.Message) {
	r.Helper()
	for i := r.next; i < len(r.list()); i++ {
		s := r.list()[i]
		if s.text != string(m.Data) {
			continue
		}
		r.upTo(i)
		r.next = i + 1
		switch {
		case m.Position != s.Position || m.Signal != s.IsZero() || (m.Publisher == "") != (s.conn == "") || s.conn != "" && m.Publisher == s.conn:
			r.Errorf("%s: got %+v for %+v", r.room, m, s)
		case m.Signal && i < r.joined:
			r.Errorf("%s: a signal from before joining", r.room)
		case s.expired():
			r.Errorf("%s: %v has expired", r.room, s.Position)
		case r.conn != "" && s.conn == r.conn:
			r.Errorf("%s: %v is the reader's own", r.room, s.Position)
		case !m.Signal && s.Offset <= r.pos.Offset:
			r.Errorf("%s: %v comes after %v", r.room, s.Position, r.pos)
		case !m.Signal:
			r.pos = s.Position
		}
		return
	}
	r.Errorf("%s: %v %.9q is out of order, a duplicate, or nobody's", r.room, m.Position, m.Data)
}

// lose checks a gap that the reader gets.
func (r *reader) lose(g *hub.Gap) {
	r.Helper()
	if r.gap != nil {
		if *g != *r.gap {
			r.Errorf("%s: the gap %+v, not %+v", r.room, g, r.gap)
		}
		r.gap, r.pos = nil, g.To
		return
	}
	// Up to From everything came or was not for this reader.
	for _, s := range r.list() {
		if s.Offset <= g.From.Offset && !r.excused(s) {
			r.Errorf("%s: %v is missing before the gap %+v", r.room, s.Position, g)
		}
	}
	if g.Reason != message.GapSlow {
		r.Errorf("%s: the gap %+v is none", r.room, g)
	}
	r.missing(g)
	r.pos = g.To
}

// missing checks that something in the gap is missing, and nothing in it is not.
func (r *reader) missing(g *hub.Gap) {
	r.Helper()
	if g.To.Offset <= g.From.Offset {
		r.Errorf("%s: the gap %+v is none", r.room, g)
	}
	kept, lost := r.hub.Keeps(r.room), false
	var until time.Time // of those that would have ended, the hub knows when the last would
	for _, s := range r.list() {
		if s.Offset <= g.To.Offset && s.expires.After(until) {
			until = s.expires
		}
	}
	for _, s := range r.list() {
		if s.IsZero() || s.Offset <= g.From.Offset || s.Offset > g.To.Offset {
			continue
		}
		if kept[s.Offset] {
			r.Errorf("%s: %v is kept, in the gap %+v", r.room, s.Position, g)
		}
		lost = lost || s.expires.IsZero() || time.Now().Before(until)
	}
	if !lost && !r.remote { // of a remote log the window knows only where it ended: a gap may be needless, to be safe
		r.Errorf("%s: nothing is missing in the gap %+v", r.room, g)
	}
}

// begun checks where the reader stands that wanted to begin at start.
func (r *reader) begun(start hub.Start) {
	r.Helper()
	var after []sent // what it will be given
	for _, s := range r.list() {
		if !s.IsZero() && s.Offset > r.pos.Offset && !s.expired() {
			after = append(after, s)
		}
	}
	switch {
	case start.InvalidCursor || !start.After.IsZero():
		r.honoured(start)
	case r.gap != nil:
		r.Errorf("%s: a gap without a cursor: %+v", r.room, r.gap)
	case start.Last > 0:
		if len(after) > start.Last {
			r.Errorf("%s: %d messages follow, not the last %d", r.room, len(after), start.Last)
		}
	case start.Age > 0:
		if len(after) > 0 && time.Since(after[0].Time) > start.Age {
			r.Errorf("%s: begins %v ago, not %v", r.room, time.Since(after[0].Time), start.Age)
		}
	case len(after) > 0:
		r.Errorf("%s: %d messages follow, wanted none", r.room, len(after))
	}
}

// honoured checks the answer to a cursor: the reader is at that place, or gets a gap.
func (r *reader) honoured(start hub.Start) {
	r.Helper()
	known := !start.InvalidCursor && start.After.Epoch != foreignEpoch && start.After.Offset < future
	switch {
	case !known:
		if r.gap == nil || r.gap.Reason != message.GapEpoch || r.gap.From != start.After {
			r.Errorf("%s: cursor %v gave the gap %+v", r.room, start.After, r.gap)
		}
	case r.pos != start.After:
		r.Errorf("%s: stands at %v, not %v", r.room, r.pos, start.After)
	case r.gap != nil && (r.gap.Reason != message.GapExpired || r.gap.From != start.After):
		r.Errorf("%s: cursor %v gave the gap %+v", r.room, start.After, r.gap)
	case r.gap != nil:
		r.missing(r.gap)
	}
}

// forward reads pages from a cursor to the end.
func (m *model) forward() {
	room, start := m.start()
	if start.Last > 0 || start.Age > 0 || m.unsteady {
		return // see backward; and whoever reads a page himself is told of each failure
	}
	r := &reader{model: m, room: room, pos: start.After}
	q := hub.Query{After: start.After, InvalidCursor: start.InvalidCursor, Limit: one(m, 1, 3, 50)}
	for first := true; ; first = false {
		if q.After.IsZero() && !q.InvalidCursor {
			return
		}
		page := page(m, m.hub, room, q)
		if r.gap = page.Gap; first {
			r.honoured(start)
		} else if r.gap != nil {
			m.Errorf("%s: the gap %+v in the middle", room, r.gap)
		}
		if r.gap != nil {
			r.lose(page.Gap)
		}
		if page.Start != r.pos {
			m.Errorf("%s: begins at %v, not %v", room, page.Start, r.pos)
		}
		for _, msg := range page.Messages {
			r.take(msg)
		}
		if len(page.Messages) > q.Limit || page.More && len(page.Messages) == 0 {
			m.Errorf("%s: %d messages, at most %d, more %v", room, len(page.Messages), q.Limit, page.More)
		}
		if !page.More {
			r.upTo(len(r.list()))
		}
		r.pos = page.Cursor
		m.seen(room, page.Cursor)
		if !page.More || m.rnd.IntN(4) == 0 {
			return // somebody else may go on from there
		}
		q = hub.Query{After: page.Cursor, Limit: q.Limit}
	}
}

// backward reads the newest messages, then those before them.
func (m *model) backward() {
	if m.unsteady {
		return
	}
	room, limit := m.room(), one(m, 1, 3, 50)
	q := one(m, hub.Query{Last: 1 + m.rnd.IntN(20)}, hub.Query{Age: one(m, time.Second, time.Minute)})
	q.Limit = limit
	list := m.rooms[room]
	for {
		page := page(m, m.hub, room, q)
		want := page.Messages
		if len(want) > limit || page.Gap != nil {
			m.Errorf("%s: %d messages, at most %d, gap %v", room, len(want), limit, page.Gap)
		}
		// The messages that it gets are the end of the list, without a hole.
		for len(want) > 0 && len(list) > 0 {
			s := list[len(list)-1]
			list = list[:len(list)-1]
			switch last := want[len(want)-1]; {
			case s.IsZero() || s.expired():
			case s.Position != last.Position || s.text != string(last.Data):
				m.Fatalf("%s: %v where %v should be", room, last.Position, s.Position)
			case q.Age > 0 && time.Since(s.Time) > q.Age:
				m.Errorf("%s: %v is too old", room, s.Position)
			default:
				want = want[:len(want)-1]
			}
		}
		if len(want) > 0 {
			m.Errorf("%s: %v is nobody's", room, want[0].Position)
		}
		if len(page.Messages) == 0 {
			return
		}
		m.seen(room, page.Start)
		m.seen(room, page.Cursor)
		if len(page.Messages) < limit && page.More && q.Last == 0 {
			m.Errorf("%s: there is more, and %d of %d are given", room, len(page.Messages), limit)
		}
		if !page.More {
			return
		}
		q = hub.Query{Before: page.Messages[0].Position, Limit: limit}
	}
}
