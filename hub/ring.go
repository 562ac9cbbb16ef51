package hub

import (
	"time"

	"github.com/caddy-realtime/realtime/hub/deque"
)

// ring is a room's delivery window: the newest messages and signals, which
// live sessions read from. Entries are numbered by a sequence that only counts
// here, so that signals, which have no offset, have a place too.
//
// Everything in it has arrived at most windowAge ago, whatever its engine's clock says, or is among the
// newest windowCount of an occupied room. The budget may shorten it. Its room's mu guards a ring.
type ring struct {
	entries  deque.Deque[*Message]
	arrivals deque.Deque[time.Duration] // of the entries, after born
	messages deque.Deque[uint64]        // sequences of the entries other than signals
	first    uint64                     // sequence of the oldest entry
	epoch    string                     // of lost; empty: not known yet
	lost     loss                       // for a cursor at or after it nothing is missing that is not here
	newest   Position                   // of the newest message that was ever here, or where the ring began
	budget   *Budget
	born     time.Time // that of the hub, with a monotonic reading
}

// next is the sequence that the next entry will have.
func (r *ring) next() uint64 { return r.first + uint64(r.entries.Len()) }

// at returns the entry with sequence seq, which must be in the ring.
func (r *ring) at(seq uint64) *Message { return r.entries.At(int(seq - r.first)) }

// push appends what arrives now.
func (r *ring) push(m *Message, now time.Time) {
	r.budget.Hold(m)
	r.arrivals.Push(now.Sub(r.born))
	if !m.Signal {
		r.messages.Push(r.next())
		r.newest = m.Position
	}
	r.entries.Push(m)
	if n := r.entries.Len(); n > windowCount {
		// Out of the short window: a reader that is so far behind encodes it anew.
		r.budget.Uncache(r.entries.At(n - 1 - windowCount))
	}
}

func (r *ring) shift() {
	m := r.entries.Shift()
	r.arrivals.Shift()
	r.first++
	if !m.Signal {
		r.messages.Shift()
		r.lose(m)
	}
	r.budget.Release(m)
}

// clear lets go of everything.
func (r *ring) clear() {
	for r.entries.Len() > 0 {
		r.shift()
	}
}

// open says that the ring will be given everything after tail. What came before is not in
// it: that is lost.
func (r *ring) open(tail Position, lost loss) {
	if r.epoch == "" {
		r.epoch, r.lost = tail.Epoch, lost
	}
	if r.newest.IsZero() {
		r.newest = tail
	}
}

// reset has the empty ring begin at tail, before which everything is missing. No read
// position of before is live any more.
func (r *ring) reset(tail Position) {
	r.first++
	r.epoch, r.lost, r.newest = tail.Epoch, loss{offset: tail.Offset}, tail
}

// lose notes that m has left the ring.
func (r *ring) lose(m *Message) {
	if m.Epoch != r.epoch {
		r.epoch, r.lost = m.Epoch, loss{offset: m.Offset} // what was before it is not known
		return
	}
	r.lost.add(m)
}

// floor returns the cursor from which on nothing is missing, or zero.
func (r *ring) floor(now time.Time) Position {
	if r.epoch == "" {
		return Position{}
	}
	return Position{Epoch: r.epoch, Offset: r.lost.at(now)}
}

// trim lets go of what has left the window.
func (r *ring) trim(now time.Time, occupied bool) {
	keep := 0
	if occupied {
		keep = windowCount
	}
	for r.entries.Len() > keep && now.Sub(r.born)-r.arrivals.At(0) >= windowAge {
		r.shift()
	}
}

// evict lets go of everything up to and including m, which the budget wants
// gone.
func (r *ring) evict(m *Message) {
	for r.entries.Len() > 0 {
		oldest := r.entries.At(0)
		if oldest != m && !oldest.Signal && (m.Signal || oldest.Offset > m.Offset) {
			return
		}
		r.shift()
		if oldest == m {
			return
		}
	}
}

// covers reports whether a reader at p can go on from the ring.
func (r *ring) covers(p Position, now time.Time) bool {
	return p.Epoch == r.epoch && p.Offset >= r.lost.at(now) && !p.IsZero()
}

// after returns the sequence at which a reader goes on that stands at p, which
// the ring covers.
func (r *ring) after(p Position) uint64 {
	i := r.messages.Search(func(seq uint64) bool {
		m := r.at(seq)
		return m.Epoch != p.Epoch || m.Offset > p.Offset
	})
	if i == 0 {
		return r.first
	}
	return r.messages.At(i-1) + 1
}

// read returns what comes after p, which the ring covers.
func (r *ring) read(p Position, limit int, now time.Time) Page {
	page := Page{Start: p, Cursor: r.newest}
	for seq := r.after(p); seq < r.next() && page.Forward(r.at(seq), limit, now); seq++ {
	}
	return page
}
