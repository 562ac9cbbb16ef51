package hub

import (
	"context"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of a subscription that reads for its session alone.

// begin finds the position at which the subscription begins.
func (m *Subscription) begin(ctx context.Context, h *Hub, start Start) (Joined, error) {
	m.stale = m.watches()
	m.room.mu.Lock()
	m.joined = m.room.ring.next()
	m.room.mu.Unlock()

	q := Query{InvalidCursor: start.InvalidCursor, After: start.After, Last: start.Last, Age: start.Age}
	resumes := q.InvalidCursor || !q.After.IsZero()
	recently := resumes && !m.can.Has(VerbHistory)
	if recently || !resumes && (q.Last > 0 || q.Age > 0) {
		q.Limit = settings.Off
	}
	page, err := m.room.readAll(ctx, h.engine, q)
	if err != nil {
		return Joined{}, err
	}
	if recently {
		page = recent(page, q)
		page.More = len(page.Messages) > 0
	}
	joined := Joined{Cursor: page.Start, Gap: page.Gap}
	pos := page.Start
	if resumes && !page.More {
		pos = page.Cursor // nothing lies between the two, and the window reaches back to it
	}
	m.at.Store(&readPosition{pos: pos})
	if m.gap = page.Gap; m.gap != nil {
		// A client that disconnects before it got the gap must get it again.
		joined.Cursor = m.gap.From
	}
	return joined, nil
}

// watches reports whether the subscription gets presence frames.
func (m *Subscription) watches() bool {
	return m.session.who().Presence != PresenceNothing && m.can.Has(VerbMembers)
}

// next appends what the subscription has not read yet.
func (m *Subscription) next(buf []Item, s *Session) (_ []Item, more bool) {
	for {
		if m.stale || m.gap != nil {
			if len(buf) == cap(buf) {
				return buf, true
			}
			buf = m.catchUp(buf)
			continue
		}
		live := m.at.Load().live
		if buf, more, ok := m.fromRing(buf, s); ok {
			m.dropCatchUp() // it has been delivered meanwhile
			return buf, more
		}
		if live && m.stale {
			continue
		}
		if len(buf) == cap(buf) {
			return buf, true
		}
		var ok bool
		if buf, ok = m.fromEngine(buf, s); !ok {
			return buf, false
		}
	}
}

// catchUp appends what comes before the messages: a presence snapshot, then a gap.
func (m *Subscription) catchUp(buf []Item) []Item {
	if !m.stale {
		buf = append(buf, Item{Gap: m.gap})
		m.gap = nil
		return buf
	}
	m.stale = false
	if !m.watches() {
		return buf
	}
	if m.room.policy.Load().Presence.Mode == settings.PresenceOff {
		return buf
	}
	p := m.room.attendance.snapshot()
	if p.Cursor.Offset+1 == m.shown {
		return buf // no frame has come since
	}
	m.shown = p.Cursor.Offset + 1
	return append(buf, Item{Presence: p})
}

// fromRing reads from the room's delivery window. It is not ok if the window
// does not reach back to the subscription's read position, or has lost changes of who is there.
func (m *Subscription) fromRing(buf []Item, s *Session) (_ []Item, more, ok bool) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	before := m.at.Load()
	p := *before
	if !p.live || p.seq < r.ring.first {
		watches := m.watches()
		if p.live && watches || !r.ring.covers(p.pos, now) {
			m.at.Store(&readPosition{pos: p.pos})
			m.stale = watches // it has missed changes
			return buf, false, false
		}
		p.seq, p.live = r.ring.after(p.pos), true
	}
	for end := r.ring.next(); p.seq < end && !more; p.seq++ {
		e := r.ring.at(p.seq)
		wanted := !e.Expired(now) && !s.echoes(e) &&
			(e.Presence == nil || m.watches() && e.Presence.Cursor.Offset >= m.shown) // not what a snapshot had
		if e.Signal {
			wanted = wanted && p.seq >= m.joined
		} else {
			// It may have come from the engine before it came here.
			wanted = wanted && !(e.Offset <= p.pos.Offset && e.Epoch == p.pos.Epoch)
		}
		if more = wanted && len(buf) == cap(buf); more {
			break
		}
		if !e.Signal && (e.Offset > p.pos.Offset || e.Epoch != p.pos.Epoch) {
			p.pos = e.Position
		}
		if wanted {
			buf = append(buf, ItemOf(e))
		}
	}
	if tail := r.tailPosition(); p == *tail && !s.who().Alone {
		m.at.Store(tail) // where the others stand: from here on it goes with its dispatcher
	} else if p != *before {
		own := p
		m.at.Store(&own)
	}
	return buf, more, true
}

// fromEngine reads from the room's log, for a session that is behind the
// window. It is not ok if the session is to wait.
func (m *Subscription) fromEngine(buf []Item, s *Session) (_ []Item, ok bool) {
	pos := m.at.Load().pos
	page, ok := m.pageAfter(pos, cap(buf)-len(buf))
	if !ok {
		return buf, false
	}
	if gap := page.Gap; gap != nil {
		if gap.Reason == message.GapExpired {
			gap.Reason = m.room.reasonFor(pos)
		}
		if gap.To = m.room.reach(gap.To); gap.To.Epoch == pos.Epoch && gap.To.Offset <= pos.Offset {
			return buf, true // what was missing would have ended by now: the window has the rest
		}
		m.at.Store(&readPosition{pos: gap.To})
		return append(buf, Item{Gap: gap}), true // the messages after it come with the next read
	}
	if len(page.Messages) == 0 && page.Cursor == pos {
		return buf, false // the log has not got there yet
	}
	now := time.Now()
	for _, e := range page.Messages {
		if !s.echoes(e) && !e.Expired(now) { // the page may have waited
			buf = append(buf, Item{Message: e})
		}
	}
	m.at.Store(&readPosition{pos: page.Cursor})
	return buf, true
}

// appear counts the session in the room's presence, and makes its client a member who
// shows state, unless that is nil. An anonymous client that shows no state and receives
// no presence is only counted, through its session. comes says that the session was not in the room. It
// returns a *limit.Error if there are too many members, and has then done nothing.
func (m *Subscription) appear(state []byte, comes bool) (err error) {
	switch c := m.session.who(); {
	case c.Observer:
	case c.User != nil || c.Presence != PresenceNothing || state != nil:
		m.lease, err = m.room.attendance.hold(c, state, comes, false)
	default:
		m.room.attendance.attend(1, comes)
	}
	return err
}

// show shows another state. The client must not be an observer. It returns the same error as
// appear.
func (m *Subscription) show(state []byte) (err error) {
	if m.lease != nil {
		m.room.attendance.update(m.lease, state)
		return nil
	}
	m.lease, err = m.room.attendance.hold(m.session.who(), state, false, true)
	return err
}

// vanish undoes appear.
func (m *Subscription) vanish(d departure) {
	switch c := m.session.who(); {
	case m.lease != nil && d.sentAway && c.User == nil:
		m.room.attendance.sendAway(m.lease, d)
	case m.lease != nil:
		m.room.attendance.release(m.lease, d.why, d.grace)
	case c.Observer:
	case d.sentAway:
		m.room.attendance.keepPlace()
	default:
		m.room.attendance.attend(-1, false)
	}
}
