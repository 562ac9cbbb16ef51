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
// names max_connections, max_connections_per_address, max_connections_per_user or max_users.
func (h *Hub) Connect(c Client, w Waker) (*Session, error) {
	if c.ID == "" {
		c.ID = h.NewConn(c.User)
	}
	made := &struct { // in one piece
		Session
		client Client
	}{Session{Caller: Caller{hub: h}, waker: w, began: time.Since(h.born)}, c}
	s := &made.Session
	s.client.Store(&made.client)
	s.session = s
	if err := h.count(s.who(), true, func() { h.sessions[s] = struct{}{} }); err != nil {
		return nil, err
	}
	if c.Credential != nil {
		h.lifetimes.set(s)
	}
	if c.Credential != nil || c.User != nil {
		if err := h.vouch(s.who()); err != nil { // what has been revoked meanwhile did not find the session
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
	h := c.hub
	if err := h.count(c.who(), false, func() { h.answers++ }); err != nil {
		return nil, err
	}
	return func() {
		h.mu.Lock()
		h.answers--
		h.noteEmpty()
		h.mu.Unlock()
		h.uncount(c.who())
	}, nil
}

// count counts a client among the connections, of the hub, of its address and of its user.
// session says that it will have a session. add is called with mu held.
func (h *Hub) count(c *Client, session bool, add func()) error {
	if err := h.vouch(c); err != nil {
		return err
	}
	set := h.settings.Load()
	if full := h.addresses.Connect(limit.Prefix(c.Address), addressBounds(set)); full != limit.Free {
		return h.crowdedAddress(c, set)
	}
	if full := h.users.Connect(userID(c.User), userBounds(set)); full != limit.Free {
		h.addresses.Disconnect(limit.Prefix(c.Address))
		return h.crowdedUser(full, c, set)
	}
	h.mu.Lock()
	refused := h.occupied(c, session, set)
	if refused == nil {
		add()
	}
	h.mu.Unlock()
	if refused != nil {
		h.uncount(c)
	}
	return refused
}

// uncount undoes count for the client's address and user.
func (h *Hub) uncount(c *Client) {
	h.addresses.Disconnect(limit.Prefix(c.Address))
	h.users.Disconnect(userID(c.User))
}

// CanConnect returns the error with which [Hub.Connect] would refuse the caller's
// client now, or nil.
func (c *Caller) CanConnect() error {
	h := c.hub
	if err := h.vouch(c.who()); err != nil {
		return err
	}
	set := h.settings.Load()
	if full := h.addresses.Crowded(limit.Prefix(c.who().Address), addressBounds(set)); full != limit.Free {
		return h.crowdedAddress(c.who(), set)
	}
	if full := h.users.Crowded(userID(c.who().User), userBounds(set)); full != limit.Free {
		return h.crowdedUser(full, c.who(), set)
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.occupied(c.who(), true, set)
}

func addressBounds(set *settings.Settings) limit.Bounds {
	return limit.Bounds{Each: set.MaxPerAddress, Keys: settings.Off}
}

func userBounds(set *settings.Settings) limit.Bounds {
	return limit.Bounds{Each: set.MaxPerUser, Keys: set.MaxUsers}
}

// crowdedAddress returns the refusal of an address that has all its connections.
func (h *Hub) crowdedAddress(c *Client, set *settings.Settings) error {
	return h.biteAddress(limit.Full("max_connections_per_address", set.MaxPerAddress), c, c.firstRoom())
}

// crowdedUser returns the refusal of a user that has all its connections, or of one user
// too many.
func (h *Hub) crowdedUser(full limit.Crowded, c *Client, set *settings.Settings) error {
	if full == limit.KeysFull {
		return h.bite(limit.Full("max_users", set.MaxUsers), c, c.firstRoom())
	}
	return h.biteUser(limit.Full("max_connections_per_user", set.MaxPerUser), c, c.firstRoom())
}

// occupied returns the refusal of a hub that takes no session, or no more connections, or nil.
// Called with mu held.
func (h *Hub) occupied(c *Client, session bool, set *settings.Settings) error {
	switch {
	case h.closed, session && h.draining.Load():
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
	h.noteEmpty()
	h.mu.Unlock()
	h.uncount(s.who())
}
