package hub

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
)

// Check returns an error that says which of the hub's invariants do not hold.
// Nobody but the hub's own janitor may use it meanwhile.
func (h *Hub) Check() error {
	defer h.freeze()()
	c := &checker{hub: h, holds: make(map[*Message]int)}
	c.sessions()
	c.rooms()
	if e, ok := memoryOf(h.keeper); ok {
		c.logs(e)
	}
	c.that(h.fading.Load() == int64(c.fading), "%d leases fade, counted %d", c.fading, h.fading.Load())
	err := h.budget.Audit(c.holds, c.states)
	c.that(err == nil, "%v", err)
	return errors.Join(c.errs...)
}

// freeze takes every lock, in their order, and returns how to give them back.
func (h *Hub) freeze() (thaw func()) {
	var held []sync.Locker
	take := func(l sync.Locker) {
		l.Lock()
		held = append(held, l)
	}
	take(&h.mu)
	for s := range h.sessions {
		take(&s.mu)
	}
	if e, ok := memoryOf(h.keeper); ok {
		take(&e.mu)
		for _, l := range e.logs {
			take(&l.mu)
		}
	}
	for _, r := range h.rooms {
		take(&r.attendance.mu)
	}
	for _, r := range h.rooms {
		take(&r.mu)
	}
	return func() {
		for _, l := range slices.Backward(held) {
			l.Unlock()
		}
	}
}

type checker struct {
	hub      *Hub
	members  map[*room]int
	held     map[*room]int // sessions that hold a lease
	others   map[*room]int // sessions that count without being members
	watchers map[*room]int
	fading   int
	states   int64            // bytes that are charged for them
	holds    map[*Message]int // by ring and log
	errs     []error
}

// that notes a broken invariant.
func (c *checker) that(ok bool, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, fmt.Errorf(format, args...))
	}
}

func (c *checker) sessions() {
	c.members, c.held, c.others, c.watchers = make(map[*room]int), make(map[*room]int), make(map[*room]int), make(map[*room]int)
	byAddress, byUser := make(map[netip.Prefix]int), make(map[string]int)
	for s := range c.hub.sessions {
		c.that(s.Ended() == 0, "session %s has ended and is still in the hub", s.ID())
		if a := s.who().Address; a.IsValid() {
			byAddress[limit.Prefix(a)]++
		}
		if u := s.who().User; u != nil {
			byUser[u.ID]++
		}
		in := make(map[*room]bool)
		for _, m := range s.rooms {
			c.that(!in[m.room], "session %s is twice in %s", s.ID(), m.room.name)
			in[m.room] = true
			c.members[m.room]++
			switch {
			case m.lease != nil:
				c.held[m.room]++
			case !s.who().Observer:
				c.others[m.room]++
			}
			if s.who().Presence != PresenceNothing {
				c.watchers[m.room]++
			}
			c.that(c.hub.rooms[m.room.name] == m.room, "session %s is in %s, which the hub does not know", s.ID(), m.room.name)
			c.that(m.joined <= m.room.ring.next(), "session %s joined %s in the future", s.ID(), m.room.name)
			at := m.at.Load()
			c.that(!at.live || at.seq <= m.room.ring.next(), "session %s reads the future of %s", s.ID(), m.room.name)
			c.that(m.session == s && m.group.room == m.room && m.group.dispatcher == s.dispatcher(), "session %s is in a foreign group of %s", s.ID(), m.room.name)
			c.that(m.index < len(m.group.subscriptions) && m.group.subscriptions[m.index] == m, "session %s is not where its group of %s has it", s.ID(), m.room.name)
		}
		waiting := 0
		for _, n := range s.notices {
			waiting += len(n)
		}
		c.that(waiting == s.noticeBytes && (waiting <= maxNoticeBytes || waiting <= maxAnswerBytes || len(s.notices) == 1), "session %s has %d bytes of notices, counted %d", s.ID(), waiting, s.noticeBytes)
	}
	counted(c, &c.hub.addresses, byAddress)
	counted(c, &c.hub.users, byUser)
}

// counted checks that a table counts the sessions of each key.
func counted[K comparable](c *checker, t *limit.Table[K], sessions map[K]int) {
	t.Each(func(key K, n int) {
		c.that(n == sessions[key], "%v has %d sessions, counted %d", key, sessions[key], n)
		delete(sessions, key)
	})
	c.that(len(sessions) == 0, "sessions without a count: %v", sessions)
}

// count returns how many are kept.
func (p places) count() (n int) {
	for _, q := range p {
		n += q.n
	}
	return n
}

// attendance checks who is in a room.
func (c *checker) attendance(r *room) {
	p := &r.attendance
	held, err := p.roster.Check()
	c.that(err == nil, "presence in %s: %v", r.name, err)
	c.that(p.charged == p.roster.Bytes(), "states in %s weigh %d, charged are %d", r.name, p.roster.Bytes(), p.charged)
	c.states += p.charged
	if p.latest != nil {
		c.holds[&p.latest.message]++
	}
	if end, ok := p.roster.NextEnd(); ok {
		c.that(!p.due.IsZero() && !p.due.After(end), "leases in %s end unnoticed", r.name)
	}
	c.fading += p.roster.Ending()
	c.that(p.counted == p.roster.Ending(), "%d leases end in %s, counted %d", p.roster.Ending(), r.name, p.counted)
	c.that(held == c.held[r], "%d sessions hold leases in %s, counted %d", c.held[r], r.name, held)
	others := p.roster.Len() - p.roster.Members() - p.places.count()
	c.that(others == c.others[r], "%d others in %s, counted %d", c.others[r], r.name, others)
	c.that(int(r.watchers.Load()) == c.watchers[r], "%d subscriptions get presence in %s, counted %d", c.watchers[r], r.name, r.watchers.Load())
}

func (c *checker) rooms() {
	limit := c.hub.settings.Load().MaxRooms
	c.that(len(c.hub.rooms) <= limit, "%d rooms, at most %d are allowed", len(c.hub.rooms), limit)
	set, vacantIn, roomsIn := c.hub.settings.Load(), make(map[*block]int), make(map[*block]int)
	for name, r := range c.hub.rooms {
		c.that(r.name == name, "room %s is listed as %s", r.name, name)
		c.that(r.pins.Load() == 0, "room %s has %d pins at rest", name, r.pins.Load())
		if r.subscribers == 0 {
			vacantIn[r.block]++
		}
		roomsIn[r.block]++
		key := blockKey{set.RoomsQuota(name).Pattern, set.Declared(name)}
		c.that(r.block == c.hub.blocks[key], "room %s does not count in %v", name, key)
		c.that(r.index < len(r.block.byUse) && r.block.byUse[r.index] == r, "room %s has no rank", name)
		c.attendance(r)
		sum, dispatchers := 0, make(map[Dispatcher]bool)
		for _, f := range r.groups {
			c.that(len(f.subscriptions) > 0 && !dispatchers[f.dispatcher], "room %s has a group of nobody, or two of one dispatcher", name)
			dispatchers[f.dispatcher] = true
			sum += len(f.subscriptions)
		}
		c.that(r.subscribers == sum && sum == c.members[r], "room %s has %d members, %d by groups, %d by sessions", name, r.subscribers, sum, c.members[r])
		c.ring(name, &r.ring)
	}
	for key, b := range c.hub.blocks {
		c.that(b.key == key && len(b.byUse) == roomsIn[b] && len(b.byUse) > 0, "%d rooms in %v, %d with a rank", roomsIn[b], key, len(b.byUse))
		c.that(int64(vacantIn[b]) == b.vacant.Load(), "%d rooms without members in %v, counted %d", vacantIn[b], key, b.vacant.Load())
	}
}

func (c *checker) ring(room string, r *ring) {
	last, at, messages := r.floor(time.Now()), time.Time{}, 0
	for i, m := range r.entries.All() {
		c.that(r.at(r.first+uint64(i)) == m, "room %s: sequence %d is not entry %d", room, r.first+uint64(i), i)
		c.that(m.Room == room, "room %s has a message of %s", room, m.Room)
		if m.Presence == nil { // frames have a time of their own, which comes before the room's lock
			c.that(!m.Time.Before(at), "room %s: time runs backwards in the ring", room)
			at = m.Time
		}
		c.holds[m]++
		if m.Signal {
			c.that(m.IsZero(), "room %s: a signal has the id %v", room, m.Position)
			continue
		}
		c.that(m.Offset > last.Offset, "room %s: %v comes after %v in the ring", room, m.Position, last)
		last = m.Position
		c.that(messages < r.messages.Len() && r.messages.At(messages) == r.first+uint64(i), "room %s: %v is not found in the ring", room, m.Position)
		messages++
	}
	c.that(messages == r.messages.Len(), "room %s: %d messages in the ring, %d are listed", room, messages, r.messages.Len())
	c.that(r.newest == last || messages == 0 && r.newest.Offset >= last.Offset, "room %s: the last position is %v, not %v", room, r.newest, last)
}

func (c *checker) logs(e *Memory) {
	c.traces(&e.traces, e.last.Load())
	for name, l := range e.logs {
		r := c.hub.rooms[name]
		c.that(r != nil && !l.gone, "the log of %s outlives its room", name)
		if r == nil {
			continue
		}
		c.that(len(l.readers) == 1, "the log of %s has %d readers", name, len(l.readers))
		c.that(l.keep == r.policy.Load().History, "the log of %s keeps %v, not %v", name, l.keep, r.policy.Load().History)
		c.that(l.live() <= l.keep.Count, "the log of %s has %d messages, keeps %d", name, l.live(), l.keep.Count)
		last, over := max(l.lost.offset, l.lost.brief), 0
		c.that(e.traces.by[name] == nil, "%s has a log and a trace", name)
		for i, k := range l.messages.All() {
			m := k.message
			c.that(k.offset > last, "log of %s: %d comes after %d", name, k.offset, last)
			last = k.offset
			if m == nil {
				c.that(i > 0, "the log of %s begins with nothing", name)
				over++
				continue
			}
			c.that(!m.Signal && m.Epoch == e.epoch && m.Offset == k.offset && m.Room == name, "log of %s: %v does not belong there", name, m.Position)
			c.that(m.Expires.IsZero() || slices.Contains(l.mortal, expiry{m.Expires, m.Offset}), "log of %s: %v expires unnoticed", name, m.Position)
			c.holds[m]++
		}
		c.that(over == l.over && over <= max(minOver, l.messages.Len()/4), "log of %s: %d of %d are over, counted %d", name, over, l.messages.Len(), l.over)
		c.that(len(l.mortal) <= 2*l.live()+minOver, "log of %s: %d messages, %d expire", name, l.live(), len(l.mortal))
	}
}

func (c *checker) traces(t *traces, last uint64) {
	bytes := 0
	for i, known := range t.order {
		c.that(known.index == i && t.by[known.room] == known, "the trace of %s is in the wrong place", known.room)
		c.that(known.newest() >= t.order[0].newest() && known.newest() <= last, "of %s %d was lost, the least is %d and the last %d", known.room, known.newest(), t.order[0].newest(), last)
		bytes += known.bytes()
	}
	c.that(len(t.by) == len(t.order) && t.bytes == bytes, "%d traces in order of %d, with %d bytes, counted %d", len(t.order), len(t.by), bytes, t.bytes)
	c.that(max(t.floor.offset, t.floor.brief) <= last, "up to %d was lost, but the last is %d", max(t.floor.offset, t.floor.brief), last)
}

// memoryOf returns the memory engine, also if a test has wrapped it so that it passes for a remote one.
func memoryOf(e Engine) (*Memory, bool) {
	if wrapped, ok := e.(interface{ Wraps() Engine }); ok {
		return memoryOf(wrapped.Wraps())
	}
	m, ok := e.(*Memory)
	return m, ok
}

// Waits reports whether the session has waited for a page of the engine's log when it was last read.
func (s *Session) Waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// Keeps returns the offsets of what the hub still has of a room.
func (h *Hub) Keeps(room string) map[uint64]bool {
	kept, now := make(map[uint64]bool), time.Now()
	add := func(m *Message) {
		if m != nil && !m.Signal && !m.Expired(now) {
			kept[m.Offset] = true
		}
	}
	if r := h.lookUp(room); r != nil {
		r.mu.Lock()
		for _, m := range r.ring.entries.All() {
			add(m)
		}
		r.mu.Unlock()
	}
	if e, ok := memoryOf(h.engine); ok {
		if l := e.lookUp(room); l != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, k := range l.messages.All() {
				add(k.message)
			}
		}
	}
	return kept
}

// Addresses returns how many addresses the hub remembers.
func (h *Hub) Addresses() (n int) {
	h.addresses.Each(func(netip.Prefix, int) { n++ })
	return n
}

// Unlocked reports whether nobody holds the hub's lock.
func (h *Hub) Unlocked() bool {
	if !h.mu.TryLock() {
		return false
	}
	h.mu.Unlock()
	return true
}

// Knows reports whether the hub has the room.
func (h *Hub) Knows(room string) bool { return h.lookUp(room) != nil }
