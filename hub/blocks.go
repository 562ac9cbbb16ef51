package hub

import (
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/ranking"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that counts rooms, and makes way for new ones.

// block is the rooms that count together: those of one quota or, without a pattern, all
// rooms that have none. A block without rooms is forgotten.
type block struct {
	pattern string
	byUse   ranking.Heap[*room] // the least recently used first; guarded by Hub.mu
	vacant  atomic.Int64        // rooms without members
}

// blockOf returns the block in which the room counts, making it if need be. Called with mu
// held, as are those below.
func (h *Hub) blockOf(r *room) *block {
	pattern := h.settings.Load().RoomsQuota(r.name).Pattern
	b := h.blocks[pattern]
	if b == nil {
		b = &block{pattern: pattern}
		h.blocks[pattern] = b
	}
	return b
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
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.block = b; r.subscribers == 0 {
		b.vacant.Add(1)
	}
}

// strike undoes enrol.
func (h *Hub) strike(r *room) {
	b := r.block
	if b.byUse.Remove(r.index); len(b.byUse) == 0 {
		delete(h.blocks, b.pattern)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subscribers == 0 {
		b.vacant.Add(-1)
	}
}

// regroup moves the room to another block if its quota is another one now. It takes mu.
func (h *Hub) regroup(r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.name] == r && r.block.pattern != h.settings.Load().RoomsQuota(r.name).Pattern {
		h.strike(r)
		h.enrol(r)
	}
}

// divide gives the rooms their shares of the budget.
func (h *Hub) divide(s *settings.Settings) {
	if len(s.MemoryQuotas()) == 0 {
		h.budget.Divide(nil)
		return
	}
	h.budget.Divide(func(room string) (share string, most int64) {
		q := s.MemoryQuota(room)
		return q.Pattern, int64(q.Max)
	})
}

// makeWayFor makes sure that there may be one more room, of that name. It returns the room
// that has made way, for forget, and nil if none had to; or the refusal. In a full block one
// of its own rooms makes way, otherwise the least recently used one of all.
func (h *Hub) makeWayFor(name string, c *Client) (gone *room, err error) {
	set := h.settings.Load()
	q := set.RoomsQuota(name)
	if b := h.blocks[q.Pattern]; q.Max > 0 && b != nil && len(b.byUse) >= q.Max {
		if gone = h.makeWay(b); gone == nil {
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

// makeWay drops the least recently used room without subscribers, of the block or, if that is
// nil, of all, and returns it for forget; nil if there is none.
func (h *Hub) makeWay(in *block) *room {
	now := int64(time.Since(h.born))
	for range 2*len(h.rooms) + 1 { // each is ranked anew once, then it is its turn
		b := in
		if b == nil {
			b = h.leastUsed()
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
// looked at, among the blocks that have rooms without subscribers.
func (h *Hub) leastUsed() (least *block) {
	for _, b := range h.blocks {
		if b.vacant.Load() > 0 && (least == nil || b.byUse[0].Before(least.byUse[0])) {
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
