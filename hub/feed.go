package hub

import (
	"sync"
	"sync/atomic"
	"time"
)

// Waker is how a session's owner learns that there is something to tell. Wake
// is called with locks held: it must neither block nor call the hub or a
// session. Calls may come from many goroutines.
type Waker interface{ Wake() }

// Dispatcher is a Waker's alternative for news: whoever serves many sessions is told
// once for all of them that are in a room. A Waker that has a method
//
//	Dispatcher() Dispatcher
//
// belongs to one, and is itself woken only for what concerns its session alone.
type Dispatcher interface {
	// Notify says that the feed has something to read. It is not said again
	// before [Feed.Next] has been called. Like Wake it is called with locks
	// held, and must neither block nor call the hub, a session, or the feed.
	Notify(*Feed)
}

// Bell is the Waker of a session that waits in a handler: a channel of
// capacity 1 which gets a value when there is something to read.
type Bell chan struct{}

// Wake implements [Waker].
func (b Bell) Wake() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// place is where a reader stands in a room. It is immutable and compared by
// address: readers that have read the same share one, so that one comparison
// tells that they are due the same.
type place struct {
	pos  Position // of the last message that was passed
	seq  uint64   // in the room's ring, of the next entry; if live
	live bool
}

// Feed is what a dispatcher has in one room: a place that moves on with the room,
// and the members. Members that stand where the feed stands are due the same
// messages, and take them without being asked one by one.
type Feed struct {
	room       *room
	dispatcher Dispatcher
	due        bool   // told, and not read yet; guarded by room.mu
	at         *place // where Next stands; the dispatcher's own

	mu      sync.Mutex
	members []*Membership
}

// Step is what [Feed.Next] has read.
type Step struct {
	// Messages are due to every member that [Membership.Take] says yes for.
	Messages []*Message
	from, to *place
	own      bool   // among them are signals that came by a connection
	count    uint64 // of what is not presence
}

// Next appends to buf what has come since the last call, and reports whether
// there is more: until buf's capacity is reached, or the messages' data exceeds
// so many bytes. It is for one goroutine at a time and never blocks.
func (f *Feed) Next(buf []*Message, bytes int) (step Step, more bool) {
	r := f.room
	r.mu.Lock()
	defer r.mu.Unlock()
	f.due = false
	step = Step{Messages: buf, from: f.at, to: r.tailPlace()}
	f.at = step.to
	if step.from == nil || step.from.seq < r.ring.first {
		step.from = nil // no news yet, or overtaken: nobody stands there
		return step, false
	}
	now := time.Now()
	p := *step.from
	for end := r.ring.next(); p.seq < end; p.seq++ {
		m := r.ring.at(p.seq)
		if len(step.Messages) == cap(step.Messages) || bytes < 0 {
			between := p
			step.to, f.at = &between, &between
			return step, true
		}
		if !m.Signal {
			p.pos = m.Position
		}
		if !m.expired(now) {
			step.Messages = append(step.Messages, m)
			bytes -= len(m.Data)
			step.own = step.own || m.Signal && m.Conn != ""
			if m.Presence == nil {
				step.count++
			}
		}
	}
	return step, false
}

// Members appends to buf, up to its capacity, the members below index before,
// and returns the index to go on with; 0 means that those were the last. To
// walk through all of them begin with [Feed.Len]. A walk sees everybody who is
// a member from its beginning to its end; whoever joins or leaves meanwhile may
// be seen, or seen twice.
func (f *Feed) Members(before int, buf []*Membership) ([]*Membership, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Downwards, since a leaving member's index is given to the last one.
	before = min(before, len(f.members))
	after := max(0, before-(cap(buf)-len(buf)))
	return append(buf, f.members[after:before]...), after
}

// Len returns how many members there are.
func (f *Feed) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.members)
}

func (f *Feed) add(m *Membership) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.feed, m.index = f, len(f.members)
	f.members = append(f.members, m)
}

// remove takes m out and returns how many are left.
func (f *Feed) remove(m *Membership) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := len(f.members) - 1
	f.members[m.index] = f.members[last]
	f.members[m.index].index = m.index
	f.members[last] = nil
	f.members = f.members[:last]
	if cap(f.members) > 64 && last < cap(f.members)/4 {
		f.members = append(make([]*Membership, 0, 2*last), f.members...)
	}
	return last
}

// Membership is a session in one room.
type Membership struct {
	// What a step looks at stands together.
	at     atomic.Pointer[place] // nil once it has ended
	sent   atomic.Uint64         // messages taken in steps
	waker  Waker                 // the session's
	noEcho bool                  // likewise

	session *Session
	room    *room
	feed    *Feed // of the session's dispatcher in the room
	index   int   // in feed.members, guarded by feed.mu

	// Guarded by session.mu.
	joined uint64 // the ring's sequence at Join: older signals are not for it
	gap    *Gap   // to be told first
	stale  bool   // who is there is to be told, if it has changed since told
	told   uint64 // number of the frame up to which that is, plus 1
	held   bool   // presence.hold was called for it
}

// Waker returns the session's.
func (m *Membership) Waker() Waker { return m.waker }

// Take reports whether the member is due exactly the step's messages, and if so
// moves its cursor past them: the caller delivers. Otherwise [Session.Next] says
// what it is due. Take and Next of one session are for one goroutine at a time.
func (m *Membership) Take(s *Step) bool {
	if s.from == nil || m.at.Load() != s.from || (m.noEcho || s.own) && m.echoes(s) {
		return false
	}
	if !m.at.CompareAndSwap(s.from, s.to) {
		return false // it has just left
	}
	m.sent.Add(s.count)
	return true
}

// echoes reports whether the step has something of the member's own that is not
// for him.
func (m *Membership) echoes(s *Step) bool {
	for _, e := range s.Messages {
		if e.echoes(m.session.client.ID, m.noEcho) {
			return true
		}
	}
	return false
}

// bells is the dispatcher of the sessions that have none: it wakes each of them, so
// that a publisher does not have to. Its goroutine lives while there is news.
type bells struct {
	mu    sync.Mutex
	due   []*Feed
	rings bool // the goroutine lives
	done  sync.WaitGroup
}

// Notify implements [Dispatcher].
func (b *bells) Notify(f *Feed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = append(b.due, f)
	if !b.rings {
		b.rings = true
		b.done.Go(b.ring)
	}
}

// ring wakes until nobody is due.
func (b *bells) ring() {
	chunk := make([]*Membership, 0, 64)
	for {
		b.mu.Lock()
		if len(b.due) == 0 {
			b.rings, b.due = false, nil
			b.mu.Unlock()
			return
		}
		due := b.due
		b.due = nil
		b.mu.Unlock()
		for _, f := range due {
			f.seen()
			for i := f.Len(); i > 0; {
				chunk, i = f.Members(i, chunk[:0])
				for _, m := range chunk {
					m.waker.Wake()
				}
			}
		}
		clear(chunk[:cap(chunk)])
	}
}

// seen lets Notify be said again.
func (f *Feed) seen() {
	f.room.mu.Lock()
	defer f.room.mu.Unlock()
	f.due = false
}
