package hub

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
)

// ErrUserChanged refuses the token of another user than the one of the session, which ends:
// another user needs another connection.
var ErrUserChanged = errors.New("the token of another user")

// authenticating is how often a connection may show a token.
var authenticating = limit.Rate{PerSecond: 0.1, Burst: 5}

// Authenticated is the answer to [Caller.Authenticate].
type Authenticated struct {
	Conn    string // the id of the connection, which is new if its user is
	User    *User
	Expires time.Time // zero: never
}

// Authenticate shows a token. It renews the session's credential, unless the new one
// expires earlier, or gives an anonymous client or a guest its user; rights are decided again,
// and those of the old credential are gone. Without a session it renews the credential of
// the session on the caller's connection, whose credential must be one that expires.
//
// It returns ErrNoVerifier, the error of the verifier, ErrCredential, ErrUserChanged, ErrConn if
// there is no such session, or a *[limit.Error].
func (c *Caller) Authenticate(ctx context.Context, token string) (Authenticated, error) {
	s := c.session
	if s == nil {
		if s = c.hub.lifetimes.find(c.who().ID); s == nil {
			return Authenticated{}, ErrConn
		}
	}
	if s.Ended() != 0 {
		return Authenticated{}, ErrEnded
	}
	if err := s.mayAuthenticate(); err != nil {
		return Authenticated{}, err
	}
	user, cred, err := c.hub.verify(ctx, token, s.who())
	if err != nil {
		return Authenticated{}, err
	}
	if err := c.hub.vouch(&Client{User: user, Credential: cred}); err != nil {
		return Authenticated{}, err
	}
	return s.adopt(user, cred)
}

// mayAuthenticate spends a token of the rate at which credentials may be shown.
func (s *Session) mayAuthenticate() error {
	s.mu.Lock()
	wait, ok := s.rates.Take(limit.Ask, authenticating, time.Now())
	s.mu.Unlock()
	if !ok {
		return s.hub.bite(limit.TooOften("rate of tokens", authenticating, wait), s.who(), "")
	}
	return nil
}

// adopt makes the user and the credential those of the session.
func (s *Session) adopt(user *User, cred *Credential) (Authenticated, error) {
	s.mu.Lock()
	was := s.who()
	next := *was
	switch {
	case s.cause.Load() != 0:
		s.mu.Unlock()
		return Authenticated{}, ErrEnded
	case was.User != nil && was.User.ID == user.ID:
		if !cred.Expires.Before(was.Expires()) {
			next.User, next.Credential = user, cred
		}
	case was.User.Kind() == message.UserAnonymous, was.User.Kind() == message.UserGuest:
		if full := s.hub.users.Connect(userID(user), userBounds(s.hub.settings.Load())); full != limit.Free {
			s.mu.Unlock()
			return Authenticated{}, s.hub.crowdedUser(full, &Client{User: user, Address: was.Address}, s.hub.settings.Load())
		}
		s.hub.users.Disconnect(userID(was.User))
		next.User, next.Credential = user, cred
		next.ID = s.hub.NewConn(user)
	default:
		s.mu.Unlock()
		s.End(CauseUser)
		return Authenticated{}, ErrUserChanged
	}
	s.client.Store(&next)
	if next.ID != was.ID {
		for _, m := range s.rooms {
			m.move(&next)
		}
	}
	s.mu.Unlock()
	s.hub.lifetimes.set(s)
	if s.hub.vouch(&next) != nil { // what has been revoked meanwhile did not find it
		s.refuse(CauseCredential)
	}
	if s.Ended() != 0 {
		return Authenticated{}, ErrEnded
	}
	s.reauthorize()
	return Authenticated{Conn: next.ID, User: next.User, Expires: next.Expires()}, nil
}

// move makes the session's membership that of its client, who has got another user.
func (m *Subscription) move(c *Client) {
	switch {
	case c.Observer:
	case m.lease != nil:
		m.lease = m.room.attendance.move(m.lease, c)
	default:
		if lease, err := m.room.attendance.hold(c, nil, false, true); err == nil { // otherwise it stays one that is only counted
			m.lease = lease
		}
	}
}
