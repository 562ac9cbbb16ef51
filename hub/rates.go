package hub

import (
	"net/netip"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that says how often clients may do what. Each rate counts four
// times: for the session, for all that its user does, for all that its address does and,
// where the room has a rate of its own, for all that is published there.

// The names of rates in refusals, by use.
var rateNames = map[limit.Use]string{
	limit.Publish: "rate", limit.Signal: "rate of signals", limit.Join: "rate of joins",
	limit.Ask: "rate of commands", limit.Create: "rate of new rooms",
}

// limitsOf returns the rate that holds for a client in place of r.
func limitsOf(c *Client, set *settings.Settings, r limit.Rate) limit.Rate {
	if c.isBackend() {
		return set.BackendRate
	}
	return r
}

// payFor spends what a publication costs: a token of the session, of the user, of the
// address, and of the room.
func (c *Caller) payFor(p *Publication, policy *settings.Policy) error {
	use := limit.Publish
	if p.Signal {
		use = limit.Signal
	}
	h, now := c.hub, time.Now()
	if err := c.pay(use, policy.Rate, policy.Rate, p.Room, now); err != nil || c.who().isBackend() {
		return err
	}
	if wait, ok := h.inRooms.Take(p.Room, use, policy.RoomRate, now); !ok {
		return h.bite(limit.TooOften("room_rate", policy.RoomRate, wait), c.who(), p.Room)
	}
	return nil
}

// ask spends what a command costs that publishes nothing: a token of the session, of the
// user and of the address. Connections are cheap: what one may ask anew, all of one
// user or address may not without end.
func (c *Caller) ask(use limit.Use) error {
	set := c.hub.settings.Load()
	own, together := set.Asking(), set.AskingTogether()
	if c.session == nil {
		together = own
	}
	return c.pay(use, own, together, "", time.Now())
}

// pay spends a token of the session, if there is one, of the user and of the address.
func (c *Caller) pay(use limit.Use, own, together limit.Rate, room string, now time.Time) error {
	h := c.hub
	if s := c.session; s != nil {
		own = limitsOf(c.who(), h.settings.Load(), own)
		s.mu.Lock()
		wait, ok := s.rates.Take(use, own, now)
		s.mu.Unlock()
		if !ok {
			return h.bite(limit.TooOften(rateNames[use], own, wait), c.who(), room)
		}
	}
	return h.payTogether(c.who(), use, together, room, now)
}

// payTogether spends a token of all that the client's user does together, and of all
// that its address does. A backend has no share in those of its address.
func (h *Hub) payTogether(c *Client, use limit.Use, r limit.Rate, room string, now time.Time) error {
	if r = limitsOf(c, h.settings.Load(), r); r == limit.Unlimited {
		return nil
	}
	if wait, ok := h.users.Take(userID(c.User), use, r, now); !ok {
		return h.biteUser(limit.TooOften(rateNames[use], r, wait), c, room)
	}
	if c.isBackend() {
		return nil
	}
	if wait, ok := h.addresses.Take(limit.Prefix(c.Address), use, r, now); !ok {
		return h.biteAddress(limit.TooOften(rateNames[use], r, wait), c, room)
	}
	return nil
}

// MayTry reports whether credentials from the address may be tried now, and otherwise
// after what time: too many of them have failed. Ask it before any work is done on them.
func (h *Hub) MayTry(a netip.Addr) (wait time.Duration, ok bool) {
	return h.failures.MayTry(a, time.Now())
}

// SpendFailure counts failed credentials from the address; see [limit.FailureRate]. If
// there were too many it returns after what time the next ones may fail.
func (h *Hub) SpendFailure(a netip.Addr) (wait time.Duration, ok bool) {
	return h.failures.Spend(a, time.Now())
}

// ReportFailure reports whether failed credentials from the address are to be logged now.
func (h *Hub) ReportFailure(a netip.Addr) bool { return h.failures.Report(a, time.Now()) }

// sweepLimits forgets who owes nothing.
func (h *Hub) sweepLimits(now time.Time) {
	h.addresses.Sweep(now)
	h.users.Sweep(now)
	h.inRooms.Sweep(now)
	h.failures.Sweep(now)
}
