package hub

import (
	"context"
	"time"
)

// Context returns the context of what the session's client asks for: it ends with the session, so an
// engine that is slow keeps nothing of a client that has gone.
func (s *Session) Context() context.Context { return sessionContext{s} }

// sessionContext is a context without a channel until somebody asks for it: most engines never do.
type sessionContext struct{ session *Session }

// Deadline implements [context.Context]: there is none.
func (sessionContext) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Done implements [context.Context].
func (c sessionContext) Done() <-chan struct{} {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cause.Load() != 0 && s.over == nil:
		// End has looked already, or closes it at once.
		return closedChannel
	case s.over == nil:
		s.over = make(chan struct{})
	}
	return s.over
}

// closedChannel is the channel of sessions that have ended.
var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Err implements [context.Context].
func (c sessionContext) Err() error {
	if c.session.Ended() == 0 {
		return nil
	}
	return context.Canceled
}

// Value implements [context.Context]: it has none.
func (sessionContext) Value(any) any { return nil }
