package hub

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Waker is what a room knows of its readers. Wake says that there is something
// to be read in the room (or, with "", that the session has a notice or has
// ended). It is called with locks held: it must neither block nor call the hub
// or a session. One Waker may stand for many sessions; the room calls it once.
type Waker interface{ Wake(room string) }

// Bell is the Waker of a session that waits in a handler: a channel of
// capacity 1 which gets a value when there is something to read.
type Bell chan struct{}

// Wake implements [Waker].
func (b Bell) Wake(string) {
	select {
	case b <- struct{}{}:
	default:
	}
}

// room is a room while somebody reads it or something in it is kept. Whoever
// works on one holds a pin, so that it is not forgotten meanwhile.
type room struct {
	name   string
	policy atomic.Pointer[policy]
	pins   atomic.Int64 // raised under Hub.mu only
	used   atomic.Int64 // when it was last used, Unix nanoseconds

	open    sync.Once
	openErr error
	stop    func() // ends the engine's subscription

	mu      sync.Mutex
	ring    ring
	readers []readers
	members int
}

// readers is one Waker and how many of the room's sessions it stands for.
type readers struct {
	waker Waker
	n     int
}

// subscribe opens the room at the engine; the first caller does it.
func (r *room) subscribe(ctx context.Context, e Engine) error {
	r.open.Do(func() {
		var tail Position
		tail, r.stop, r.openErr = e.Subscribe(ctx, r.name, r.append)
		if r.openErr != nil {
			return
		}
		e.Retain(r.name, r.policy.Load().history)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ring.floor.IsZero() {
			r.ring.floor = tail
		}
	})
	return r.openErr
}

// close ends the subscription, or sees to it that none begins.
func (r *room) close() {
	r.open.Do(func() { r.openErr = ErrDraining })
	if r.stop != nil {
		r.stop()
	}
	r.clear()
}

// append takes what the engine delivers and wakes the readers.
func (r *room) append(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.push(m)
	r.ring.trim(m.Time, r.members > 0)
	for i := range r.readers {
		r.readers[i].waker.Wake(r.name)
	}
}

// read answers q from the ring, if q asks for what comes after a cursor that
// the ring covers.
func (r *room) read(q Query) (Page, bool) {
	if q.Foreign || q.After.IsZero() {
		return Page{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.ring.last()
	if !r.ring.covers(q.After) || q.After.Offset > last.Offset {
		return Page{}, false
	}
	page := Page{Start: q.After, Cursor: last}
	from := int(r.ring.after(q.After) - r.ring.first)
	page.forward(r.ring.entries.all()[from:], q.Limit, time.Now())
	return page, true
}

// enter adds a member.
func (r *room) enter(w Waker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members++
	if i := r.reader(w); i >= 0 {
		r.readers[i].n++
		return
	}
	r.readers = append(r.readers, readers{w, 1})
}

// leave takes a member away.
func (r *room) leave(w Waker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members--
	i := r.reader(w)
	if r.readers[i].n--; r.readers[i].n > 0 {
		return
	}
	last := len(r.readers) - 1
	r.readers[i] = r.readers[last]
	r.readers[last] = readers{}
	r.readers = r.readers[:last]
	if last == 0 {
		r.readers = nil
	}
}

func (r *room) reader(w Waker) int {
	return slices.IndexFunc(r.readers, func(o readers) bool { return o.waker == w })
}

// reach returns p, or where the ring begins if that is before p: what the log
// has let go may still be here.
func (r *room) reach(p Position) Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.ring.floor; f.Epoch == p.Epoch && f.Offset < p.Offset {
		return f
	}
	return p
}

// sweep trims the ring and reports whether the room may be forgotten, as far
// as the hub knows.
func (r *room) sweep(now time.Time) (idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.trim(now, r.members > 0)
	return r.members == 0 && r.ring.entries.len() == 0
}

// occupied reports whether the room has members.
func (r *room) occupied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members > 0
}

// clear lets go of the whole ring.
func (r *room) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.ring.entries.len() > 0 {
		r.ring.shift()
	}
}

// evict lets go of m and what is older.
func (r *room) evict(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring.evict(m)
}
