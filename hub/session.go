package hub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Session is one client with a connection, on any transport: a [Caller] that has
// subscriptions. Next is for one goroutine at a time; all other methods are safe for
// concurrent use.
type Session struct {
	Caller

	waker     Waker
	began     time.Duration // after Hub.born
	sent      atomic.Uint64 // messages handed out by Next, and in rooms that were left
	got       atomic.Uint64 // messages published
	cause     atomic.Uint32
	dismissed atomic.Uint32 // the cause with which it ends when nothing is due; 0: none
	held      atomic.Int32  // calls of Hold in force
	revoked   atomic.Uint32 // how often it has lost a room, the members of one, or its credential

	mu          sync.Mutex
	rooms       []*Subscription
	turn        int // where Next begins, so that no room starves another
	notices     [][]byte
	noticeBytes int
	drained     chan struct{} // closed when no notice waits; nil: nobody asks
	waits       bool          // for a page of an engine's log; written by Next
	over        chan struct{} // closed when the session ends; nil: nobody asked, see Context
	rates       limit.Buckets
}

// dispatcher returns the one of the session's waker, or the hub's own.
func (s *Session) dispatcher() Dispatcher {
	if of, ok := s.waker.(interface{ Dispatcher() Dispatcher }); ok {
		return of.Dispatcher()
	}
	return &s.hub.wakers
}

// Logger returns the hub's logger, see [Hub.Logger].
func (s *Session) Logger() *slog.Logger { return s.hub.Logger() }

// Since returns when the session was made.
func (s *Session) Since() time.Time { return s.hub.born.Add(s.began) }

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

// subscribe subscribes the session to a room. If rights are taken away meanwhile, it begins again.
func (s *Session) subscribe(ctx context.Context, name string, start Start) (Joined, error) {
	for {
		joined, err := s.trySubscribe(ctx, name, start)
		if !errors.Is(err, errAgain) {
			return joined, err
		}
	}
}

// errAgain says that a session had more rights when it began to subscribe.
var errAgain = errors.New("rights have changed")

func (s *Session) trySubscribe(ctx context.Context, name string, start Start) (Joined, error) {
	can := s.can(name)
	start.keepTo(can)
	state, err := s.hub.stateOf(start.State, s.who(), name)
	if err != nil {
		return Joined{}, err
	}
	if state != nil {
		defer s.hub.relieve() // messages make way for it
	}
	if err := s.ask(limit.Join); err != nil {
		return Joined{}, err
	}
	r, err := s.hub.acquire(ctx, name, &s.Caller)
	if err != nil {
		return Joined{}, err
	}
	defer r.unpin()

	m := &Subscription{session: s, room: r, waker: s.waker, noEcho: s.who().NoEcho}
	m.allow(can)
	joined, err := m.begin(ctx, s.hub, start)
	if err != nil {
		return Joined{}, err
	}
	start.State = state
	return s.enter(m, joined, start)
}

// enter makes a subscription that has begun one of the session's, unless something has changed
// meanwhile.
func (s *Session) enter(m *Subscription, joined Joined, start Start) (Joined, error) {
	r, name := m.room, m.room.name
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause.Load() != 0 {
		return Joined{}, ErrEnded
	}
	switch can := s.can(name); { // Authorize may have been here meanwhile
	case !can.Has(VerbSubscribe):
		return Joined{}, s.refusal()
	case !s.hub.settings.Load().Exists(name): // and Configure
		return Joined{}, ErrNoRoom
	case m.can&^can != 0:
		return Joined{}, errAgain
	default:
		m.allow(can)
	}
	i := s.find(name)
	if i < 0 && len(s.rooms) >= settings.MaxRoomsJoined {
		return Joined{}, ErrRooms
	}
	// The new subscription holds its place before the old one lets go.
	r.enter(m, s.dispatcher())
	if err := m.appear(start.State, i < 0); err != nil {
		r.leave(m)
		return Joined{}, err
	}
	if i >= 0 {
		s.leave(s.rooms[i], departure{why: WhyLeft})
		s.rooms[i] = m
	} else {
		s.rooms = append(s.rooms, m)
	}
	joined.Rights = Rights{Room: name, Can: m.can, Presence: r.policy.Load().Presence.Mode}
	var until time.Time
	if until, joined.Returning = s.hub.returning(start.After, joined.Gap, name); joined.Returning {
		m.stale = false
		r.attendance.settle(until)
	} else if m.can.Has(VerbMembers) {
		joined.Members = r.memberCount()
	}
	if start.Answer != nil {
		s.queue(start.Answer(joined))
	}
	// The session was not notified of messages between begin and enter.
	s.waker.Wake()
	return joined, nil
}

// leave ends a subscription. Called with mu held.
func (s *Session) leave(m *Subscription, d departure) {
	m.dropCatchUp()
	m.room.leave(m)
	s.sent.Add(m.sent.Load())
	m.vanish(d)
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

// unsubscribe ends the subscription in a room, and the membership without its grace. It
// does nothing if there is none.
func (s *Session) unsubscribe(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(name); i >= 0 {
		s.leave(s.rooms[i], departure{why: WhyLeft})
		s.rooms = slices.Delete(s.rooms, i, i+1)
	}
}

// show shows a state of the client as a member of a room.
func (s *Session) show(room string, state []byte) error {
	state, err := s.hub.stateOf(state, s.who(), room)
	if err != nil {
		return err
	}
	defer s.hub.relieve() // messages make way for it
	if err := s.ask(limit.Join); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(room)
	switch {
	case i < 0:
		return ErrNotJoined
	case s.who().Observer, s.rooms[i].room.policy.Load().Presence.Mode == settings.PresenceOff:
		return ErrPresence
	}
	return s.rooms[i].show(state)
}

func (s *Session) find(name string) int {
	return slices.IndexFunc(s.rooms, func(m *Subscription) bool { return m.room.name == name })
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
		s.leave(m, departureBy(cause, m.room.policy.Load()))
	}
	s.rooms = nil
	s.release()
	if s.over != nil {
		close(s.over)
	}
	s.mu.Unlock()
	s.hub.disconnect(s)
	s.waker.Wake()
}

// Ended returns why the session has ended, or 0 if it has not.
func (s *Session) Ended() Cause { return Cause(s.cause.Load()) }

// Refusal returns the error with which a request is refused whose session has ended before it was answered.
func (s *Session) Refusal() error {
	switch s.Ended() {
	case CauseCredential:
		return ErrCredential
	case CauseUser:
		return ErrUserChanged
	case CauseForbidden:
		return ErrForbidden
	case CauseNoRoom:
		return ErrNoRoom
	default:
		return ErrDraining // it may come back
	}
}

// explain adds the session's refusal to [ErrEnded].
func (c *Caller) explain(err error) error {
	if !errors.Is(err, ErrEnded) {
		return err
	}
	return endedError{c.session.Refusal()}
}

// endedError is ErrEnded, for a reason.
type endedError struct{ error }

// Is implements the interface of [errors.Is].
func (endedError) Is(target error) bool { return target == ErrEnded }

// Unwrap returns the reason.
func (e endedError) Unwrap() error { return e.error }

// Next appends to buf what is due to the client, notices first, then what
// comes after its cursors, until there is nothing or buf's capacity is reached,
// and reports whether there may be more. It never blocks. Messages are shared and
// must not be changed. If nothing is due to a session that was dismissed, Next ends it.
func (s *Session) Next(buf []Item) (items []Item, more bool) {
	items, more = s.next(buf)
	if cause := Cause(s.dismissed.Load()); cause != 0 && !more && !s.waits && s.held.Load() == 0 {
		if more = len(items) > len(buf); !more { // the caller is to come again, when it has passed them on
			s.End(cause)
		}
	}
	return items, more
}

// next is Next without the dismissal.
func (s *Session) next(buf []Item) (items []Item, more bool) {
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
		s.release()
	}
	n := len(s.rooms)
	s.waits = false
	for i := range n {
		if s.cause.Load() != 0 {
			more = false // End waits for mu
			break
		}
		m := s.rooms[(s.turn+i)%n]
		var rest bool
		buf, rest = m.next(buf, s)
		more = more || rest
		s.waits = s.waits || m.behind != nil
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
