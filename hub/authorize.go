package hub

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Authorizer decides what clients may do. It does not change, and is safe for concurrent
// use. It is asked for each step of a client, with locks held: it must not take long, and
// not call the hub.
type Authorizer interface {
	// Decide reports whether the principal may use the verb in the room, whose name is valid.
	// The answer depends on these three alone: never on whether the room exists.
	Decide(p Principal, verb Verb, room string) bool
}

// Open is the authorizer of a hub that has no rules. Everybody may do everything but moderate,
// which needs a grant; a backend may do what its credential grants.
type Open struct{}

// Decide implements [Authorizer].
func (Open) Decide(p Principal, verb Verb, room string) bool {
	if p.Credential == nil || p.Credential.Grants == nil {
		return verb != VerbModerate && p.User.Kind() != message.UserBackend
	}
	if verb != VerbModerate && p.User.Kind() != message.UserBackend {
		return true
	}
	if verb == VerbCreate {
		return true // with what else it may do
	}
	granted, _ := p.Credential.Grants.Grants(verb, room)
	return granted
}

// authority returns the authorizer in force.
func (h *Hub) authority() Authorizer {
	if a := h.authorizer.Load(); a != nil {
		return *a
	}
	return Open{}
}

// Verbs is a set of verbs.
type Verbs uint8

// AllVerbs are those that everybody has without an [Authorizer]: all but moderate and create.
const AllVerbs Verbs = 1<<(VerbShow+1) - 1

// Has reports whether v is among the verbs.
func (vs Verbs) Has(v Verb) bool { return vs&(1<<v) != 0 }

// Rights are what a client may do in a room.
type Rights struct {
	Room     string
	Can      Verbs
	Presence settings.PresenceMode
	// Left says that a session has left the room, and why: [CauseForbidden], since it may not
	// subscribe any more, or [CauseNoRoom]. 0: it has not.
	Left Cause
}

// Change is what a client is told of its rights: what they are now in a room or, if Expires is
// set, that its credential expires after that time.
type Change struct {
	Rights
	Expires time.Duration
}

// Authorize puts an authorizer in force; nil stands for [Open]. Live
// subscriptions are decided again: those that it does not allow end. Clients are told, see
// [Client.Tell] and [Client.Bound].
func (h *Hub) Authorize(a Authorizer) {
	if a == nil {
		h.authorizer.Store(nil)
	} else {
		h.authorizer.Store(&a)
	}
	h.decideAgain()
}

// decideAgain decides again about the subscriptions of all sessions.
func (h *Hub) decideAgain() {
	for _, s := range h.Sessions() {
		s.reauthorize()
	}
}

// decide decides whether the client may do this in the room, by the client, the verb
// and the name of the room alone.
func (c *Caller) decide(verb Verb, room string) error {
	if err := c.who().inScope(room); err != nil {
		return err
	}
	if c.hub.authority().Decide(c.who().principal(), verb, room) {
		return nil
	}
	return c.refusal()
}

// mayCreate returns the error with which a caller is refused that may not make a room, unless
// the engine has a log of it.
func (c *Caller) mayCreate(ctx context.Context, room string) error {
	if c.decide(VerbCreate, room) == nil {
		return nil
	}
	page, err := c.hub.engine.Read(ctx, room, Query{Last: 1, Limit: 1})
	switch {
	case err != nil:
		return err
	case len(page.Messages) > 0:
		return nil
	case c.decide(VerbSubscribe, room) == nil:
		return ErrNoRoom
	default:
		return c.refusal()
	}
}

// mustExist returns ErrNoRoom for a room that does not exist and that the caller may not make,
// where it would see an empty one otherwise.
func (c *Caller) mustExist(ctx context.Context, room string) error {
	if c.hub.lookUp(room) != nil {
		return nil
	}
	return c.mayCreate(ctx, room)
}

// refusal returns the error for what the client may not do.
func (c *Caller) refusal() error {
	switch c.who().User.Kind() {
	case message.UserAnonymous, message.UserGuest:
		return ErrUnauthorized
	default:
		return ErrForbidden
	}
}

// Rights returns what the caller may do in the room.
func (c *Caller) Rights(room string) Rights {
	return Rights{Room: room, Can: c.can(room), Presence: c.hub.settings.Load().Policy(room).Presence.Mode}
}

func (c *Caller) can(room string) (can Verbs) {
	if c.who().inScope(room) != nil {
		return 0
	}
	a := c.hub.authority() // one for all verbs
	for p, v := c.who().principal(), VerbSubscribe; v <= VerbModerate; v++ {
		if a.Decide(p, v, room) {
			can |= 1 << v
		}
	}
	return can
}

// May returns the error with which the door refuses the verb in the room, or nil. It is
// for what has to be decided before a request is read.
func (c *Caller) May(verb Verb, room string) error { return c.admit(verb, room) }

// reauthorize decides again about the session's subscriptions.
func (s *Session) reauthorize() {
	lost, cause := s.decideAgain()
	if cause == CauseAgain {
		s.refuse(cause)
		return
	}
	if cause != 0 {
		s.End(cause)
	}
	if w, ok := s.waker.(Revoker); ok && lost {
		w.Revoke()
	}
}

// Revoker is a [Waker] that keeps what it has taken from its session, and must not keep it when
// the session has lost a room.
type Revoker interface {
	// Revoke lets go of it, or ends the connection if that cannot be done otherwise.
	Revoke()
}

// decideAgain does so. It reports whether the session has lost a room, and the cause with which
// it has to end, if there is one.
func (s *Session) decideAgain() (lost bool, cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	can := make([]Verbs, len(s.rooms)) // asked for first: an authorizer may panic
	set, changed := s.hub.settings.Load(), false
	for i, m := range s.rooms {
		can[i] = s.can(m.room.name)
		changed = changed || can[i] != m.can || !set.Exists(m.room.name)
	}
	if !changed {
		return false, 0
	}
	if s.loses(can) && s.hub.isStale(s.who().Facts) {
		return true, CauseAgain
	}
	kept := s.rooms[:0]
	for i, m := range s.rooms {
		if why := whyLost(can[i], set.Exists(m.room.name)); why != 0 {
			s.lose(m, can[i], why)
			lost, cause = true, cmp.Or(cause, why)
			continue
		}
		if can[i] != m.can {
			s.change(m, can[i])
		}
		kept = append(kept, m)
	}
	clear(s.rooms[len(kept):])
	s.rooms = kept
	s.waker.Wake()
	switch {
	case lost && s.who().Bound:
		return lost, cause
	case s.noticeBytes > maxAnswerBytes:
		return lost, CauseSlow
	default:
		return lost, 0
	}
}

// loses reports whether one of the rooms has more rights than these. Called with mu held.
func (s *Session) loses(can []Verbs) bool {
	for i, m := range s.rooms {
		if m.can&^can[i] != 0 {
			return true
		}
	}
	return false
}

// isStale reports whether the authorizer in force cannot say what a fact means: it was found out by
// other rules, and has to be found out again.
func (h *Hub) isStale(f *Facts) bool {
	k, ok := h.authority().(FactKnower)
	return ok && !k.Knows(f)
}

// FactKnower is an [Authorizer] that can say whether facts still mean something. A session that loses a
// right, and has a fact that means nothing any more, ends with [CauseAgain]: the client may have
// the right when it comes back.
type FactKnower interface {
	// Knows reports whether all of the facts mean something. nil has none.
	Knows(f *Facts) bool
}

// whyLost returns the cause for which a client loses a room with these rights; 0 if it does not.
func whyLost(can Verbs, exists bool) Cause {
	switch {
	case !can.Has(VerbSubscribe):
		return CauseForbidden
	case !exists:
		return CauseNoRoom
	default:
		return 0
	}
}

// lose ends a subscription, and tells the client why. Called with mu held.
func (s *Session) lose(m *Subscription, can Verbs, why Cause) {
	m.allow(can)
	s.revoked.Add(1)
	s.tell(m, why)
	s.leave(m, departure{why: WhyLeft})
}

// tell tells the client of its rights in the subscription's room; left says whether it has left
// that. Called with mu held.
func (s *Session) tell(m *Subscription, left Cause) {
	if s.who().Tell != nil {
		s.queue(s.who().Tell(Change{Rights: Rights{Room: m.room.name, Can: m.can, Presence: m.room.policy.Load().Presence.Mode, Left: left}}))
	}
}

// change gives a subscription other rights, and tells the client. Called with mu held.
func (s *Session) change(m *Subscription, can Verbs) {
	taken := m.can &^ can
	m.allow(can)
	if taken.Has(VerbMembers) {
		s.revoked.Add(1)
	}
	s.tell(m, 0)
	if taken.Has(VerbShow) {
		m.unshow()
	}
	if taken.Has(VerbHistory) {
		m.skipHistory()
	}
}

// allow notes what the client may do in the room.
func (m *Subscription) allow(can Verbs) {
	saw, sees := m.can.Has(VerbMembers), can.Has(VerbMembers)
	m.can = can
	if !sees {
		m.stale = false
	} else if !saw && m.session.who().Presence != PresenceNothing {
		m.stale, m.shown = true, 0 // it gets a snapshot, before any batch
		m.standAlone()
	}
	m.blind.Store(!sees)
}

// standAlone takes the subscription out of its dispatcher's batches, until it has read for itself.
func (m *Subscription) standAlone() {
	for at := m.at.Load(); at != nil; at = m.at.Load() {
		own := *at
		if m.at.CompareAndSwap(at, &own) {
			return
		}
	}
}

// unshow takes back the state that the client has shown. It stays a member.
func (m *Subscription) unshow() {
	if m.lease == nil {
		return
	}
	m.lease = m.room.attendance.unshow(m.session.who(), m.lease)
}

// skipHistory passes what the subscription was still to read and is older than [RecentAge], which
// becomes a gap.
func (m *Subscription) skipHistory() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	at := m.at.Load()
	if at == nil {
		return
	}
	to := *r.tailPosition() // what is only in the log is old
	if at.live && at.seq >= r.ring.first {
		to = *at
		for seq, now := at.seq, time.Now(); seq < r.ring.next(); seq++ {
			if e := r.ring.at(seq); !e.Signal && now.Sub(e.Time) > RecentAge {
				to.pos, to.seq = e.Position, seq+1
			}
		}
	}
	if to.pos != at.pos && m.at.CompareAndSwap(at, &to) {
		m.gap = &Gap{Room: r.name, From: at.pos, To: to.pos, Reason: message.GapExpired}
	}
}

// Revocations returns how often the session has lost a room, the right to see the members of one, or
// its credential. If that has changed, what was taken from the session and not sent yet has to pass Still.
func (s *Session) Revocations() uint32 { return s.revoked.Load() }

// Still returns those of the items that the session may still be sent: what is of a room that
// it has left is not.
func (s *Session) Still(items []Item) []Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(items, func(it Item) bool {
		room := ""
		switch {
		case it.Message != nil:
			room = it.Message.Room
		case it.Presence != nil:
			room = it.Presence.Room
		case it.Gap != nil:
			room = it.Gap.Room
		}
		i := s.find(room)
		return room != "" && (i < 0 || it.Presence != nil && !s.rooms[i].can.Has(VerbMembers))
	})
}

// RecentAge is how far back a client may go on from its cursor that may subscribe, and not
// read history.
const RecentAge = 2 * time.Minute

// goesOn reports whether a query goes on from a cursor, or asks only for the tail.
func goesOn(q Query) bool {
	return q.InvalidCursor || !q.After.IsZero() || q.Before.IsZero() && q.Last == 0 && q.Age == 0
}

// recent returns the page without what is older than [RecentAge], which becomes a gap.
func recent(page Page, q Query) Page {
	old := 0
	for now := time.Now(); old < len(page.Messages) && now.Sub(page.Messages[old].Time) > RecentAge; {
		old++
	}
	if old == 0 {
		return page
	}
	gap := Gap{Room: page.Messages[0].Room, From: q.After, To: page.Messages[old-1].Position, Reason: message.GapExpired}
	if page.Gap != nil {
		gap.From, gap.Reason = page.Gap.From, page.Gap.Reason
	}
	page.Messages, page.Gap, page.Start = page.Messages[old:], &gap, gap.To
	return page
}
