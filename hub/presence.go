package hub

import (
	"context"
	"sync/atomic"

	"github.com/caddy-realtime/realtime/hub/presence"
)

// Presence is what a room says about its members: a snapshot, or what has changed since
// the frame before. A change says how a member is now, so that sending it twice does no
// harm. It is immutable and shared.
type Presence struct {
	Room string
	// Members is how many are there: each user once, each anonymous
	// connection once.
	Members int
	// Snapshot says that Here is every member that shows a state.
	Snapshot            bool
	Here, Enter, Update []Member
	Leave               []Departure
	// Numbers says that the room does not tell who is there, only how many.
	Numbers bool

	cursor  Position
	carrier *Message // what is charged for it; nil: nothing is, and no form is kept
	forms   [2 * MaxForms]atomic.Pointer[[]byte]
}

// LargeRoom bounds the rooms whose members are listed for everybody. In a larger one, a
// client gets only their number unless it asked for all.
const LargeRoom = 1000

// Cursor is for asking later whether the room's presence has changed, see
// [Caller.PresenceSince].
func (p *Presence) Cursor() Position { return p.cursor }

// Form returns the presence in form f, calling encode on first need, like
// [Message.Form]. all says that names are wanted however many they are.
func (p *Presence) Form(f Form, all bool, encode func(p *Presence, names bool) []byte) []byte {
	names := !p.Numbers && (all || p.Members <= LargeRoom)
	at := &p.forms[f]
	if names {
		at = &p.forms[MaxForms+f]
	}
	if b := at.Load(); b != nil {
		return *b
	}
	b := fit(encode(p, names))
	if p.carrier != nil {
		p.carrier.budget.cachePresence(p.carrier, at, b)
	}
	return b
}

// Member is a member that shows a state, and Departure one that has gone.
type (
	Member    = presence.Member
	Departure = presence.Departure
	Why       = presence.Why
)

// The reasons of a departure.
const (
	WhyLeft    = presence.Left
	WhyTimeout = presence.Timeout
)

// whyOf returns the reason that the other members are sent when a session ends.
func whyOf(c Cause) Why {
	if c == CauseLeft {
		return WhyLeft
	}
	return WhyTimeout
}

// presenceAfter returns who is in the room, or nil if that has not changed since
// the cursor.
func (h *Hub) presenceAfter(room string, since Position) (*Presence, error) {
	r, mode, err := h.telling(room)
	if err != nil {
		return nil, err
	}
	if r == nil {
		if since.Epoch == h.epoch {
			return nil, nil //nolint:nilnil // nothing has changed, and that is no error
		}
		return &Presence{Room: room, Snapshot: true, Numbers: mode != PresenceOn, cursor: Position{Epoch: h.epoch}}, nil
	}
	return r.attendance.since(since), nil
}

// telling returns the room, nil if there is none, and its presence mode, or ErrPresence
// where that is off.
func (h *Hub) telling(name string) (*room, PresenceMode, error) {
	mode := h.settings.Load().policy(name).presence.Mode
	if mode == PresenceOff {
		return nil, mode, ErrPresence
	}
	return h.lookUp(name), mode, nil
}

// memberCount returns how many members are in the room, or ErrPresence where the room has
// no presence.
func (h *Hub) memberCount(room string) (int, error) {
	r, _, err := h.telling(room)
	if err != nil || r == nil {
		return 0, err
	}
	return r.memberCount(), nil
}

// renew keeps a client that has no session in the room, as [Caller.Subscribe] does
// one that has, until [VisitLease] and the room's grace are over, and shows state
// unless it is nil. The client is known by its ID.
func (h *Hub) renew(ctx context.Context, c *Client, room string, state []byte) error {
	state, err := h.stateOf(state, c, room)
	if err != nil {
		return err
	}
	defer h.relieve() // messages make way for it
	if h.settings.Load().policy(room).presence.Mode == PresenceOff {
		return ErrPresence
	}
	r, err := h.acquire(ctx, room, c)
	if err != nil {
		return err
	}
	defer r.unpin()
	r.attendance.renew(c, state, VisitLease+r.policy.Load().presence.Grace)
	return nil
}

// withdraw ends at once what renew began. Where a session is in the room for the
// client, it ends with that, without grace.
func (h *Hub) withdraw(c *Client, room string) {
	if r := h.lookUp(room); r != nil {
		r.attendance.withdraw(c)
	}
}
