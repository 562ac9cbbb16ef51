package hub

import (
	"context"
	"time"

	"github.com/caddy-realtime/realtime/hub/presence"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The reasons of a departure.
const (
	WhyLeft    = presence.Left
	WhyTimeout = presence.Timeout
)

// departure is how a session leaves a room.
type departure struct {
	why      Why           // for the other members
	grace    time.Duration // after which they see it; 0: at once
	sentAway bool          // by the server, to come back at once: the client has not left
}

// departureBy returns how a session leaves its rooms that ends by the cause. Whom the server has sent
// away gets the time to come back even if the room has no grace.
func departureBy(c Cause, p *settings.Policy) departure {
	d := departure{why: WhyTimeout, grace: p.Presence.Grace}
	switch c {
	case CauseLeft:
		d.why = WhyLeft
	case CauseDraining, CauseStopping, CauseAgain:
		d.sentAway, d.grace = true, max(d.grace, settings.DefaultPresenceGrace)
	default:
	}
	return d
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
			return nil, nil //nolint:nilnil // nothing has changed, which is not an error
		}
		return &Presence{Room: room, Snapshot: true, Numbers: mode != settings.PresenceOn, Cursor: Position{Epoch: h.epoch}}, nil
	}
	return r.attendance.since(since), nil
}

// telling returns the room, nil if there is none, and its presence mode, or ErrPresence
// where that is off.
func (h *Hub) telling(name string) (*room, settings.PresenceMode, error) {
	mode := h.settings.Load().Policy(name).Presence.Mode
	if mode == settings.PresenceOff {
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

// renew keeps a client without a session in the room until [VisitLease] and the room's
// grace are over, and shows state unless it is nil. The client's ID identifies it.
func (h *Hub) renew(ctx context.Context, c *Caller, room string, state []byte) error {
	state, err := h.stateOf(state, c.who(), room)
	if err != nil {
		return err
	}
	defer h.relieve() // messages make way for it
	if h.settings.Load().Policy(room).Presence.Mode == settings.PresenceOff {
		return ErrPresence
	}
	r, err := h.acquire(ctx, room, c)
	if err != nil {
		return err
	}
	defer r.unpin()
	return r.attendance.renew(c.who(), state, VisitLease+r.policy.Load().Presence.Grace)
}

// withdraw ends at once what renew began. Where a session is in the room for the
// client, it ends with that, without grace.
func (h *Hub) withdraw(c *Client, room string) {
	if r := h.lookUp(room); r != nil {
		r.attendance.withdraw(c)
	}
}

// memberCount returns how many members there are.
func (r *room) memberCount() int {
	r.attendance.mu.Lock()
	defer r.attendance.mu.Unlock()
	return r.attendance.roster.Len()
}
