package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// room is a room while somebody reads it or something in it is kept. Code that works on
// one holds a pin, so that it is not forgotten meanwhile.
type room struct {
	name   string
	policy atomic.Pointer[settings.Policy]
	pins   atomic.Int64 // raised under Hub.mu only
	used   atomic.Int64 // when it was last used, nanoseconds since the hub was made
	ranked int64        // the same when it was last looked at, its rank in its block; guarded by Hub.mu
	index  int          // in its block, guarded by Hub.mu
	block  *block       // that it counts in, or has counted in; changed with Hub.mu and mu held
	counts bool         // it does; likewise

	open    sync.Once
	opened  chan struct{} // closed when openErr and stop are set; nil: they are when open has been done
	openErr error
	stop    func() // ends the engine's subscription

	reads roomReads // of the engine's log

	watchers   atomic.Int64 // subscriptions that get presence frames
	attendance attendance

	mu          sync.Mutex
	ring        ring
	lastReset   Position // up to where the engine could not deliver last; zero: it could
	resetReason GapReason
	tail        *readPosition      // the ring's end, shared by all who have read that far; nil: not asked for yet
	groups      []*SubscriberGroup // one for each dispatcher that has members here
	subscribers int
}

// subscribe opens the room at the engine, unless somebody has, and waits for that until ctx ends. The room
// outlives the request that comes first, so it is opened for all. Called with the room pinned.
func (r *room) subscribe(ctx context.Context, h *Hub) error {
	r.open.Do(func() {
		if h.keeper != nil {
			r.openAt(h)
			return
		}
		r.opened = make(chan struct{})
		r.pins.Add(1) // there is another one, so nobody forgets the room meanwhile
		if !h.reads.spawn(func() {
			defer close(r.opened)
			defer r.unpin() // those who wait have pins of their own
			r.openAt(h)
		}) {
			r.unpin()
			r.openErr = ErrDraining
			close(r.opened)
		}
	})
	if r.opened != nil {
		select {
		case <-r.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.openErr
}

// openAt opens the room at the engine.
func (r *room) openAt(h *Hub) {
	r.openErr = errPanicked // the result if the engine panics
	defer h.survive("panic while a room is opened", "room", r.name)
	tail, stop, err := h.engine.Subscribe(h.reads.ctx, r.name, r)
	if err != nil {
		r.openErr = err
		return
	}
	lost := loss{offset: tail.Offset} // at most: only the memory engine says more exactly
	if memory, ok := h.engine.(*Memory); ok {
		lost = memory.before(r.name)
	}
	h.engine.Retain(r.name, r.policy.Load().History)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.open(tail, lost)
	r.stop, r.openErr = stop, nil
}

// errPanicked is the error of an engine that has panicked.
var errPanicked = errors.New("the engine has panicked")

// close ends the subscription, or sees to it that none begins. Nobody is opening the room.
func (r *room) close() {
	r.open.Do(func() { r.openErr = ErrDraining })
	if r.stop != nil {
		r.stop()
	}
	r.attendance.close()
	r.clear()
}

// Deliver implements [Reader]: it takes what the engine delivers and notifies the
// dispatchers. Its cost does not grow with the number of subscriptions.
func (r *room) Deliver(m *Message) {
	now := m.Time
	if h := r.attendance.hub; h != nil && h.keeper == nil && m.Presence == nil {
		now = time.Now() // the engine's clock is another one
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.push(m, now)
	r.ring.trim(now, r.subscribers > 0)
	r.notify()
}

// Reset implements [Reader]: the ring begins anew at tail, so that every session reads
// from the engine, which knows what is missing.
func (r *room) Reset(tail Position, reason GapReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.clear()
	r.ring.reset(tail)
	r.lastReset, r.resetReason = tail, reason
	r.notify()
}

// notify notifies the dispatchers that there is something to read. Called with mu held.
func (r *room) notify() {
	r.tail = nil
	for _, f := range r.groups {
		if !f.due {
			f.due = true
			f.dispatcher.Notify(f)
		}
	}
}

// tailPosition returns where a reader stands that has read all. Called with mu held.
func (r *room) tailPosition() *readPosition {
	if r.tail == nil {
		r.tail = &readPosition{pos: r.ring.newest, seq: r.ring.next(), live: true}
	}
	return r.tail
}

// read answers q from the ring, if q asks for what comes after a cursor that
// the ring covers.
func (r *room) read(q Query) (Page, bool) {
	if q.InvalidCursor || q.After.IsZero() {
		return Page{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.ring.covers(q.After, now) || q.After.Offset > r.ring.newest.Offset {
		return Page{}, false
	}
	return r.ring.read(q.After, q.Limit, now), true
}

// readAll answers q from the ring or, if that does not reach back far enough, from the
// engine's log.
func (r *room) readAll(ctx context.Context, e Engine, q Query) (Page, error) {
	if page, ok := r.read(q); ok {
		return page, nil
	}
	page, err := e.Read(ctx, r.name, q)
	if gap := page.Gap; err == nil && gap != nil && gap.Reason == message.GapExpired {
		page = r.mend(page, q)
	}
	return page, err
}

// mend returns the page, or one from the ring if that still has some of what its
// gap is about.
func (r *room) mend(page Page, q Query) Page {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, gap := time.Now(), *page.Gap
	floor := r.ring.floor(now)
	if floor.Epoch != gap.To.Epoch || floor.Offset >= gap.To.Offset {
		return page
	}
	if q.After.Offset >= floor.Offset {
		return r.ring.read(q.After, q.Limit, now)
	}
	gap.To = floor
	page = r.ring.read(floor, q.Limit, now)
	page.Gap = &gap
	return page
}

// enter adds a member to the group of its dispatcher.
func (r *room) enter(m *Subscription, c Dispatcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subscribers++; r.subscribers == 1 {
		r.block.vacant.Add(-1)
	}
	i := slices.IndexFunc(r.groups, func(f *SubscriberGroup) bool { return f.dispatcher == c })
	if i < 0 {
		i = len(r.groups)
		r.groups = append(r.groups, &SubscriberGroup{room: r, dispatcher: c, at: r.tailPosition()})
	}
	r.groups[i].add(m)
	if m.session.who().Presence != PresenceNothing {
		r.watchers.Add(1)
	}
}

// leave takes a member away.
func (r *room) leave(m *Subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.at.Store(nil)
	if m.session.who().Presence != PresenceNothing {
		r.watchers.Add(-1)
	}
	if r.subscribers--; r.subscribers == 0 {
		r.block.vacant.Add(1)
	}
	if m.group.remove(m) > 0 {
		return
	}
	r.groups = slices.DeleteFunc(r.groups, func(f *SubscriberGroup) bool { return f == m.group })
	if len(r.groups) == 0 {
		r.groups = nil
	}
}

// reach returns p, or where the ring begins if that is before p: what the log
// has let go may still be here.
func (r *room) reach(p Position) Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.ring.floor(time.Now()); f.Epoch == p.Epoch && f.Offset < p.Offset {
		return f
	}
	return p
}

// reasonFor returns why a live session that stands at p misses what the log has let go.
func (r *room) reasonFor(p Position) GapReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.Epoch == r.lastReset.Epoch && p.Offset < r.lastReset.Offset {
		return r.resetReason
	}
	return message.GapSlow
}

// sweep trims the ring and reports whether the room may be forgotten, as far
// as the hub knows.
func (r *room) sweep(now time.Time) (idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.trim(now, r.subscribers > 0)
	return r.subscribers == 0 && r.ring.entries.Len() == 0
}

// occupied reports whether the room has members.
func (r *room) occupied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subscribers > 0
}

// clear lets go of the whole ring.
func (r *room) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.clear()
}

// evict lets go of m and what is older.
func (r *room) evict(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.evict(m)
}
