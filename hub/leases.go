package hub

import (
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// The part of a room that knows who is there.

// exactSnapshots is up to how many members everybody gets a snapshot of his own.
const exactSnapshots = 64

// presenceEvery is the least time between two presence frames of a room.
const presenceEvery = time.Second

// presence is who is in a room. A member holds a lease for each of his
// connections; a lease lives while a session holds it, and for the room's grace
// after.
type presence struct {
	room *room
	hub  *Hub

	mu      sync.Mutex
	members map[string]*member
	others  int                // sessions that count without being members
	fading  map[*lease]*member // leases that no session holds
	pending map[string]change  // since the last frame
	counted bool               // the number may have changed since
	latest  *Presence          // the snapshot, until the next frame
	flushed uint64             // number of the last frame, hub-wide
	next    time.Time          // when the next frame may go
	timer   *time.Timer
	due     time.Time // when timer fires; zero: it does not
	closed  bool
}

// member is one person in a room.
type member struct {
	id, name string
	state    []byte // of the lease that showed one last; nil: he does not show himself
	leases   []*lease
}

// lease is one connection's part in a member.
type lease struct {
	conn     string
	sessions int  // that hold it
	leaving  bool // it has no grace
	state    []byte
	shown    uint64 // grows with each state that the hub is given
	ends     time.Time
	why      Why
}

// change is what has happened to a member since the last frame.
type change struct {
	kind changeKind
	why  Why
}

type changeKind uint8

const (
	entered changeKind = iota
	updated
	left
)

// hold gives the client's connection a lease that a session holds, and shows
// state unless it is nil. attended says that the session has called attend.
func (p *presence) hold(c *Client, state []byte, attended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if attended {
		p.others--
	}
	m, l := p.lease(c)
	l.sessions++
	l.leaving = false
	p.unfade(l)
	p.show(m, l, state)
}

// attend counts sessions that are no members.
func (p *presence) attend(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.others += by
	if p.room.watchers.Load() > 0 {
		p.count()
	}
}

// release is the end of a session that had called hold. The lease stays for so
// long.
func (p *presence) release(c *Client, why Why, grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, l := p.find(p.hub.memberID(c), c.ID)
	if l == nil {
		return
	}
	if l.sessions--; l.sessions > 0 {
		return
	}
	if l.leaving {
		why, grace = WhyLeft, 0
	}
	p.fade(m, l, why, grace)
}

// renew gives a connection without a session a lease for so long, and shows
// state unless it is nil.
func (p *presence) renew(c *Client, state []byte, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, l := p.lease(c)
	if l.sessions == 0 {
		l.ends = later(l.ends, time.Now().Add(d))
		p.fade(m, l, WhyTimeout, time.Until(l.ends))
	}
	p.show(m, l, state)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// withdraw ends a lease at once or, if a session holds it, with that.
func (p *presence) withdraw(c *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m, l := p.find(p.hub.memberID(c), c.ID); {
	case l == nil:
	case l.sessions > 0:
		l.leaving = true
	default:
		p.fade(m, l, WhyLeft, 0)
	}
}

// find returns the member of that id and his connection's lease, or nil. Called
// with mu held, as are those below.
func (p *presence) find(id, conn string) (*member, *lease) {
	m := p.members[id]
	if m == nil {
		return nil, nil
	}
	for _, l := range m.leases {
		if l.conn == conn {
			return m, l
		}
	}
	return m, nil
}

// lease returns the client's member and lease, making them.
func (p *presence) lease(c *Client) (*member, *lease) {
	id := p.hub.memberID(c)
	m, l := p.find(id, c.ID)
	if m == nil {
		m = &member{id: id}
		if c.User != nil {
			m.name = c.User.Name
		}
		if p.members == nil {
			p.members = make(map[string]*member)
			p.fading = make(map[*lease]*member)
			p.pending = make(map[string]change)
		}
		p.members[m.id] = m
		p.count()
	}
	if l == nil {
		l = &lease{conn: c.ID}
		m.leases = append(m.leases, l)
	}
	return m, l
}

// fade lets the lease end after so long, or at once if as many fade in the hub as
// may be connected: what comes and goes quickly must not fill the memory.
func (p *presence) fade(m *member, l *lease, why Why, d time.Duration) {
	l.why = why
	p.unfade(l)
	if d <= 0 || p.hub.fading.Add(1) > int64(p.hub.settings.Load().MaxConnections) {
		if d > 0 {
			p.hub.fading.Add(-1)
		}
		p.remove(m, l)
		return
	}
	l.ends = time.Now().Add(d)
	p.fading[l] = m
	p.wakeAt(l.ends)
}

// unfade is the end of fade's work.
func (p *presence) unfade(l *lease) {
	if p.fading[l] != nil {
		delete(p.fading, l)
		p.hub.fading.Add(-1)
	}
}

// remove ends the lease, and with the last one the member.
func (p *presence) remove(m *member, l *lease) {
	p.unfade(l)
	m.leases = slices.DeleteFunc(m.leases, func(o *lease) bool { return o == l })
	if len(m.leases) > 0 {
		if l.state != nil {
			p.reshow(m)
		}
		return
	}
	delete(p.members, m.id)
	p.count()
	if m.state != nil {
		p.note(m.id, change{left, l.why})
	}
}

// show sets the state that the lease shows; nil changes nothing.
func (p *presence) show(m *member, l *lease, state []byte) {
	if state == nil {
		return
	}
	l.state, l.shown = state, p.hub.shown.Add(1)
	p.reshow(m)
}

// reshow makes the member show what his leases showed last.
func (p *presence) reshow(m *member) {
	var newest *lease
	for _, l := range m.leases {
		if l.state != nil && (newest == nil || l.shown > newest.shown) {
			newest = l
		}
	}
	before := m.state
	m.state = nil
	if newest != nil {
		m.state = newest.state
	}
	switch {
	case before == nil && m.state != nil:
		p.note(m.id, change{kind: entered})
	case before != nil && m.state == nil:
		p.note(m.id, change{left, WhyLeft})
	case string(before) != string(m.state):
		p.note(m.id, change{kind: updated})
	}
}

// note remembers what the next frame has to tell.
func (p *presence) note(id string, now change) {
	if before, ok := p.pending[id]; ok && now.kind == updated && before.kind == entered {
		now.kind = entered
	}
	// Nothing is taken back, even where two changes cancel out: who took a
	// snapshot in between has seen the first.
	p.pending[id] = now
	p.flushSoon()
}

// count notes that the number has changed.
func (p *presence) count() {
	p.counted = true
	p.flushSoon()
}

func (p *presence) flushSoon() { p.wakeAt(later(p.next, time.Now())) }

// wakeAt sees to it that tick runs at t.
func (p *presence) wakeAt(t time.Time) {
	if p.closed || !p.due.IsZero() && !p.due.After(t) {
		return
	}
	p.due = t
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Until(t), p.tick)
	} else {
		p.timer.Reset(time.Until(t))
	}
}

// close ends the timer; one that fires at this moment finds nothing to do.
func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for l := range p.fading {
		p.unfade(l)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
}

// tick ends the leases whose time is over, and sends a frame if it is time.
func (p *presence) tick() {
	defer func() {
		if v := recover(); v != nil {
			p.hub.Logger().Error("panic in a room's presence", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.due = time.Time{}
	now := time.Now()
	for l, m := range p.fading {
		if !l.ends.After(now) {
			p.remove(m, l)
		}
	}
	if p.counted || len(p.pending) > 0 {
		if p.next.After(now) {
			p.wakeAt(p.next)
		} else {
			p.flush(now)
		}
	}
	var next time.Time
	for l := range p.fading {
		if next.IsZero() || l.ends.Before(next) {
			next = l.ends
		}
	}
	if !next.IsZero() {
		p.wakeAt(next)
	}
}

// flush tells what has changed.
func (p *presence) flush(now time.Time) {
	p.next = now.Add(presenceEvery)
	p.flushed = p.hub.flushed.Add(1)
	p.latest = nil
	if p.heard() {
		p.tell(p.changes(), now)
	}
	clear(p.pending)
	p.counted = false
}

// changes returns what has happened since the last frame.
func (p *presence) changes() *Presence {
	f := &Presence{Room: p.room.name, Members: p.number(), cursor: p.position()}
	if f.Numbers = p.room.policy.Load().presence.Mode != PresenceOn; f.Numbers {
		return f
	}
	for id, c := range p.pending {
		m := p.members[id]
		switch {
		case c.kind == left || m == nil || m.state == nil:
			f.Leave = append(f.Leave, Departure{id, c.why})
		case c.kind == entered:
			f.Enter = append(f.Enter, m.public())
		default:
			f.Update = append(f.Update, m.public())
		}
	}
	return f
}

// heard reports whether anybody is to be told.
func (p *presence) heard() bool {
	return p.room.watchers.Load() > 0 && p.room.policy.Load().presence.Mode != PresenceOff
}

// tell puts the frame into the room's delivery window.
func (p *presence) tell(f *Presence, now time.Time) {
	p.room.append(&Message{Room: p.room.name, Signal: true, Time: now, Presence: f})
}

// announce tells everybody again how things are, since the mode has changed.
func (p *presence) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = nil
	if !p.closed && p.heard() {
		p.tell(p.look(), time.Now())
	}
}

// number is how many are there.
func (p *presence) number() int { return len(p.members) + p.others }

func (p *presence) position() Position { return Position{Epoch: p.hub.epoch, Offset: p.flushed} }

// snapshot returns who is there, for one who is told of changes. Where there are
// many, all who come between two frames share one, or a thousand who come at once
// would cost a million: what has changed since comes with the next frame.
func (p *presence) snapshot() *Presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.latest == nil || len(p.members) <= exactSnapshots {
		p.latest = p.look()
	}
	return p.latest
}

// look returns who is there.
func (p *presence) look() *Presence {
	s := &Presence{Room: p.room.name, Members: p.number(), Snapshot: true, cursor: p.position()}
	if s.Numbers = p.room.policy.Load().presence.Mode != PresenceOn; !s.Numbers {
		for _, m := range p.members {
			if m.state != nil {
				s.Here = append(s.Here, m.public())
			}
		}
		slices.SortFunc(s.Here, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	}
	return s
}

func (m *member) public() Member { return Member{m.id, m.name, m.state} }

// lasts reports whether somebody is still there by a lease alone.
func (p *presence) lasts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fading) > 0
}
