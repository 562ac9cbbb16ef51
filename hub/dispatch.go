package hub

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/presence"
)

// Waker is how a session's owner learns that there is something to tell. Wake
// is called with locks held: it must neither block nor call the hub or a
// session. Calls may come from many goroutines.
type Waker interface{ Wake() }

// Dispatcher serves many sessions together: it is notified once of new messages in a
// room, for all its sessions there. A Waker that has a method
//
//	Dispatcher() Dispatcher
//
// belongs to that dispatcher, and is itself woken only for what concerns its own session.
type Dispatcher interface {
	// Notify is called when the group has something to read, and not again before
	// [SubscriberGroup.Next] has been called. Locks are held: it must neither block nor
	// call the hub, a session, or the group.
	Notify(*SubscriberGroup)
}

// readPosition is how far a reader has read in a room. It is immutable and compared by
// address: readers that have read equally far share one, so that one comparison shows
// that the same messages are due to them.
type readPosition struct {
	pos  Position // of the last message that was passed
	seq  uint64   // in the room's ring, of the next entry; if live
	live bool
}

// SubscriberGroup is the subscriptions of one dispatcher in one room, and a read position
// that moves on with the room. The messages of a [Batch] are due to every subscription
// whose own position is the group's, so that they need not be read for each:
//
//	batch, more := group.Next(buf, maxBytes)
//	for i := group.Len(); i > 0; {
//		subscriptions, i = group.Subscriptions(i, chunk[:0])
//		for _, s := range subscriptions {
//			if s.Advance(&batch) {
//				// write batch.Messages to its client
//			} else {
//				// wake its writer, which calls Session.Next
//			}
//		}
//	}
type SubscriberGroup struct {
	room       *room
	dispatcher Dispatcher
	due        bool          // notified, and not read since; guarded by room.mu
	at         *readPosition // where Next goes on; the dispatcher's own

	mu            sync.Mutex
	subscriptions []*Subscription
}

// Batch is what [SubscriberGroup.Next] has read. It must not be changed.
type Batch struct {
	// Messages are due to every subscription for which [Subscription.Advance] returns true.
	Messages []*Message
	from, to *readPosition
	presence bool   // among them are presence frames
	own      bool   // among them are signals that a connection published
	count    uint64 // of messages other than presence frames
}

// Next appends to buf the messages that have come since the last call, until buf's
// capacity is reached or their data exceeds bytes, and reports whether there are more.
// It is for one goroutine at a time and never blocks.
func (f *SubscriberGroup) Next(buf []*Message, bytes int) (batch Batch, more bool) {
	r := f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	f.due = false
	batch = Batch{Messages: buf, from: f.at, to: r.tailPosition()}
	f.at = batch.to
	if batch.from == nil || batch.from.seq < r.ring.first {
		batch.from = nil // no news yet, or overtaken: no subscription has this position
		return batch, false
	}
	now := time.Now()
	p := *batch.from
	for end := r.ring.next(); p.seq < end; p.seq++ {
		m := r.ring.at(p.seq)
		if len(batch.Messages) == cap(batch.Messages) || bytes < 0 {
			between := p
			batch.to, f.at = &between, &between
			return batch, true
		}
		if !m.Signal {
			p.pos = m.Position
		}
		if !m.Expired(now) {
			batch.Messages = append(batch.Messages, m)
			bytes -= len(m.Data)
			batch.own = batch.own || m.Signal && m.Publisher != ""
			if m.Presence == nil {
				batch.count++
			} else {
				batch.presence = true
			}
		}
	}
	return batch, false
}

// Subscriptions appends to buf, up to its capacity, the subscriptions below index
// before, and returns the index to go on with; 0 means that those were the last. A walk
// through all of them begins with [SubscriberGroup.Len]. It sees every subscription
// that exists from the beginning of the walk to its end; a subscription that begins or
// ends meanwhile may be missed, or seen twice.
func (f *SubscriberGroup) Subscriptions(before int, buf []*Subscription) ([]*Subscription, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Downwards, since a leaving member's index is given to the last one.
	before = min(before, len(f.subscriptions))
	after := max(0, before-(cap(buf)-len(buf)))
	return append(buf, f.subscriptions[after:before]...), after
}

// Len returns the number of subscriptions.
func (f *SubscriberGroup) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subscriptions)
}

func (f *SubscriberGroup) add(m *Subscription) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.group, m.index = f, len(f.subscriptions)
	f.subscriptions = append(f.subscriptions, m)
}

// remove takes m out and returns how many are left.
func (f *SubscriberGroup) remove(m *Subscription) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := len(f.subscriptions) - 1
	f.subscriptions[m.index] = f.subscriptions[last]
	f.subscriptions[m.index].index = m.index
	f.subscriptions[last] = nil
	f.subscriptions = f.subscriptions[:last]
	if cap(f.subscriptions) > 64 && last < cap(f.subscriptions)/4 {
		f.subscriptions = append(make([]*Subscription, 0, 2*last), f.subscriptions...)
	}
	return last
}

// Subscription is a session in one room.
type Subscription struct {
	// Fields that a batch reads are adjacent, for the processor's cache.
	at     atomic.Pointer[readPosition] // nil once it has ended
	sent   atomic.Uint64                // messages taken in batches
	waker  Waker                        // the session's
	noEcho bool                         // likewise
	blind  atomic.Bool                  // it may not see members

	session *Session
	room    *room
	group   *SubscriberGroup // of the session's dispatcher in the room
	index   int              // in group.subscriptions, guarded by group.mu

	// Guarded by session.mu.
	can    Verbs           // what it may do in the room, as its client knows
	joined uint64          // the ring's sequence at Join: older signals are not for it
	gap    *Gap            // to be sent first
	stale  bool            // a presence snapshot is to be sent, unless it is that of shown
	shown  uint64          // number of the last frame in the snapshot that was sent, plus 1
	lease  *presence.Lease // that the session holds; nil: none

	behind *catchUp // the page of the engine's log that it waits for; nil: none
}

// Waker returns the session's.
func (m *Subscription) Waker() Waker { return m.waker }

// Advance reports whether exactly the batch's messages are due to the subscription. If so
// it moves the cursor past them, and the caller must deliver them. Otherwise
// [Session.Next] returns what is due. Advance and Next of one session are for one
// goroutine at a time.
func (m *Subscription) Advance(s *Batch) bool {
	if s.from == nil || m.at.Load() != s.from || s.presence && m.blind.Load() || (m.noEcho || s.own) && m.echoes(s) {
		return false
	}
	if !m.at.CompareAndSwap(s.from, s.to) {
		return false // it has just left
	}
	m.sent.Add(s.count)
	return true
}

// echoes reports whether the batch has a message that the session published itself and
// does not receive.
func (m *Subscription) echoes(s *Batch) bool {
	return slices.ContainsFunc(s.Messages, m.session.echoes)
}
