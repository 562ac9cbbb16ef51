package hub

import (
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/presence"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of a room that knows who is there: it gives a presence.Roster its lock, its
// timer, its bounds, and the frames that are sent of it.

// exactSnapshots is how many members a room may have and still build a fresh snapshot
// for each reader.
const exactSnapshots = 64

// presenceEvery is the least time between two presence frames of a room.
const presenceEvery = time.Second

// attendance is who is in a room, and what has been sent of it.
type attendance struct {
	room *room
	hub  *Hub

	mu      sync.Mutex
	roster  presence.Roster
	charged int64     // of the roster's bytes, in the hub's budget
	counted int       // of the roster's leases that end, in Hub.fading
	latest  *snapshot // until the next frame
	flushed uint64    // number of the last frame, hub-wide
	next    time.Time // when the next frame may go
	settles time.Time // when members have come back that were here before the hub began; zero: they have
	timer   *time.Timer
	due     time.Time // when timer fires; zero: it does not
	closed  bool
	places  places
}

// hold gives the client's connection a lease that a session holds, and shows state
// unless it is nil. comes says that the client has come now, and may take a place that is kept, and attended that
// the session has called attend. It returns a *limit.Error with limit.ErrFull if the client would be one
// member too many.
func (p *attendance) hold(c *Client, state []byte, comes, attended bool) (*presence.Lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.hub.memberID(c)
	if err := p.admit(id, c); err != nil {
		return nil, err
	}
	if attended {
		p.roster.Count(-1, false)
	}
	var l *presence.Lease
	p.seat(comes, c, func() { l = p.roster.Hold(id, userName(c.User), c.ID, state) })
	p.follow()
	return l, nil
}

// admit returns the refusal of a member that would be one too many, or nil. Called with
// mu held.
func (p *attendance) admit(id string, c *Client) error {
	most := p.room.policy.Load().MaxMembers
	if p.roster.Members() < most || p.roster.Has(id) {
		return nil
	}
	return p.hub.bite(limit.Full("max_members", most), c, p.room.name)
}

// move gives a lease that a session holds to the client that it is from now on.
func (p *attendance) move(l *presence.Lease, c *Client) *presence.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.roster.Move(l, p.hub.memberID(c), userName(c.User), c.ID)
	p.follow()
	return moved
}

// update shows another state of a lease that a session holds.
func (p *attendance) update(l *presence.Lease, state []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Show(l, state)
	p.follow()
}

// unshow takes back the state of a lease that a session holds, and returns another lease
// for it: the client stays a member.
func (p *attendance) unshow(c *Client, l *presence.Lease) *presence.Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Release(l, WhyLeft, time.Time{})
	l = p.roster.Hold(p.hub.memberID(c), userName(c.User), c.ID, nil)
	p.follow()
	return l
}

// attend adds n, which may be negative, to the number of sessions that are not members. comes is that of hold.
func (p *attendance) attend(n int, comes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if comes && p.places.take() {
		n-- // it has been counted all the while
	}
	if n != 0 {
		p.roster.Count(n, p.room.watchers.Load() > 0)
	}
	p.follow()
}

// release takes back what hold gave to a session. The lease stays for the grace.
func (p *attendance) release(l *presence.Lease, why Why, grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Release(l, why, p.endOf(grace, false))
	p.follow()
}

// renew gives a connection without a session a lease for so long, and shows state
// unless it is nil. It returns the same error as hold.
func (p *attendance) renew(c *Client, state []byte, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := p.hub.memberID(c)
	if err := p.admit(id, c); err != nil {
		return err
	}
	ends := p.endOf(d, p.roster.Ends(id, c.ID))
	p.seat(true, c, func() { p.roster.Renew(id, userName(c.User), c.ID, state, ends) })
	p.follow()
	return nil
}

// withdraw ends a lease at once or, if a session holds it, with that.
func (p *attendance) withdraw(c *Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Withdraw(p.hub.memberID(c), c.ID)
	p.follow()
}

// endOf returns when a lease ends that lasts so long: at once, the zero time, if as many
// end in the hub as may be connected, since what comes and goes quickly must not fill the
// memory, or if nothing would end it. Unless the lease has a place in Hub.fading it takes
// one, which follow gives back if it is not needed. Called with mu held, as are those below.
func (p *attendance) endOf(d time.Duration, placed bool) time.Time {
	if d <= 0 || p.closed {
		return time.Time{}
	}
	if placed {
		return time.Now().Add(d)
	}
	if p.hub.fading.Add(1) > int64(p.hub.settings.Load().MaxConnections) {
		p.hub.fading.Add(-1)
		return time.Time{}
	}
	p.counted++
	return time.Now().Add(d)
}

// follow does what the roster's changes ask for.
func (p *attendance) follow() {
	p.account()
	p.arm()
}

// account carries the roster's figures into the hub's.
func (p *attendance) account() {
	if n := p.roster.Bytes() - p.charged; n != 0 {
		p.charged += n
		p.hub.budget.Show(p.room.name, n)
	}
	if n := p.roster.Ending() - p.counted; n != 0 {
		p.counted += n
		p.hub.fading.Add(int64(n))
	}
}

// arm sees to it that tick runs when there is something to do.
func (p *attendance) arm() {
	if p.roster.Changed() {
		p.wakeAt(later(p.next, time.Now()))
	}
	if end, ok := p.roster.NextEnd(); ok {
		p.wakeAt(end)
	}
	if len(p.places) > 0 {
		p.wakeAt(p.places[0].ends)
	}
	if !p.settles.IsZero() {
		p.wakeAt(later(p.next, p.settles))
	}
}

// wakeAt sees to it that tick runs at t.
func (p *attendance) wakeAt(t time.Time) {
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

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// close ends the timer and forgets the members that only a lease keeps. A timer that
// fires at this moment finds nothing to do.
func (p *attendance) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	p.outdate()
	p.roster, p.places = presence.Roster{}, nil
	p.account()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// tick ends the leases whose time is over, and sends a frame if it is time.
func (p *attendance) tick() {
	defer p.hub.survive("panic in a room's presence")
	for !p.step() {
	}
	p.hub.relieve() // what a frame keeps may be more than there is room for
}

// step does some of tick's work, so that others may have the lock while many leave, and
// reports whether that was the rest.
func (p *attendance) step() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.hub.draining.Load() { // nobody is told that those leave who are sent away
		return true
	}
	p.due = time.Time{}
	now := time.Now()
	if n := p.places.expire(now); n > 0 {
		p.roster.Count(-n, p.room.watchers.Load() > 0)
	}
	more := p.roster.Expire(now, sweepChunk)
	p.account()
	if more {
		return false
	}
	if (p.roster.Changed() || !p.settles.IsZero()) && !p.next.After(now) {
		p.flush(now)
	}
	p.arm()
	return true
}

// flush sends a frame of what has changed.
func (p *attendance) flush(now time.Time) {
	p.next = now.Add(presenceEvery)
	p.flushed = p.hub.nextFrame()
	p.outdate()
	switch {
	case !p.watched():
	case !p.settles.IsZero():
		p.send(p.look().sorted(), now) // those who have come back know only what was before
	default:
		p.send(p.changes(), now)
	}
	p.settles = time.Time{}
	p.roster.Settle()
}

// nextFrame returns the number of a frame, above all before: by the clock, so that it tells nobody
// how much there is in other rooms.
func (h *Hub) nextFrame() uint64 {
	for {
		last := h.flushed.Load()
		n := max(last+1, uint64(time.Since(h.born).Microseconds()))
		if h.flushed.CompareAndSwap(last, n) {
			return n
		}
	}
}

// changes returns what has happened since the last frame.
func (p *attendance) changes() *Presence {
	f := &Presence{Room: p.room.name, Members: p.roster.Len(), Cursor: p.position()}
	if f.Numbers = p.room.policy.Load().Presence.Mode != settings.PresenceOn; !f.Numbers {
		f.Enter, f.Update, f.Leave = p.roster.Changes()
	}
	return f
}

// watched reports whether any session receives presence frames.
func (p *attendance) watched() bool {
	return p.room.watchers.Load() > 0 && p.room.policy.Load().Presence.Mode != settings.PresenceOff
}

// send puts the frame into the room's delivery window.
func (p *attendance) send(f *Presence, now time.Time) {
	m := new(Message)
	f.Carry(m, p.hub.budget, now)
	p.room.Deliver(m)
}

// announce sends a snapshot to all, since the mode has changed.
func (p *attendance) announce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outdate()
	if !p.closed && p.watched() {
		p.flushed = p.hub.nextFrame() // or who has a snapshot of the last one would not get it
		p.send(p.look().sorted(), time.Now())
	}
}

func (p *attendance) position() Position { return Position{Epoch: p.hub.epoch, Offset: p.flushed} }

// lasts reports whether somebody is still there by a lease alone.
func (p *attendance) lasts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roster.Ending()+len(p.places) > 0
}
