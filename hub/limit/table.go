package limit

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxKeys bounds the keys of a table, beside those with connections. Beyond it, any
	// one of them is forgotten for each new one: who has that many gains nothing by it.
	maxKeys = 1 << 17
	// chunk is how many entries Sweep looks at before others may have the lock.
	chunk = 256
)

// Table counts by key: by client address (see [Prefix]), by user, or by room. The zero
// key stands for nobody, who is not counted. The zero Table is empty. Methods are safe
// for concurrent use.
type Table[K comparable] struct {
	mu        sync.Mutex
	by        map[K]*entry
	connected int // keys with connections
}

// entry is what is counted of one key.
type entry struct {
	connections int
	buckets     Buckets
}

// Bounds say how many connections a [Table] takes.
type Bounds struct {
	Each int // of one key
	Keys int // keys that have connections
}

// Crowded says which of the [Bounds] leaves no room for a connection.
type Crowded uint8

// The answers of [Table.Connect].
const (
	Free Crowded = iota
	EachFull
	KeysFull
)

// Prefix returns the unit that is counted: an IPv4 address, or the /64 of an
// IPv6 address, which is what one household or server is given (RFC 6177). Of an
// invalid address (a client that came by a unix socket) it returns the zero Prefix.
func Prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Take spends a token of the key, as [Buckets.Take] does.
func (t *Table[K]) Take(key K, u Use, r Rate, now time.Time) (wait time.Duration, ok bool) {
	if r == Unlimited || isZero(key) {
		return 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entry(key).buckets.Take(u, r, now)
}

// wait returns how long the key has to wait for a token, without spending one. ok means
// not at all.
func (t *Table[K]) wait(key K, u Use, r Rate, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.by[key]; e != nil {
		return e.buckets.wait(u, r, now)
	}
	return 0, true
}

// Connect counts one more connection of the key, unless the answer says that there is
// no room for it. [Table.Disconnect] undoes that.
func (t *Table[K]) Connect(key K, b Bounds) Crowded {
	if isZero(key) {
		return Free
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.crowded(key, b); c != Free {
		return c
	}
	e := t.entry(key)
	if e.connections++; e.connections == 1 {
		t.connected++
	}
	return Free
}

// Disconnect undoes Connect.
func (t *Table[K]) Disconnect(key K) {
	if isZero(key) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(key)
	if e.connections--; e.connections == 0 {
		t.connected--
	}
}

// Crowded returns what Connect would answer now.
func (t *Table[K]) Crowded(key K, b Bounds) Crowded {
	if isZero(key) {
		return Free
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.crowded(key, b)
}

// crowded is Crowded with mu held.
func (t *Table[K]) crowded(key K, b Bounds) Crowded {
	n := 0
	if e := t.by[key]; e != nil {
		n = e.connections
	}
	switch {
	case n >= b.Each:
		return EachFull
	case n == 0 && t.connected >= b.Keys:
		return KeysFull
	default:
		return Free
	}
}

// entry returns the key's entry, making it if need be. Called with mu held.
func (t *Table[K]) entry(key K) *entry {
	e := t.by[key]
	if e == nil {
		if t.by == nil {
			t.by = make(map[K]*entry)
		}
		if len(t.by)-t.connected >= maxKeys {
			t.forgetOne()
		}
		e = new(entry)
		t.by[key] = e
	}
	return e
}

// forgetOne forgets a key without connections, whichever is found first. Called with
// mu held.
func (t *Table[K]) forgetOne() {
	for k, e := range t.by {
		if e.connections == 0 {
			delete(t.by, k)
			return
		}
	}
}

// Each calls f with the connections of each key. It must not call the table.
func (t *Table[K]) Each(f func(key K, connections int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.by {
		f(k, e.connections)
	}
}

// Sweep forgets the keys that owe nothing.
func (t *Table[K]) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looked := 0
	for k, e := range t.by {
		if looked++; looked%chunk == 0 {
			t.mu.Unlock()
			t.mu.Lock()
		}
		if e.connections == 0 && e.buckets.full(now) {
			delete(t.by, k)
		}
	}
}

func isZero[K comparable](key K) bool {
	var none K
	return key == none
}
