package hub

import (
	"container/heap"
	"maps"
	"runtime/debug"
	"sync"
	"time"
)

// The part of a room that knows who is there.

// exactSnapshots: rooms with at most so many members build a fresh snapshot for each reader.
const exactSnapshots = 64

// presenceEvery is the least time between two presence frames of a room.
const presenceEvery = time.Second

// presence is who is in a room. A member holds a lease for each of its connections; a
// lease lives while a session holds it, and for the room's grace after that.
type presence struct {
	room *room
	hub  *Hub

	mu      sync.Mutex
	members map[string]*member
	shown   int64             // what its states are charged, in bytes
	others  int               // sessions that count without being members
	most    int               // members that the map has held
	fading  ranking[*lease]   // that no session holds
	pending map[string]change // since the last frame
	counted bool              // the number may have changed since
	latest  *snapshot         // until the next frame
	flushed uint64            // number of the last frame, hub-wide
	next    time.Time         // when the next frame may go
	timer   *time.Timer
	due     time.Time // when timer fires; zero: it does not
	closed  bool
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
func (p *presence) hold(c *Client, state []byte, attended bool) *lease {
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
	return l
}

// update shows another state of a lease that a session holds.
func (p *presence) update(l *lease, state []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.members[l.member.id] == l.member {
		p.show(l.member, l, state)
	}
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

// release takes back what hold gave to a session. The lease stays for the grace.
func (p *presence) release(l *lease, why Why, grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.members[l.member.id] != l.member {
		return // the room was forgotten meanwhile, and all its leases
	}
	if l.sessions--; l.sessions > 0 {
		return
	}
	if l.leaving {
		why, grace = WhyLeft, 0
	}
	p.fade(l.member, l, why, grace)
}

// renew gives a connection without a session a lease for so long, and shows
// state unless it is nil.
func (p *presence) renew(c *Client, state []byte, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, l := p.lease(c)
	if l.sessions == 0 {
		p.fade(m, l, WhyTimeout, time.Until(later(l.ends, time.Now().Add(d))))
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

// find returns the member with that id and its connection's lease, or nil. Called
// with mu held, as are those below.
func (p *presence) find(id, conn string) (*member, *lease) {
	m := p.members[id]
	if m == nil {
		return nil, nil
	}
	return m, m.find(conn)
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
			p.pending = make(map[string]change)
		}
		p.members[m.id] = m
		p.most = max(p.most, len(p.members))
		p.count()
	}
	if l == nil {
		l = m.add(c.ID)
	}
	return m, l
}

// fade lets the lease end after so long, or at once if as many fade in the hub as
// may be connected: what comes and goes quickly must not fill the memory.
func (p *presence) fade(m *member, l *lease, why Why, d time.Duration) {
	l.why = why
	p.unfade(l)
	if p.closed {
		d = 0 // nothing would end it
	}
	if d <= 0 || p.hub.fading.Add(1) > int64(p.hub.settings.Load().MaxConnections) {
		if d > 0 {
			p.hub.fading.Add(-1)
		}
		p.remove(m, l)
		return
	}
	l.ends = time.Now().Add(d)
	heap.Push(&p.fading, l)
	p.wakeAt(l.ends)
}

// unfade undoes fade.
func (p *presence) unfade(l *lease) {
	if l.fades > 0 {
		heap.Remove(&p.fading, l.fades-1)
		p.hub.fading.Add(-1)
	}
}

// remove ends the lease, and with the last one the member.
func (p *presence) remove(m *member, l *lease) {
	p.unfade(l)
	p.charge(-stateWeight(l.state))
	m.remove(l)
	if len(m.leases) > 0 {
		p.reshow(m)
		return
	}
	delete(p.members, m.id)
	p.shrink()
	p.count()
	if m.state != nil {
		p.note(m.id, change{left, l.why})
	}
}

// charge charges n bytes of states, or fewer than before.
func (p *presence) charge(n int64) {
	p.shown += n
	p.hub.budget.show(n)
}

// shrink makes the map of the members anew after a crowd has left: to walk through
// a map costs what it has ever held.
func (p *presence) shrink() {
	if p.most <= 8*exactSnapshots || len(p.members) > p.most/8 {
		return
	}
	members := make(map[string]*member, len(p.members))
	maps.Copy(members, p.members)
	p.members, p.most = members, len(members)
}

// show sets the state that the lease shows; nil changes nothing.
func (p *presence) show(m *member, l *lease, state []byte) {
	if state == nil {
		return
	}
	p.charge(stateWeight(state) - stateWeight(l.state))
	m.show(l, state)
	p.reshow(m)
}

// reshow makes the member show what its leases showed last.
func (p *presence) reshow(m *member) {
	before := m.state
	m.state = nil
	if m.top != nil {
		m.state = m.top.state
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

// close ends the timer and forgets the members that only a lease keeps. A timer that
// fires at this moment finds nothing to do.
func (p *presence) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.outdate()
	p.charge(-p.shown)
	p.members = nil
	p.hub.fading.Add(-int64(len(p.fading)))
	p.fading, p.members, p.pending, p.latest = nil, nil, nil, nil
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
	for !p.step() {
	}
	p.hub.relieve() // what a frame keeps may be more than there is room for
}

// step does some of tick's work, so that others may have the lock while a crowd
// leaves, and reports whether that was the rest.
func (p *presence) step() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return true
	}
	p.due = time.Time{}
	now := time.Now()
	for ended := 0; len(p.fading) > 0 && !p.fading[0].ends.After(now); ended++ {
		if ended == sweepChunk {
			return false
		}
		p.remove(p.fading[0].member, p.fading[0])
	}
	if p.counted || len(p.pending) > 0 {
		if p.next.After(now) {
			p.wakeAt(p.next)
		} else {
			p.flush(now)
		}
	}
	if len(p.fading) > 0 {
		p.wakeAt(p.fading[0].ends)
	}
	return true
}

// flush sends a frame of what has changed.
func (p *presence) flush(now time.Time) {
	p.next = now.Add(presenceEvery)
	p.flushed = p.hub.flushed.Add(1)
	p.outdate()
	if p.watched() {
		p.tell(p.changes(), now)
	}
	if len(p.pending) > exactSnapshots {
		p.pending = make(map[string]change) // to clear a map costs what it has ever held
	} else {
		clear(p.pending)
	}
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

// watched reports whether any session receives presence frames.
func (p *presence) watched() bool {
	return p.room.watchers.Load() > 0 && p.room.policy.Load().presence.Mode != PresenceOff
}

// tell puts the frame into the room's delivery window.
func (p *presence) tell(f *Presence, now time.Time) {
	m := &Message{Room: p.room.name, Signal: true, Time: now, Presence: f, budget: p.hub.budget}
	f.carrier = m
	p.room.append(m)
}

// announce sends a snapshot to all, since the mode has changed.
func (p *presence) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outdate()
	if !p.closed && p.watched() {
		p.tell(p.look().sorted(), time.Now())
	}
}

// number is how many are there.
func (p *presence) number() int { return len(p.members) + p.others }

func (p *presence) position() Position { return Position{Epoch: p.hub.epoch, Offset: p.flushed} }
