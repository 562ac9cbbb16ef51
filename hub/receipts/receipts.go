// Package receipts makes publishing idempotent: it remembers the receipt of each
// publication that has a key, and returns it again for the same publication.
package receipts

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds of a [Store].
const (
	// Lifetime is how long a receipt is remembered.
	Lifetime = 5 * time.Minute
	// MaxCount and MaxBytes bound what a store remembers. The oldest receipts go first.
	MaxCount = 65_536
	MaxBytes = 48 << 20
)

const (
	// overhead is what an entry is charged beside the text of its scope, in bytes:
	// itself, and its places in the map and in the order.
	overhead = 450
	// atOnce is how many old entries a new one removes at most. The rest is left to
	// the timer, so that no publication waits for it.
	atOnce = 8
	// chunk is how many entries the timer looks at before others may have the lock.
	chunk = 256
	// slack is how much later than an entry's end the timer fires.
	slack = 5 * time.Second
)

// ErrReused is the error for a key that was used with another publication.
var ErrReused = errors.New("the idempotency key was used with another message")

// errPanic is what those who wait get if the first publication panics.
var errPanic = errors.New("panic while publishing")

// Store remembers receipts of type R for [Lifetime]. All methods are safe for
// concurrent use. Close it after use.
type Store[R any] struct {
	limit func() int64

	mu     sync.Mutex
	by     map[string]*Entry[R]
	order  list.List // *Entry[R], oldest first
	bytes  int
	timer  *time.Timer // nil: it was never needed
	armed  bool        // timer will fire
	closed bool
}

// Entry is the place of one scope.
type Entry[R any] struct {
	store   *Store[R]
	scope   string
	print   [16]byte
	created time.Time
	done    chan struct{} // closed when receipt and err are set
	receipt R
	err     error
	element *list.Element
}

// New returns an empty store that keeps at most limit bytes, and never more than
// [MaxBytes].
func New[R any](limit func() int64) *Store[R] {
	return &Store[R]{limit: limit, by: make(map[string]*Entry[R])}
}

// Do publishes once for a scope, which is where a key means the same publication, and
// returns the receipt. A second call with the scope returns the same receipt as replayed.
// While the first is in flight, others wait for it until ctx ends; if it fails, the
// next one publishes. print tells one publication from another: with another one, Do
// returns [ErrReused].
func (s *Store[R]) Do(ctx context.Context, scope string, print [16]byte, publish func() (R, error)) (receipt R, replayed bool, err error) {
	entry, receipt, replayed, err := s.Begin(ctx, scope, print)
	if entry == nil {
		return receipt, replayed, err
	}
	err = errPanic // until publish returns
	defer func() { entry.Settle(receipt, err) }()
	receipt, err = publish()
	return receipt, false, err
}

// Begin is Do for a publication whose outcome comes later, be it that the caller has gone by
// then. If the scope is new, it returns an entry, whose Settle must be called; otherwise what
// Do returns.
func (s *Store[R]) Begin(ctx context.Context, scope string, print [16]byte) (entry *Entry[R], receipt R, replayed bool, err error) {
	for {
		e, first := s.enter(scope, print)
		if first {
			return e, receipt, false, nil
		}
		if e.print != print {
			return nil, receipt, false, ErrReused
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, receipt, false, ctx.Err()
		}
		if e.err == nil {
			return nil, e.receipt, true, nil
		}
	}
}

// Settle ends what Begin began. After an error the scope is free again. It is called once.
func (e *Entry[R]) Settle(receipt R, err error) {
	e.receipt, e.err = receipt, err
	if err != nil {
		e.store.mu.Lock()
		e.store.remove(e)
		e.store.mu.Unlock()
	}
	close(e.done)
}

// Restore brings back a receipt that was given so long ago. They are restored in the order
// in which they were given, before Begin is called.
func (s *Store[R]) Restore(scope string, print [16]byte, receipt R, age time.Duration) {
	e, _ := s.enter(scope, print)
	s.mu.Lock()
	e.created = e.created.Add(-age)
	s.mu.Unlock()
	e.Settle(receipt, nil)
}

// enter returns the entry of the scope and whether the caller made it.
func (s *Store[R]) enter(scope string, print [16]byte) (e *Entry[R], first bool) {
	now, limit := time.Now(), s.limit()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now, limit, atOnce)
	if e = s.by[scope]; e != nil && now.Sub(e.created) < Lifetime {
		return e, false
	}
	if e != nil {
		s.remove(e)
	}
	e = &Entry[R]{store: s, scope: scope, print: print, created: now, done: make(chan struct{})}
	e.element = s.order.PushBack(e)
	s.by[scope] = e
	s.bytes += e.bytes()
	s.arm(now)
	return e, true
}

// bytes is what an entry is charged.
func (e *Entry[R]) bytes() int { return len(e.scope) + overhead }

// trim removes what is over the bounds, and at most so many entries that are too old.
// It reports whether there may be more of those. Called with mu held.
func (s *Store[R]) trim(now time.Time, limit int64, most int) (more bool) {
	limit = min(limit, MaxBytes)
	for front := s.order.Front(); front != nil; front = s.order.Front() {
		e := front.Value.(*Entry[R])
		if s.order.Len() < MaxCount && int64(s.bytes) < limit {
			if now.Sub(e.created) < Lifetime {
				return false
			}
			if most--; most < 0 {
				return true
			}
		}
		s.remove(e)
	}
	return false
}

// remove forgets e, unless that has been done. Called with mu held.
func (s *Store[R]) remove(e *Entry[R]) {
	if s.by[e.scope] != e {
		return
	}
	delete(s.by, e.scope)
	s.order.Remove(e.element)
	s.bytes -= e.bytes()
}

// arm has the timer fire after the end of the oldest entry. Called with mu held.
func (s *Store[R]) arm(now time.Time) {
	front := s.order.Front()
	if front == nil || s.armed || s.closed {
		return
	}
	s.armed = true
	wait := front.Value.(*Entry[R]).created.Add(Lifetime + slack).Sub(now)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.sweep)
	} else {
		s.timer.Reset(wait)
	}
}

// sweep removes what is too old. Others get the lock in between.
func (s *Store[R]) sweep() {
	now, limit := time.Now(), s.limit()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.trim(now, limit, chunk) {
		s.mu.Unlock()
		s.mu.Lock()
	}
	s.armed = false
	s.arm(now)
}

// Close stops the timer. The store goes on to work, but removes nothing by itself.
func (s *Store[R]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
