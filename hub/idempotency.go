package hub

import (
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// keyStore remembers idempotency keys and what was answered to them, for
// [KeyLifetime], bounded in number and bytes: the oldest go first.
type keyStore struct {
	mu    sync.Mutex
	seed  maphash.Seed
	by    map[keyScope]*keyEntry
	order list.List // *keyEntry, oldest first
	bytes int
	max   int // bytes
}

// keyScope is where a key means the same publication.
type keyScope struct{ room, user, key string }

type keyEntry struct {
	scope   keyScope
	print   uint64
	created time.Time
	done    chan struct{} // closed when receipt and err are set
	receipt Receipt
	err     error
	element *list.Element
}

// keyOverhead is what an entry is charged beside the text of its scope, in bytes:
// itself, and its places in the map and in the order.
const keyOverhead = 450

// bytes is what an entry is charged.
func (s keyScope) bytes() int { return len(s.room) + len(s.user) + len(s.key) + keyOverhead }

func newKeyStore() *keyStore {
	return &keyStore{seed: maphash.MakeSeed(), by: make(map[keyScope]*keyEntry), max: maxIdempotencyBytes}
}

// fingerprint tells one publication from another under the same key.
func (k *keyStore) fingerprint(p *Publication) uint64 {
	var h maphash.Hash
	h.SetSeed(k.seed)
	h.WriteString(p.Event)
	h.WriteByte(0)
	h.WriteString(p.Type)
	h.WriteByte(byte(p.Kind))
	maphash.WriteComparable(&h, p.TTL)
	maphash.WriteComparable(&h, p.Signal)
	h.Write(p.Data)
	return h.Sum64()
}

// setMax bounds the bytes: a quarter of the hub's memory, up to a bound of their
// own. Called before the keys are used, or with mu not held.
func (k *keyStore) setMax(memory int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.max = int(min(memory/4, maxIdempotencyBytes))
}

// do publishes once for a scope. While the first is in flight others wait for
// it, for as long as ctx allows; if it fails, the next one tries.
func (k *keyStore) do(ctx context.Context, scope keyScope, p *Publication, publish func() (Receipt, error)) (Receipt, error) {
	print := k.fingerprint(p)
	for {
		e, first := k.enter(scope, print)
		if first {
			return k.settle(e, publish)
		}
		if e.print != print {
			return Receipt{}, ErrKeyReused
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return Receipt{}, ctx.Err()
		}
		if e.err == nil {
			r := e.receipt
			r.Replayed = true
			return r, nil
		}
	}
}

// settle publishes for e and lets the others know. If publish panics the key
// is free again.
func (k *keyStore) settle(e *keyEntry, publish func() (Receipt, error)) (Receipt, error) {
	e.err = ErrEnded // until it is known better
	defer func() {
		if e.err != nil {
			k.mu.Lock()
			k.remove(e)
			k.mu.Unlock()
		}
		close(e.done)
	}()
	e.receipt, e.err = publish()
	return e.receipt, e.err
}

// enter returns the entry of the scope and whether the caller made it.
func (k *keyStore) enter(scope keyScope, print uint64) (e *keyEntry, first bool) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trim(now, keyChunk)
	if e = k.by[scope]; e != nil && now.Sub(e.created) < KeyLifetime {
		return e, false
	}
	if e != nil {
		k.remove(e)
	}
	e = &keyEntry{scope: scope, print: print, created: now, done: make(chan struct{})}
	e.element = k.order.PushBack(e)
	k.by[scope] = e
	k.bytes += scope.bytes()
	return e, true
}

// keyChunk is how many old keys a new one forgets at most. The rest is left to the
// janitor, who does not keep a publication waiting.
const keyChunk = 8

// trim forgets what is over the bounds, and of what is too old at most so many. It
// reports whether there may be more of that. Called with mu held.
func (k *keyStore) trim(now time.Time, most int) (more bool) {
	for front := k.order.Front(); front != nil; front = k.order.Front() {
		e := front.Value.(*keyEntry)
		if k.order.Len() < maxIdempotencyKeys && k.bytes < k.max {
			if now.Sub(e.created) < KeyLifetime {
				return false
			}
			if most--; most < 0 {
				return true
			}
		}
		k.remove(e)
	}
	return false
}

// remove forgets e, unless that has been done. Called with mu held.
func (k *keyStore) remove(e *keyEntry) {
	if k.by[e.scope] != e {
		return
	}
	delete(k.by, e.scope)
	k.order.Remove(e.element)
	k.bytes -= e.scope.bytes()
}

func (k *keyStore) sweep(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.trim(now, sweepChunk) {
		breathe(&k.mu)
	}
}
