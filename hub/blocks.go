package hub

import (
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/ranking"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that counts rooms, and makes way for new ones.

// blockKey says which rooms count together: those of one quota, without a pattern all rooms that
// have none. Declared rooms are in a block of their own, since they make way last.
type blockKey struct {
	pattern  string
	declared bool
}

// block is the rooms with one key. A block without rooms is forgotten.
type block struct {
	key    blockKey
	byUse  ranking.Heap[*room] // the least recently used first; guarded by Hub.mu
	vacant atomic.Int64        // rooms without members
}

// keyOf returns the key of the block in which the room of that name counts.
func (h *Hub) keyOf(name string) blockKey {
	s := h.settings.Load()
	return blockKey{s.RoomsQuota(name).Pattern, s.Declared(name)}
}

// blockOf returns the block in which the room counts, making it if need be. Called with mu
// held, as are those below.
func (h *Hub) blockOf(r *room) *block {
	key := h.keyOf(r.name)
	b := h.blocks[key]
	if b == nil {
		b = &block{key: key}
		h.blocks[key] = b
	}
	return b
}

// roomsOf returns how many rooms have the quota with the pattern.
func (h *Hub) roomsOf(pattern string) (n int) {
	for _, declared := range inTurn {
		if b := h.blocks[blockKey{pattern, declared}]; b != nil {
			n += len(b.byUse)
		}
	}
	return n
}

// keep takes the room into the hub.
func (h *Hub) keep(r *room) {
	h.rooms[r.name] = r
	r.ranked = r.used.Load()
	h.enrol(r)
}

// drop undoes keep, for a room without subscribers.
func (h *Hub) drop(r *room) {
	delete(h.rooms, r.name)
	h.strike(r)
}

// enrol counts the room in its block.
func (h *Hub) enrol(r *room) {
	b := h.blockOf(r)
	b.byUse.Add(r)
	r.countIn(b)
}

// strike undoes enrol.
func (h *Hub) strike(r *room) {
	h.remove(r)
	r.countIn(nil)
}

// remove takes the room out of its block, where its members still count.
func (h *Hub) remove(r *room) {
	b := r.block
	if b.byUse.Remove(r.index); len(b.byUse) == 0 {
		delete(h.blocks, b.key)
	}
}

// countIn has the room's members, or that there are none, count in a block; nil: in none, since the room has been dropped. They
// come and go meanwhile, so nothing may be between the two counts.
func (r *room) countIn(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subscribers == 0 {
		if r.counts {
			r.block.vacant.Add(-1)
		}
		if b != nil {
			b.vacant.Add(1)
		}
	}
	if r.counts = b != nil; r.counts {
		r.block = b
	}
}

// regroup moves the room to another block if it counts in another one now. It takes mu.
func (h *Hub) regroup(r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.name] == r && r.block.key != h.keyOf(r.name) {
		h.remove(r)
		h.enrol(r)
	}
}

// divide gives the rooms their shares of the budget, and tells it which are declared.
func (h *Hub) divide(s *settings.Settings) {
	var shareOf func(room string) (string, int64)
	if len(s.MemoryQuotas()) > 0 {
		shareOf = func(room string) (share string, most int64) {
			q := s.MemoryQuota(room)
			return q.Pattern, int64(q.Max)
		}
	}
	var isDeclared func(room string) bool
	if s.Declares() {
		isDeclared = s.Declared
	}
	h.budget.Divide(shareOf, isDeclared)
}

// makeWayFor makes sure that there may be one more room, of that name. It returns the room
// that has made way, for forget, and nil if none had to; or the refusal. In a full block one
// of its own rooms makes way, otherwise the least recently used one of all; declared rooms
// only where there is no other.
func (h *Hub) makeWayFor(name string, c *Client) (gone *room, err error) {
	set := h.settings.Load()
	q := set.RoomsQuota(name)
	if q.Max > 0 && h.roomsOf(q.Pattern) >= q.Max {
		if gone = h.makeWay(&q); gone == nil {
			return nil, h.biteQuota("max_rooms", q, c, name)
		}
		return gone, nil
	}
	if len(h.rooms) < set.MaxRooms {
		return nil, nil
	}
	if gone = h.makeWay(nil); gone == nil {
		return nil, h.bite(limit.Full("max_rooms", set.MaxRooms), c, name)
	}
	return gone, nil
}

// inTurn says which rooms make way before others: whether they are declared.
var inTurn = [...]bool{false, true}

// makeWay drops the room without subscribers that is the next to make way, of those with the
// quota or, if that is nil, of all, and returns it for forget; nil if there is none.
func (h *Hub) makeWay(of *settings.Quota) *room {
	for _, declared := range inTurn {
		if r := h.makeWayAmong(of, declared); r != nil {
			return r
		}
	}
	return nil
}

// makeWayAmong drops the least recently used of these rooms.
func (h *Hub) makeWayAmong(of *settings.Quota, declared bool) *room {
	now := int64(time.Since(h.born))
	for range 2*len(h.rooms) + 1 { // each is ranked anew once, then it is its turn
		var b *block
		if of != nil {
			b = h.blocks[blockKey{of.Pattern, declared}]
		} else {
			b = h.leastUsed(declared)
		}
		if b == nil || b.vacant.Load() <= 0 {
			return nil // and no need to look
		}
		// Ranks are not kept up to date, only looked at again here.
		r := b.byUse[0]
		used, idle := r.used.Load(), r.pins.Load() == 0 && !r.occupied()
		switch {
		case !idle:
			r.ranked = max(now, r.ranked) + 1 // somebody is using it
		case used > r.ranked:
			r.ranked = used
		default:
			h.leave(r)
			return r
		}
		b.byUse.Fix(0)
	}
	return nil
}

// leastUsed returns the block with the room that comes first, as far as that has been
// looked at, among the blocks that have rooms without subscribers, and declared ones or others.
func (h *Hub) leastUsed(declared bool) (least *block) {
	for key, b := range h.blocks {
		if key.declared == declared && b.vacant.Load() > 0 && (least == nil || b.byUse[0].Before(least.byUse[0])) {
			least = b
		}
	}
	return least
}

// Before implements ranking.Item: by when the room was used last, as far as that has
// been looked at.
func (r *room) Before(other *room) bool { return r.ranked < other.ranked }

// Placed implements ranking.Item.
func (r *room) Placed(index int) { r.index = index }
