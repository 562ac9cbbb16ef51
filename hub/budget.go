package hub

import (
	"container/list"
	"sync"
)

// messageOverhead is what a kept message is charged beside its data, in bytes.
const messageOverhead = 200

// budget bounds the bytes of all messages that a hub's rings and the memory
// engine's logs keep. A message is charged once, however many keep it. When
// the budget is exceeded, cached encoded forms go first, then the oldest
// messages of the hub.
type budget struct {
	mu     sync.Mutex
	max    int64
	used   int64
	kept   list.List // every message that is kept, oldest first
	cached list.List // those among them that carry encoded forms
}

// hold notes that one more of ring and log keeps m.
func (b *budget) hold(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.holds++
	if m.holds > 1 {
		return
	}
	if m.budget == nil {
		m.budget = b // before anybody else can see m
	}
	m.bytes = int64(len(m.Data)) + messageOverhead
	b.used += m.bytes
	m.kept = b.kept.PushBack(m)
}

// release takes one hold of m back.
func (b *budget) release(m *Message) {
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
func (b *budget) cache(m *Message, f Form, p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds == 0 {
		return
	}
	fs := m.forms.Load()
	if fs == nil {
		fs = new(forms)
		m.forms.Store(fs)
		m.cached = b.cached.PushBack(m)
	}
	if fs[f].CompareAndSwap(nil, &p) {
		m.bytes += int64(len(p))
		b.used += int64(len(p))
		b.dropCached()
	}
}

// uncache drops the encoded forms of m.
func (b *budget) uncache(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropForms(m)
}

// relieve drops cached forms until the budget holds. If they do not suffice
// it returns the oldest message, which must go.
func (b *budget) relieve() *Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropCached()
	if e := b.kept.Front(); e != nil && b.used > b.max {
		return e.Value.(*Message)
	}
	return nil
}

// dropCached drops cached forms, those of the message first that got its own
// first, until the budget holds or none are left. Called with mu held.
func (b *budget) dropCached() {
	for e := b.cached.Front(); e != nil && b.used > b.max; e = b.cached.Front() {
		b.dropForms(e.Value.(*Message))
	}
}

// force releases every hold of m, for the case that nobody admits to keep it.
func (b *budget) force(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.holds > 0 {
		m.holds = 0
		b.drop(m)
	}
}

func (b *budget) setMax(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = n
}

func (b *budget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// drop ends the accounting of m. Called with mu held.
func (b *budget) drop(m *Message) {
	b.dropForms(m)
	b.used -= m.bytes
	b.kept.Remove(m.kept)
	m.kept, m.bytes = nil, 0
}

func (b *budget) dropForms(m *Message) {
	if m.cached == nil {
		return
	}
	b.cached.Remove(m.cached)
	m.cached = nil
	m.forms.Store(nil)
	bare := int64(len(m.Data)) + messageOverhead
	b.used -= m.bytes - bare
	m.bytes = bare
}
