package hub

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Client is who a session belongs to. It says who somebody is; what he may do
// is the hub's to know.
type Client struct {
	// ID names the connection: unguessable, made by [Hub.Connect] if empty.
	ID string
	// User is nil for an anonymous client.
	User *User
	// Address is what limits by address count; invalid: they don't.
	Address netip.Addr
	// NoEcho leaves out messages that this session published itself.
	NoEcho bool
}

// Start says where in a room's log a session begins. The first field that is
// set decides; the zero Start begins now.
type Start struct {
	// Foreign stands for a cursor that is none of ours: a gap, then the oldest
	// messages still kept.
	Foreign bool
	// After begins after this cursor.
	After Position
	// Last begins with the newest n messages.
	Last int
	// Age begins with the newest messages that are no older than this.
	Age time.Duration
}

// Joined is the answer to [Session.Join].
type Joined struct {
	// Cursor is where the session stands before what [Session.Next] will give
	// it. A client that resumes there misses nothing. Before a gap it is the
	// client's own cursor, zero if that could not be read.
	Cursor Position
	// Gap is set if Start's cursor could not be honoured. It will also be the
	// room's first Item.
	Gap *Gap
}

// Item is one thing that a session has to tell its client; one field is set.
type Item struct {
	Notice  []byte
	Gap     *Gap
	Message *Message
}

// Session is one client on any transport. Next is for one goroutine at a time;
// all other methods are safe for concurrent use.
type Session struct {
	hub    *Hub
	client Client
	waker  Waker
	crowd  Crowd
	since  time.Time
	cause  atomic.Uint32
	sent   atomic.Uint64 // messages handed out by Next, and in rooms that were left
	got    atomic.Uint64 // messages published

	mu          sync.Mutex
	rooms       []*Membership
	turn        int // where Next begins, so that no room starves another
	notices     [][]byte
	noticeBytes int
	publishing  buckets
	joining     buckets
}

// ID returns the session's id, which its client knows as conn.
func (s *Session) ID() string { return s.client.ID }

// Client returns who the session belongs to.
func (s *Session) Client() Client { return s.client }

// Logger returns the hub's logger, see [Hub.Logger].
func (s *Session) Logger() *slog.Logger { return s.hub.Logger() }

// Since returns when the session was made.
func (s *Session) Since() time.Time { return s.since }

// Counts returns how many messages the session was given and has published.
func (s *Session) Counts() (sent, published uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent = s.sent.Load()
	for _, m := range s.rooms {
		sent += m.sent.Load()
	}
	return sent, s.got.Load()
}

// Join makes the session a member of a room, beginning at start. A room that
// does not exist is made. It returns ErrRoomName, ErrEnded, ErrDraining, a
// *LimitError, or the engine's error. Joining a room twice is an error of the
// caller and moves the cursor.
func (s *Session) Join(ctx context.Context, name string, start Start) (Joined, error) {
	if err := CheckRoomName(name); err != nil {
		return Joined{}, err
	}
	if s.cause.Load() != 0 {
		return Joined{}, ErrEnded
	}
	set := s.hub.settings.Load()
	s.mu.Lock()
	wait, ok := s.joining.take(set.Rate, time.Now())
	s.mu.Unlock()
	if !ok {
		return Joined{}, s.hub.bite(rateError("rate of joins", set.Rate, wait))
	}
	r, err := s.hub.room(ctx, name, &s.client)
	if err != nil {
		return Joined{}, err
	}
	defer r.unpin()

	m := &Membership{session: s, room: r, waker: s.waker, noEcho: s.client.NoEcho}
	joined, err := m.begin(ctx, s.hub, start)
	if err != nil {
		return Joined{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause.Load() != 0 {
		return Joined{}, ErrEnded
	}
	if i := s.find(name); i >= 0 {
		s.leave(s.rooms[i])
		s.rooms[i] = m
	} else {
		s.rooms = append(s.rooms, m)
	}
	r.enter(m, s.crowd)
	// What came between begin and enter was no news for it.
	s.waker.Wake()
	return joined, nil
}

// leave ends a membership. Called with mu held.
func (s *Session) leave(m *Membership) {
	m.room.leave(m)
	s.sent.Add(m.sent.Load())
}

// begin finds the membership's place.
func (m *Membership) begin(ctx context.Context, h *Hub, start Start) (Joined, error) {
	m.room.mu.Lock()
	m.joined = m.room.ring.next()
	m.room.mu.Unlock()

	q := Query{Foreign: start.Foreign, After: start.After, Last: start.Last, Age: start.Age}
	if q.Last > 0 || q.Age > 0 {
		q.Limit = Off
	}
	if page, ok := m.room.read(q); ok {
		m.at.Store(&place{pos: page.Start})
		return Joined{Cursor: page.Start}, nil
	}
	page, err := h.engine.Read(ctx, m.room.name, q)
	if err != nil {
		return Joined{}, err
	}
	joined := Joined{Cursor: page.Start, Gap: page.Gap}
	pos := page.Start
	if (q.Foreign || !q.After.IsZero()) && !page.More {
		pos = page.Cursor // nothing lies between the two, and the window reaches back to it
	}
	m.at.Store(&place{pos: pos})
	if m.gap = page.Gap; m.gap != nil {
		// Whoever drops before the gap was told must be told again.
		joined.Cursor = m.gap.From
	}
	return joined, nil
}

// Cursor returns where the session stands in a room after what Next has given,
// or the zero Position if it is not there.
func (s *Session) Cursor(name string) Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(name); i >= 0 {
		return s.rooms[i].at.Load().pos
	}
	return Position{}
}

// Leave ends the membership in a room; it does nothing if there is none.
func (s *Session) Leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(name); i >= 0 {
		s.leave(s.rooms[i])
		s.rooms = slices.Delete(s.rooms, i, i+1)
	}
}

func (s *Session) find(name string) int {
	return slices.IndexFunc(s.rooms, func(m *Membership) bool { return m.room.name == name })
}

// Publish publishes for the session, see [Hub.Publish]; its own rate counts
// beside its address's.
func (s *Session) Publish(ctx context.Context, p Publication) (Receipt, error) {
	if s.cause.Load() != 0 {
		return Receipt{}, ErrEnded
	}
	receipt, err := s.hub.publish(ctx, &s.client, s, p)
	if err == nil && !receipt.Replayed {
		s.got.Add(1)
	}
	return receipt, err
}

// Notify queues a notice, an encoded control object, for the client. A session
// that lets more than 4 KiB of them wait ends with [CauseSlow].
func (s *Session) Notify(notice []byte) {
	s.mu.Lock()
	if s.cause.Load() != 0 {
		s.mu.Unlock()
		return
	}
	over := s.noticeBytes+len(notice) > maxNoticeBytes
	if !over {
		s.notices = append(s.notices, notice)
		s.noticeBytes += len(notice)
	}
	s.mu.Unlock()
	if over {
		s.End(CauseSlow)
		return
	}
	s.waker.Wake()
}

// End ends the session: it leaves its rooms, and Next gives no message any
// more, only the notices that wait. The first cause wins; further calls do
// nothing.
func (s *Session) End(cause Cause) {
	if !s.cause.CompareAndSwap(0, uint32(cause)) {
		return
	}
	s.hub.endings[cause].Add(1)
	s.mu.Lock()
	for _, m := range s.rooms {
		s.leave(m)
	}
	s.rooms = nil
	s.mu.Unlock()
	s.hub.disconnect(s)
	s.waker.Wake()
}

// Ended returns why the session has ended, or 0 if it has not.
func (s *Session) Ended() Cause { return Cause(s.cause.Load()) }

// Next appends to buf what the client is to be told, notices first, then what
// comes after its cursors, until there is nothing or buf's capacity is reached,
// and reports whether there is more. It never blocks. Messages are shared and
// must not be changed.
func (s *Session) Next(buf []Item) (items []Item, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(buf)
	for len(s.notices) > 0 && len(buf) < cap(buf) {
		s.noticeBytes -= len(s.notices[0])
		buf = append(buf, Item{Notice: s.notices[0]})
		s.notices = s.notices[1:]
	}
	more = len(s.notices) > 0
	if !more {
		s.notices = nil
	}
	n := len(s.rooms)
	for i := range n {
		if s.cause.Load() != 0 {
			more = false // End waits for mu
			break
		}
		m := s.rooms[(s.turn+i)%n]
		var rest bool
		buf, rest = m.next(buf, s)
		more = more || rest
	}
	if n > 0 {
		s.turn = (s.turn + 1) % n
	}
	var messages uint64
	for i := range buf[before:] {
		if buf[before+i].Message != nil {
			messages++
		}
	}
	s.sent.Add(messages)
	return buf, more
}

// next appends what the membership has not read yet.
func (m *Membership) next(buf []Item, s *Session) (_ []Item, more bool) {
	if m.gap != nil {
		if len(buf) == cap(buf) {
			return buf, true
		}
		buf = append(buf, Item{Gap: m.gap})
		m.gap = nil
	}
	for {
		if buf, more, ok := m.fromRing(buf, s); ok {
			return buf, more
		}
		if len(buf) == cap(buf) {
			return buf, true
		}
		var ok bool
		if buf, ok = m.fromEngine(buf, s); !ok {
			return buf, false
		}
	}
}

// fromRing reads from the room's delivery window. It is not ok if the window
// does not reach back to the membership's place.
func (m *Membership) fromRing(buf []Item, s *Session) (_ []Item, more, ok bool) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	before := m.at.Load()
	p := *before
	if !p.live || p.seq < r.ring.first {
		if !r.ring.covers(p.pos) {
			m.at.Store(&place{pos: p.pos})
			return buf, false, false
		}
		p.seq, p.live = r.ring.after(p.pos), true
	}
	now := time.Now()
	for end := r.ring.next(); p.seq < end && !more; p.seq++ {
		e := r.ring.at(p.seq)
		wanted := !e.expired(now) && !(s.client.NoEcho && e.Conn == s.client.ID)
		if e.Signal {
			wanted = wanted && p.seq >= m.joined
		} else {
			// It may have come from the engine before it came here.
			wanted = wanted && !(e.Offset <= p.pos.Offset && e.Epoch == p.pos.Epoch)
		}
		if more = wanted && len(buf) == cap(buf); more {
			break
		}
		if !e.Signal && (e.Offset > p.pos.Offset || e.Epoch != p.pos.Epoch) {
			p.pos = e.Position
		}
		if wanted {
			buf = append(buf, Item{Message: e})
		}
	}
	if tail := r.tailPlace(); p == *tail {
		m.at.Store(tail) // where the others stand: from here on it goes with its crowd
	} else if p != *before {
		own := p
		m.at.Store(&own)
	}
	return buf, more, true
}

// fromEngine reads from the room's log, for a session that is behind the
// window. It is not ok if the session is to wait, or has ended.
func (m *Membership) fromEngine(buf []Item, s *Session) (_ []Item, ok bool) {
	pos := m.at.Load().pos
	page, err := s.hub.engine.Read(context.Background(), m.room.name, Query{After: pos, Limit: cap(buf) - len(buf)})
	if err != nil {
		s.hub.log.Load().Error("reading a room's log", "error", err)
		return buf, false
	}
	if gap := page.Gap; gap != nil {
		if gap.Reason == GapExpired {
			gap.Reason = GapSlow
		}
		gap.To = m.room.reach(gap.To)
		m.at.Store(&place{pos: gap.To})
		return append(buf, Item{Gap: gap}), true // the messages after it come with the next read
	}
	if len(page.Messages) == 0 && page.Cursor == pos {
		return buf, false // the engine's log has not got there yet
	}
	for _, e := range page.Messages {
		if !s.client.NoEcho || e.Conn != s.client.ID {
			buf = append(buf, Item{Message: e})
		}
	}
	m.at.Store(&place{pos: page.Cursor})
	return buf, true
}
