package hub

import (
	"context"
	"runtime/debug"
	"sync"
	"time"
)

// The part of the hub that makes rooms and forgets them.

// acquire returns the room, pinned, making it if need be for client c. It returns
// ErrDraining, a *LimitError, or the engine's error.
func (h *Hub) acquire(ctx context.Context, name string, c *Client) (*room, error) {
	r := h.pin(name)
	if r == nil {
		var err error
		if r, err = h.makeRoom(name, c); err != nil {
			return nil, err
		}
	}
	h.use(r)
	if err := r.subscribe(ctx, h.engine); err != nil {
		h.mu.Lock()
		if h.rooms[name] == r {
			h.drop(r)
		}
		h.mu.Unlock()
		r.unpin()
		return nil, err
	}
	return r, nil
}

// lookUp returns the room, or nil if there is none. Without a pin it may be
// forgotten meanwhile.
func (h *Hub) lookUp(name string) *room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.rooms[name]
}

// pin returns the room, pinned, or nil if there is none.
func (h *Hub) pin(name string) *room {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil
	}
	r := h.rooms[name]
	if r != nil {
		r.pins.Add(1)
	}
	return r
}

// use notes that the room is used now. The clock is the monotonic one: a step of
// the other would let rooms in use make way.
func (h *Hub) use(r *room) { r.used.Store(int64(time.Since(h.born))) }

func (r *room) unpin() { r.pins.Add(-1) }

// makeRoom makes a room, or finds that somebody else has.
func (h *Hub) makeRoom(name string, c *Client) (*room, error) {
	set := h.settings.Load()
	var refused error
	h.addresses.with(c.Address, func(a *address) {
		if wait, ok := a.rooms.take(set.Rate, time.Now()); !ok {
			refused = h.biteAddress(rateError("rate of new rooms", set.Rate, wait), c, name)
		}
	})
	if refused != nil {
		return nil, refused
	}
	var gone *room
	defer func() { h.bury(gone) }() // without the lock
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrDraining
	}
	r := h.rooms[name]
	if r == nil {
		if len(h.rooms) >= set.MaxRooms {
			if gone = h.makeWay(); gone == nil {
				return nil, h.bite(fullError("max_rooms", set.MaxRooms), c, name)
			}
		}
		r = &room{name: name, ring: ring{budget: h.budget}, vacant: &h.vacant}
		r.attendance.room, r.attendance.hub = r, h
		p := h.settings.Load().policy(name) // Configure may have been here meanwhile
		r.policy.Store(&p)
		h.keep(r)
	}
	r.pins.Add(1)
	return r, nil
}

// keep takes the room into the hub. Called with mu held.
func (h *Hub) keep(r *room) {
	h.rooms[r.name] = r
	h.use(r)
	r.ranked = r.used.Load()
	h.byUse.Add(r)
	h.vacant.Add(1)
}

// drop undoes keep, for a room without subscribers. Called with mu held.
func (h *Hub) drop(r *room) {
	delete(h.rooms, r.name)
	h.byUse.Remove(r.index)
	h.vacant.Add(-1)
}

// makeWay forgets the least recently used room without subscribers, and returns it for
// bury; nil if there is none. Called with mu held.
func (h *Hub) makeWay() *room {
	if h.vacant.Load() <= 0 {
		return nil // and no need to look
	}
	now := int64(time.Since(h.born))
	for range 2*len(h.byUse) + 1 { // each is ranked anew once, then it is its turn
		// Ranks are not kept up to date, only looked at again here.
		r := h.byUse[0]
		used, idle := r.used.Load(), r.pins.Load() == 0 && !r.occupied()
		switch {
		case !idle:
			r.ranked = max(now, r.ranked) + 1 // somebody is using it
		case used > r.ranked:
			r.ranked = used
		default:
			h.forget(r)
			return r
		}
		h.byUse.Fix(0)
	}
	return nil
}

// Before implements ranking.Item: by when the room was used last, as far as that has
// been looked at.
func (r *room) Before(other *room) bool { return r.ranked < other.ranked }

// Placed implements ranking.Item.
func (r *room) Placed(index int) { r.index = index }

// forget takes the room out of the hub and, if its engine keeps its logs here,
// out of the engine. Called with mu held, for a room without pins or members; bury
// does the rest.
func (h *Hub) forget(r *room) {
	if r.stop != nil {
		r.stop()
	}
	if f, ok := h.engine.(forgetter); ok {
		f.Forget(r.name, true)
	}
	r.attendance.close()
	h.drop(r)
}

// bury lets go of what a forgotten room has kept, if there is one. That takes the
// longer the more it is, so it is called without mu.
func (h *Hub) bury(r *room) {
	if r == nil {
		return
	}
	r.clear()
	if f, ok := h.engine.(forgetter); ok {
		f.bury()
	}
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
	defer func() {
		if p := recover(); p != nil {
			h.log.Load().Error("panic in the hub's janitor", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	h.sweep(now)
}

// sweep lets go of everything whose time is over.
func (h *Hub) sweep(now time.Time) {
	for _, r := range h.list() {
		h.engine.Retain(r.name, r.policy.Load().history)
		if !r.sweep(now) || r.attendance.lasts() {
			continue
		}
		h.forgetIdle(r, now)
	}
	h.addresses.sweep(now)
	h.keys.sweep(now)
	h.relieve()
}

// forgetIdle forgets the room, if that still may be.
func (h *Hub) forgetIdle(r *room, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Only now can nobody pin it, and nobody come who was not there yet.
	if h.rooms[r.name] != r || r.pins.Load() > 0 || !r.sweep(now) || r.attendance.lasts() {
		return
	}
	if f, local := h.engine.(forgetter); !local || f.Forget(r.name, false) {
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
	for m := h.budget.relieve(); m != nil; m = h.budget.relieve() {
		if f, ok := h.engine.(forgetter); ok && !m.Signal {
			f.evict(m.Room, m.Offset)
		}
		if r := h.lookUp(m.Room); r != nil && (m.Presence == nil || !r.attendance.evict(m)) {
			r.evict(m)
		}
		h.budget.force(m) // in case it is in neither: nothing may hold the loop
	}
}
