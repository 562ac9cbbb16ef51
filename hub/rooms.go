package hub

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
)

// The part of the hub that makes rooms and forgets them.

// acquire returns the room, pinned, making it if need be for caller c, or for the operator if that is nil. It returns
// ErrNoRoom, ErrDraining, a *limit.Error, the context's error, or the engine's.
func (h *Hub) acquire(ctx context.Context, name string, c *Caller) (*room, error) {
	r, err := h.pinOrMake(ctx, name, c)
	if err != nil {
		return nil, err
	}
	h.use(r)
	if err := r.subscribe(ctx, h); err != nil {
		if ctx.Err() == nil { // otherwise others may still wait for it
			h.mu.Lock()
			if h.rooms[name] == r {
				h.drop(r)
			}
			h.mu.Unlock()
		}
		r.unpin()
		return nil, err
	}
	return r, nil
}

// pinOrMake returns the room, pinned. While one of the name is being forgotten, it waits.
func (h *Hub) pinOrMake(ctx context.Context, name string, c *Caller) (*room, error) {
	for {
		r, leaving := h.pin(name)
		if r == nil && leaving == nil {
			if err := h.mayMake(ctx, name, c); err != nil {
				return nil, err
			}
			var err error
			if r, leaving, err = h.makeRoom(name, c); err != nil {
				return nil, err
			}
		}
		if leaving == nil {
			return r, nil
		}
		select {
		case <-leaving:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lookUp returns the room, or nil if there is none. Without a pin it may be
// forgotten meanwhile.
func (h *Hub) lookUp(name string) *room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[name]
}

// pin returns the room, pinned, or nil if there is none. If one of the name is being
// forgotten, it returns the channel that is closed when that is done.
func (h *Hub) pin(name string) (r *room, leaving chan struct{}) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, nil
	}
	if r = h.rooms[name]; r != nil {
		r.pins.Add(1)
	}
	return r, h.leaving[name]
}

// use notes that the room is used now. The clock is the monotonic one: a step of
// the other would let rooms in use make way.
func (h *Hub) use(r *room) { r.used.Store(int64(time.Since(h.born))) }

func (r *room) unpin() { r.pins.Add(-1) }

// mayMake returns why the caller may not make a room now, and spends what that costs.
func (h *Hub) mayMake(ctx context.Context, name string, c *Caller) error {
	if c == nil {
		return nil
	}
	if err := c.mayCreate(ctx, name); err != nil {
		return err
	}
	return h.payTogether(c.who(), limit.Create, h.settings.Load().Rate, name, time.Now())
}

// makeRoom makes a room, or finds that somebody else has, and pins it, as pin does.
func (h *Hub) makeRoom(name string, c *Caller) (_ *room, leaving chan struct{}, _ error) {
	client := new(Client)
	if c != nil {
		client = c.who()
	}
	var gone *room
	defer func() { // without the lock
		if gone != nil {
			h.forget(gone)
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, ErrDraining
	}
	if leaving = h.leaving[name]; leaving != nil {
		return nil, leaving, nil
	}
	r := h.rooms[name]
	if r == nil {
		var err error
		if gone, err = h.makeWayFor(name, client); err != nil {
			return nil, nil, err
		}
		r = &room{name: name, ring: ring{budget: h.budget, born: h.born}}
		r.attendance.room, r.attendance.hub = r, h
		p := h.settings.Load().Policy(name) // Configure may have been here meanwhile
		r.policy.Store(&p)
		h.use(r)
		h.keep(r)
	}
	r.pins.Add(1)
	return r, nil, nil
}

// leave drops a room without pins and subscribers, which is then to be forgotten. From now
// on, pin makes callers that want the room wait. Called with mu held.
func (h *Hub) leave(r *room) {
	h.drop(r)
	h.leaving[r.name] = make(chan struct{})
}

// left ends what leave began. Called with mu held.
func (h *Hub) left(r *room) {
	close(h.leaving[r.name])
	delete(h.leaving, r.name)
}

// forget ends a room that has left the hub: it lets go of all that is kept of the room,
// and of its log if that lasts only as long as this process. That may take a while, so
// it is called without mu.
func (h *Hub) forget(r *room) {
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.left(r)
	}()
	r.close()
	h.noteDeparture(r)
	h.engine.Forget(r.name, true)
}

// sweepUntilStopped forgets what has expired, now and then.
func (h *Hub) sweepUntilStopped() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.stop:
			return
		case now := <-tick.C:
			h.sweepSafely(now)
		}
	}
}

// sweepSafely sweeps; a panic must not take the whole server with it.
func (h *Hub) sweepSafely(now time.Time) {
	defer h.survive("panic in the hub's janitor")
	h.sweep(now)
}

// sweep lets go of everything whose time is over.
func (h *Hub) sweep(now time.Time) {
	for _, r := range h.list() {
		h.engine.Retain(r.name, r.policy.Load().History)
		if !r.sweep(now) || r.attendance.lasts() {
			continue
		}
		h.forgetIdle(r, now)
	}
	h.sweepLimits(now)
	h.relieve()
	h.logDepartures(now)
}

// forgetIdle forgets the room, if that still may be and nothing is lost by it.
func (h *Hub) forgetIdle(r *room, now time.Time) {
	h.mu.Lock()
	// Only now can nobody pin it, and nobody come who was not there yet.
	idle := h.rooms[r.name] == r && r.pins.Load() == 0 && r.sweep(now) && !r.attendance.lasts()
	if idle {
		h.leave(r)
	}
	h.mu.Unlock()
	if !idle {
		return
	}
	forgotten := false
	defer func() {
		if !forgotten { // or the engine has panicked
			h.mu.Lock()
			defer h.mu.Unlock()
			h.keep(r)
			h.left(r)
		}
	}()
	if forgotten = h.engine.Forget(r.name, false); forgotten {
		h.forget(r)
	}
}

// list returns the rooms: at least those that are there all the while.
func (h *Hub) list() (all []*room) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, r := range h.rooms {
		if all = append(all, r); len(all)%sweepChunk == 0 {
			breathe(h.mu.RLocker())
		}
	}
	return all
}

// breathe lets others have the lock for a moment. A map may be changed while it is
// walked through.
func breathe(l sync.Locker) {
	l.Unlock()
	l.Lock()
}

// relieve lets go of the oldest messages until the budget holds.
func (h *Hub) relieve() {
	for m := h.budget.Relieve(); m != nil; m = h.budget.Relieve() {
		if h.keeper != nil && !m.Signal {
			h.keeper.Evict(m.Room, m.Offset)
		}
		if r := h.lookUp(m.Room); r != nil && (m.Presence == nil || !r.attendance.evict(m)) {
			r.evict(m)
		}
		h.budget.Drop(m) // in case it is in neither: nothing may hold the loop
	}
}
