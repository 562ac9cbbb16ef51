package message

import (
	"container/list"
	"sync"
	"sync/atomic"
	"unsafe"
)

// The bytes that are charged in addition to a message's own, as measured, including
// what the allocator adds by rounding up. BenchmarkHeap holds it against the heap.
const (
	messageOverhead = 400 // the message, its places in ring and log, and in the list of what is kept
	expiryOverhead  = 80  // its place in the order of what ends by itself
	userOverhead    = 64  // who published it
	formsOverhead   = 128 // that it carries encoded forms
	formOverhead    = 32  // each of them
	memberOverhead  = 64  // a member, or a member who has gone, in a presence frame
)

// weight returns what keeping m keeps alive, in bytes, without its encoded forms.
func (m *Message) weight() int64 {
	n := messageOverhead + cap(m.Data) + len(m.Event) + len(m.Type) + len(m.Key) + len(m.Publisher)
	if !m.Expires.IsZero() {
		n += expiryOverhead
	}
	if m.From != nil {
		n += userOverhead + len(m.From.ID) + len(m.From.Name)
	}
	if m.Presence != nil {
		n += m.Presence.weight()
	}
	return int64(n)
}

// weight returns what the presence keeps alive, in bytes, without its encoded
// forms. A state that its member still shows counts all the same: it may change.
func (p *Presence) weight() int {
	n := int(unsafe.Sizeof(*p))
	for _, members := range [][]Member{p.Here, p.Enter, p.Update} {
		n += memberOverhead * cap(members)
		for i := range members {
			n += len(members[i].ID) + len(members[i].Name) + cap(members[i].State)
		}
	}
	n += memberOverhead * cap(p.Leave)
	for i := range p.Leave {
		n += len(p.Leave[i].ID)
	}
	return n
}

// Budget bounds the bytes of all that a hub's rings keep, and the logs of an engine in
// this process, of snapshots of presence, and of states that are shown. A message is
// charged once, however many keep it. When the budget is exceeded, cached encoded
// forms go first, then the oldest messages of the hub, those of declared rooms last. Some
// rooms may have a share of it. See [Budget.Divide] for both.
type Budget struct {
	mu     sync.Mutex
	max    int64
	used   int64
	shown  int64     // of that, states
	kept   queue     // every message that is kept
	cached list.List // those among them that carry encoded forms
	taken  uint64    // how many messages there have been

	states     map[string]int64 // what is charged for states, by room
	isDeclared func(room string) bool
	shareOf    func(room string) (name string, most int64)
	shares     map[string]*share
}

// NewBudget returns a budget of so many bytes.
func NewBudget(most int64) *Budget { return &Budget{max: most} }

// Hold notes that one more of ring and log keeps m, which is nobody else's yet if it is
// the first.
func (b *Budget) Hold(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.holds++
	if m.holds > 1 {
		return
	}
	if m.budget == nil {
		m.budget = b // before anybody else can see m
	}
	m.bare = m.weight()
	m.bytes = m.bare
	b.used += m.bytes
	m.turn = b.taken
	b.taken++
	b.enqueue(m)
}

// Release takes one hold of m back.
func (b *Budget) Release(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds == 0 {
		return // was forced out
	}
	m.holds--
	if m.holds == 0 {
		b.drop(m)
	}
}

// cache hangs the encoded form p on m, if m is kept.
func (b *Budget) cache(m *Message, f Form, p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds == 0 {
		return
	}
	fs := m.forms.Load()
	if fs == nil {
		fs = new(forms)
		m.forms.Store(fs)
	}
	b.hang(m, &fs[f], p)
}

// cachePresence does the same for a frame or a snapshot of presence, which m
// carries.
func (b *Budget) cachePresence(m *Message, at *atomic.Pointer[[]byte], p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds > 0 {
		b.hang(m, at, p)
	}
}

// hang puts an encoded form of m into its place. Called with mu held.
func (b *Budget) hang(m *Message, at *atomic.Pointer[[]byte], p []byte) {
	if m.cached == nil {
		m.cached = b.cached.PushBack(m)
		b.charge(m, formsOverhead)
	}
	if at.CompareAndSwap(nil, &p) {
		b.charge(m, formOverhead+int64(cap(p)))
		b.dropCached()
	}
}

func (b *Budget) charge(m *Message, n int64) {
	m.bytes += n
	b.used += n
}

// Show charges n bytes of states that are shown in the room, or fewer than before.
func (b *Budget) Show(room string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown += n
	b.used += n
	if b.states == nil {
		b.states = make(map[string]int64)
	}
	if b.states[room] += n; b.states[room] == 0 {
		delete(b.states, room)
	}
	if s := b.shareFor(room); s != nil {
		s.show(n)
	}
}

// Full reports whether no more states may be shown in the room: they have no more than
// half of all, and no more than half of the room's share, since messages make way for them
// and they for nobody. share is the name of the share that is full, or empty.
func (b *Budget) Full(room string) (share string, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.shareFor(room); s != nil && s.shown > s.max/2 {
		return s.name, true
	}
	return "", b.shown > b.max/2
}

// Uncache drops the encoded forms of m.
func (b *Budget) Uncache(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropForms(m)
}

// Relieve drops cached forms until the budget holds. If they do not suffice
// it returns the oldest message, which must go. The oldest of a share that is exceeded
// comes before, and those of declared rooms come last.
func (b *Budget) Relieve() *Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.surplus(); m != nil {
		return m
	}
	if b.dropCached(); b.used > b.max {
		return b.kept.oldest(b.max)
	}
	return nil
}

// dropCached drops cached forms, those of the message first that got its own
// first, until the budget holds or none are left. Called with mu held.
func (b *Budget) dropCached() {
	for e := b.cached.Front(); e != nil && b.used > b.max; e = b.cached.Front() {
		b.dropForms(e.Value.(*Message))
	}
}

// Drop releases every hold of m, for the case that nobody admits to keep it.
func (b *Budget) Drop(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds > 0 {
		m.holds = 0
		b.drop(m)
	}
}

// Max returns how many bytes may be kept.
func (b *Budget) Max() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.max
}

// SetMax bounds the bytes. What is over the bound goes by [Budget.Relieve].
func (b *Budget) SetMax(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = n
}

// Bytes returns how many bytes are kept.
func (b *Budget) Bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// enqueue appends m to what is kept, and charges it to the share of its room. Called with mu held.
func (b *Budget) enqueue(m *Message) {
	m.declared = b.isDeclared != nil && b.isDeclared(m.Room)
	m.kept = b.kept.push(m)
	b.chargeShare(m)
}

// dequeue undoes enqueue.
func (b *Budget) dequeue(m *Message) {
	m.leaveShare()
	b.kept.remove(m, m.kept)
	m.kept = nil
}

// drop ends the accounting of m. Called with mu held.
func (b *Budget) drop(m *Message) {
	b.dropForms(m)
	b.used -= m.bytes
	b.dequeue(m)
	m.bytes = 0
}

func (b *Budget) dropForms(m *Message) {
	if m.cached == nil {
		return
	}
	b.cached.Remove(m.cached)
	m.cached = nil
	m.forms.Store(nil)
	if m.Presence != nil {
		for i := range m.Presence.forms {
			m.Presence.forms[i].Store(nil)
		}
	}
	b.charge(m, m.bare-m.bytes)
}
