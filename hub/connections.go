package hub

import (
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that counts connections.

// Connect makes a session of a client. w is woken when there is something for
// [Session.Next]; if it belongs to a [Dispatcher], that is notified of new messages
// instead. It returns [names.ErrUser], [ErrCredential], [ErrDraining], or a [limit.Error] with [limit.ErrFull] that
// names max_connections or max_connections_per_address.
func (h *Hub) Connect(c Client, w Waker) (*Session, error) {
	if c.ID == "" {
		c.ID = h.NewConn(c.User)
	}
	s := &Session{Caller: Caller{hub: h}, waker: w, began: time.Since(h.born)}
	s.client.Store(&c)
	s.session = s
	if err := h.count(s.who(), func() { h.sessions[s] = struct{}{} }); err != nil {
		return nil, err
	}
	if c.Credential != nil {
		h.lifetimes.set(s, &c)
		if err := h.vouch(&c); err != nil { // what has been revoked meanwhile did not find the session
			s.End(CauseCredential)
			return nil, err
		}
	}
	return s, nil
}

// Occupy counts the caller among the connections while a request of it that makes
// no session is answered. leave undoes that, and must be called once. It returns
// the errors of [Hub.Connect].
func (c *Caller) Occupy() (leave func(), err error) {
	h, addr := c.hub, c.who().Address
	if err := h.count(c.who(), func() { h.answers++ }); err != nil {
		return nil, err
	}
	return func() {
		h.mu.Lock()
		h.answers--
		h.mu.Unlock()
		h.addresses.With(addr, func(a *limit.Address) { a.Sessions-- })
	}, nil
}

// count counts a client among the connections, of the hub and of its address. add
// is called with mu held.
func (h *Hub) count(c *Client, add func()) error {
	if err := h.vouch(c); err != nil {
		return err
	}
	set := h.settings.Load()
	var refused error
	h.addresses.With(c.Address, func(a *limit.Address) {
		if refused = h.crowded(c, a, set); refused == nil {
			a.Sessions++
		}
	})
	if refused != nil {
		return refused
	}
	h.mu.Lock()
	if refused = h.occupied(c, set); refused == nil {
		add()
	}
	h.mu.Unlock()
	if refused != nil {
		h.addresses.With(c.Address, func(a *limit.Address) { a.Sessions-- })
	}
	return refused
}

// CanConnect returns the error with which [Hub.Connect] would refuse the caller's
// client now, or nil.
func (c *Caller) CanConnect() error {
	h := c.hub
	if err := h.vouch(c.who()); err != nil {
		return err
	}
	set := h.settings.Load()
	var refused error
	h.addresses.With(c.who().Address, func(a *limit.Address) { refused = h.crowded(c.who(), a, set) })
	if refused != nil {
		return refused
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.occupied(c.who(), set)
}

// crowded returns the refusal of an address that has all its sessions, or nil.
func (h *Hub) crowded(c *Client, a *limit.Address, set *settings.Settings) error {
	if a.Sessions >= set.MaxPerAddress {
		return h.biteAddress(limit.Full("max_connections_per_address", set.MaxPerAddress), c, c.firstRoom())
	}
	return nil
}

// occupied returns the refusal of a hub that takes no session, or nil. Called
// with mu held.
func (h *Hub) occupied(c *Client, set *settings.Settings) error {
	switch {
	case h.closed:
		return ErrDraining
	case len(h.sessions)+h.answers >= set.MaxConnections:
		return h.bite(limit.Full("max_connections", set.MaxConnections), c, c.firstRoom())
	default:
		return nil
	}
}

// disconnect undoes Connect.
func (h *Hub) disconnect(s *Session) {
	if s.who().Credential != nil {
		h.lifetimes.remove(s)
	}
	h.mu.Lock()
	delete(h.sessions, s)
	h.mu.Unlock()
	h.addresses.With(s.who().Address, func(a *limit.Address) { a.Sessions-- })
}
