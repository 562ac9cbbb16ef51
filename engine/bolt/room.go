package bolt

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// room is a room in use: somebody reads it, or the database does not have all of it yet.
type room struct {
	name string
	pins atomic.Int64 // raised with Engine.mu held

	mu      sync.Mutex
	readers []*reader
	keep    *settings.History // what Retain said; nil: it was not called
	changed bool              // keep is another one than the follower has seen
	fresh   []*entry          // kept messages that the database may not have, oldest first
	last    uint64            // the newest offset, as far as it has come since the room is in use
	lost    uint64            // the offset of the newest message that was not kept, likewise
	passing uint64            // the generation of that
}

// reader is one subscription.
type reader struct{ hub.Reader }

// entry is something that was published, on its way to the database.
type entry struct {
	room       *room
	generation uint64
	offset     uint64
	expires    uint64 // in microseconds; 0: it does not expire
	message    *hub.Message
	encoded    []byte // as the log has it; nil: the room keeps nothing
	kept       bool   // the database has it, or will have
	receipt    *receipt
	size       int64 // what it weighs until the database has it
}

// receipt is what is stored for an idempotency key.
type receipt struct {
	scope, print [16]byte
	time         uint64 // in microseconds
}

// pin returns the room, which stays in use until unpin.
func (e *Engine) pin(name string) *room {
	e.mu.RLock()
	r := e.rooms[name]
	if r != nil {
		r.pins.Add(1)
	}
	e.mu.RUnlock()
	if r != nil {
		return r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r = e.rooms[name]; r == nil {
		r = &room{name: name}
		e.rooms[name] = r
	}
	r.pins.Add(1)
	return r
}

// unpin undoes pin, and lets go of a room that is not in use any more.
func (e *Engine) unpin(r *room) {
	if r.pins.Add(-1) == 0 && r.idle(e.removed.Load()) {
		e.drop(r)
	}
}

// idle reports whether nobody reads the room and the database has all of it.
func (r *room) idle(removed uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.readers) == 0 && len(r.fresh) == 0 && r.passing <= removed
}

// drop forgets the room if that still may be.
func (e *Engine) drop(r *room) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rooms[r.name] == r && r.pins.Load() == 0 && r.idle(e.removed.Load()) {
		delete(e.rooms, r.name)
	}
}

// lookUp returns the room if it is in use.
func (e *Engine) lookUp(name string) *room {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.rooms[name]
}

// retention returns how much of the room to keep.
func (e *Engine) retention(name string, r *room) settings.History {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.keep != nil {
			return *r.keep
		}
	}
	return e.keepOf(name)
}

// Subscribe implements [hub.Engine].
func (e *Engine) Subscribe(ctx context.Context, name string, to hub.Reader) (hub.Position, func(), error) {
	if err := ctx.Err(); err != nil {
		return hub.Position{}, nil, err
	}
	r := e.pin(name) // what comes from now on is in r.last
	defer e.unpin(r)
	own := &reader{to}
	var tail hub.Position
	err := e.view(func(tx *bbolt.Tx) error { // to its end, since an import may change the epoch
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		tail = hub.Position{Epoch: e.info.Epoch, Offset: e.end(e.rowOf(tx, name, p), p)}
		r.mu.Lock()
		defer r.mu.Unlock()
		tail.Offset = max(tail.Offset, r.last)
		r.readers = append(r.readers, own)
		return nil
	})
	if err != nil {
		return hub.Position{}, nil, e.failed(err)
	}
	stop := func() {
		r.mu.Lock()
		r.readers = slices.DeleteFunc(r.readers, func(other *reader) bool { return other == own })
		r.mu.Unlock()
		if r.pins.Load() == 0 {
			e.drop(r)
		}
	}
	return tail, stop, nil
}

// end returns where a room ends, as far as the file knows. A cursor must not tell anything of other
// rooms.
func (e *Engine) end(known row, p progress) uint64 {
	if known.ID == 0 {
		return max(e.info.Birth, p.Floor, e.unknown.Load(), e.info.lossyBegin())
	}
	return max(known.Last, e.info.Birth, e.info.lossyBegin()) // what was imported may be older than the file
}

// Retain implements [hub.Engine].
func (e *Engine) Retain(name string, keep settings.History) {
	r := e.lookUp(name)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keep == nil || *r.keep != keep {
		r.keep, r.changed = &keep, true
	}
}

// Forget implements [hub.Engine]: everything that is not in use is in the database, and stays there.
func (e *Engine) Forget(name string, _ bool) bool {
	r := e.lookUp(name)
	if r == nil {
		return true
	}
	r.mu.Lock()
	r.readers = nil
	r.mu.Unlock()
	if r.pins.Load() == 0 {
		e.drop(r)
	}
	return true
}

// deliver hands a message or a signal to those who read the room. It is called with r.mu held.
func (r *room) deliver(m *hub.Message) {
	for _, to := range r.readers {
		to.Deliver(m)
	}
}

// signal delivers what is not stored.
func (r *room) signal(m *hub.Message) hub.Receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Time = time.Now()
	r.deliver(m)
	return hub.Receipt{Time: m.Time}
}
