// Package presence is who is in one room: a state machine that knows neither rooms nor
// sessions, locks nor timers. The caller says what happens and what time it is, and asks
// what has changed.
//
//	var r presence.Roster
//	lease := r.Hold("ann", "Ann", conn, []byte(`{"typing":true}`))
//	...
//	r.Release(lease, presence.Timeout, now.Add(grace)) // her connection broke
//	...
//	r.Expire(now, 100)             // the leases whose time is over
//	enter, update, leave := r.Changes()
//
// A member holds a lease for each of its connections. A lease lives while sessions hold
// it, and after that until its end; the member goes with its last lease. Its state is
// the last one that any of its leases has shown.
package presence

import (
	"maps"
	"time"

	"github.com/caddy-realtime/realtime/hub/ranking"
)

// Member is a member that shows a state in a room.
type Member struct {
	ID    string // the user's, or a code for an anonymous connection
	Name  string // the user's; empty if unknown
	State []byte // JSON that the client gave
}

// Departure is a member that has gone.
type Departure struct {
	ID  string
	Why Why
}

// Why says why a member has gone.
type Why string

// The reasons.
const (
	Left    Why = "left"    // it said so, or closed its page
	Timeout Why = "timeout" // its connection broke
)

// StateOverhead is what a state weighs beside its own bytes: its lease, measured.
const StateOverhead = 400

// Weight returns what keeping a state keeps alive, in bytes; 0 for nil.
func Weight(state []byte) int64 {
	if state == nil {
		return 0
	}
	return StateOverhead + int64(cap(state))
}

// A map that has held more than smallMap entries is made anew once few are left: to walk
// through a map costs what it has ever held.
const smallMap = 512

// Roster is who is in a room, and what has changed since [Roster.Settle]. The zero Roster
// is empty. It is for one goroutine at a time.
type Roster struct {
	members map[string]*member
	bare    int // connections that are only counted
	most    int // members that the map has held
	ending  ranking.Heap[*Lease]
	bytes   int64

	pending map[string]change // of members that show a state, or did
	recount bool              // the number may have changed
}

// change is what has happened to a member since the last Settle.
type change struct {
	kind kind
	why  Why
}

type kind uint8

const (
	entered kind = iota
	updated
	left
)

// Len returns how many are there: members, and connections counted by Count.
func (r *Roster) Len() int { return len(r.members) + r.bare }

// Members returns how many members there are.
func (r *Roster) Members() int { return len(r.members) }

// Has reports whether there is a member with this id.
func (r *Roster) Has(id string) bool { return r.members[id] != nil }

// Ending returns how many leases have an end, which no session holds.
func (r *Roster) Ending() int { return len(r.ending) }

// Bytes returns what the states of all leases weigh, see [Weight].
func (r *Roster) Bytes() int64 { return r.bytes }

// NextEnd returns when the next lease ends; not ok: none does.
func (r *Roster) NextEnd() (end time.Time, ok bool) {
	if len(r.ending) == 0 {
		return time.Time{}, false
	}
	return r.ending[0].ends, true
}

// Count adds n, which may be negative, to the number of connections that are only
// counted. A change of the number is noted only if noted is set.
func (r *Roster) Count(n int, noted bool) {
	r.bare += n
	r.recount = r.recount || noted
}

// Hold gives a member's connection a lease that a session holds, and shows state unless
// it is nil. Each call is undone by one of Release.
func (r *Roster) Hold(id, name, conn string, state []byte) *Lease {
	l := r.lease(id, name, conn)
	l.sessions++
	l.leaving = false
	r.keep(l)
	r.show(l, state)
	return l
}

// Move gives the lease's connection another id, name and conn, with the state that it shows. It
// takes back what Hold gave, and gives the same anew, as one change.
func (r *Roster) Move(l *Lease, id, name, conn string) *Lease {
	state := l.state
	if !r.has(l) {
		state = nil
	}
	moved := r.Hold(id, name, conn, state)
	r.Release(l, Left, time.Time{})
	return moved
}

// Vacate releases a lease that is Bare, and counts its connection instead, as Count does: the number
// does not change.
func (r *Roster) Vacate(l *Lease) {
	noted := r.recount
	r.Release(l, Left, time.Time{})
	r.bare++
	r.recount = noted
}

// Replace calls add, which makes one of the connections that are only counted a member: it is not counted any
// more, so the number does not change.
func (r *Roster) Replace(add func()) {
	noted, before := r.recount, r.Len()
	r.bare--
	add()
	r.recount = noted || r.Len() != before
}

// Show shows another state; nil changes nothing.
func (r *Roster) Show(l *Lease, state []byte) {
	if r.has(l) {
		r.show(l, state)
	}
}

// Release takes back what Hold gave. Once no session holds the lease it ends at that
// time, and at once if that is zero, or if Withdraw was called meanwhile.
func (r *Roster) Release(l *Lease, why Why, ends time.Time) {
	if !r.has(l) {
		return
	}
	if l.sessions--; l.sessions > 0 {
		return
	}
	if l.leaving {
		why, ends = Left, time.Time{}
	}
	r.end(l, why, ends)
}

// Renew gives a connection without a session a lease until then at least, and shows state
// unless it is nil. A zero time ends it at once, unless a session holds it.
func (r *Roster) Renew(id, name, conn string, state []byte, ends time.Time) {
	l := r.lease(id, name, conn)
	if l.sessions == 0 {
		if !ends.IsZero() && l.ends.After(ends) {
			ends = l.ends
		}
		r.end(l, Timeout, ends)
	}
	if r.has(l) {
		r.show(l, state)
	}
}

// Ends reports whether the connection has a lease that has an end.
func (r *Roster) Ends(id, conn string) bool {
	l := r.find(id, conn)
	return l != nil && l.place > 0
}

// Withdraw ends a connection's lease at once or, if a session holds it, with that.
func (r *Roster) Withdraw(id, conn string) {
	switch l := r.find(id, conn); {
	case l == nil:
	case l.sessions > 0:
		l.leaving = true
	default:
		r.end(l, Left, time.Time{})
	}
}

// Expire ends up to most leases whose time is over, and reports whether there are more.
func (r *Roster) Expire(now time.Time, most int) (more bool) {
	for n := 0; len(r.ending) > 0 && !r.ending[0].ends.After(now); n++ {
		if n == most {
			return true
		}
		r.remove(r.ending[0])
	}
	return false
}

// Changed reports whether there is something to send since the last Settle.
func (r *Roster) Changed() bool { return r.recount || len(r.pending) > 0 }

// Changes returns how those members are now that have changed since the last Settle.
func (r *Roster) Changes() (enter, update []Member, leave []Departure) {
	for id, c := range r.pending {
		m := r.members[id]
		switch {
		case c.kind == left || m == nil || m.state == nil:
			leave = append(leave, Departure{id, c.why})
		case c.kind == entered:
			enter = append(enter, m.public())
		default:
			update = append(update, m.public())
		}
	}
	return enter, update, leave
}

// Settle forgets what has changed.
func (r *Roster) Settle() {
	if len(r.pending) > smallMap/8 {
		r.pending = make(map[string]change) // to clear a map costs what it has ever held
	} else {
		clear(r.pending)
	}
	r.recount = false
}

// Here returns the members that show a state, in no order.
func (r *Roster) Here() (here []Member) {
	for _, m := range r.members {
		if m.state != nil {
			here = append(here, m.public())
		}
	}
	return here
}

// has reports whether the lease is still there: a session may have one of a roster that
// was emptied meanwhile.
func (r *Roster) has(l *Lease) bool {
	m := l.member
	return r.members[m.id] == m && l.index < len(m.leases) && m.leases[l.index] == l
}

// find returns the connection's lease, or nil.
func (r *Roster) find(id, conn string) *Lease {
	if m := r.members[id]; m != nil {
		return m.find(conn)
	}
	return nil
}

// lease returns the connection's lease, making it and its member.
func (r *Roster) lease(id, name, conn string) *Lease {
	m := r.members[id]
	if m == nil {
		m = &member{id: id, name: name}
		if r.members == nil {
			r.members = make(map[string]*member)
			r.pending = make(map[string]change)
		}
		r.members[id] = m
		r.most = max(r.most, len(r.members))
		r.recount = true
	}
	if l := m.find(conn); l != nil {
		return l
	}
	return m.add(conn)
}

// end lets the lease end at that time, or at once if that is zero.
func (r *Roster) end(l *Lease, why Why, ends time.Time) {
	l.why = why
	r.keep(l)
	if ends.IsZero() {
		r.remove(l)
		return
	}
	l.ends = ends
	r.ending.Add(l)
}

// keep undoes end, if the lease is still there.
func (r *Roster) keep(l *Lease) {
	if l.place > 0 {
		r.ending.Remove(l.place - 1)
	}
}

// remove ends the lease, and with the last one the member.
func (r *Roster) remove(l *Lease) {
	m := l.member
	r.keep(l)
	r.bytes -= Weight(l.state)
	m.remove(l)
	if len(m.leases) > 0 {
		r.reshow(m)
		return
	}
	delete(r.members, m.id)
	r.shrink()
	r.recount = true
	if m.state != nil {
		r.note(m.id, change{left, l.why})
	}
}

// shrink makes the map of the members anew after most have left.
func (r *Roster) shrink() {
	if r.most <= smallMap || len(r.members) > r.most/8 {
		return
	}
	members := make(map[string]*member, len(r.members))
	maps.Copy(members, r.members)
	r.members, r.most = members, len(members)
}

// show sets the state that the lease shows; nil changes nothing.
func (r *Roster) show(l *Lease, state []byte) {
	if state == nil {
		return
	}
	r.bytes += Weight(state) - Weight(l.state)
	l.member.show(l, state)
	r.reshow(l.member)
}

// reshow makes the member show what its leases showed last.
func (r *Roster) reshow(m *member) {
	before := m.state
	m.state = nil
	if m.top != nil {
		m.state = m.top.state
	}
	switch {
	case before == nil && m.state != nil:
		r.note(m.id, change{kind: entered})
	case before != nil && m.state == nil:
		r.note(m.id, change{left, Left})
	case string(before) != string(m.state):
		r.note(m.id, change{kind: updated})
	}
}

// note remembers what has happened to a member.
func (r *Roster) note(id string, now change) {
	if before, ok := r.pending[id]; ok && now.kind == updated && before.kind == entered {
		now.kind = entered
	}
	// Nothing is taken back, even where two changes cancel out: a reader that took a
	// snapshot in between has seen the first.
	r.pending[id] = now
}
