package hub

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Attached are the sessions whose connections belong to a server that may shut down while the hub
// goes on: then their clients move to another server. [NewAttached] makes one. Methods are safe for
// concurrent use.
type Attached struct {
	hub *Hub

	mu       sync.Mutex
	sessions map[*Session]struct{}
	state    attachedState
	empty    chan struct{} // closed when the last one goes while they move
}

type attachedState uint8

const (
	staying attachedState = iota
	moving                // who comes is sent away
	moved                 // and at once
)

// NewAttached returns an Attached without sessions. They must be the hub's.
func NewAttached(h *Hub) *Attached {
	return &Attached{hub: h, sessions: make(map[*Session]struct{}), empty: make(chan struct{})}
}

// Add adds a session until remove is called, when its connection has been told all. [Hub.Drain] waits
// for that. If the server shuts down already, the session is sent away at once.
func (a *Attached) Add(s *Session) (remove func()) {
	a.hub.countAttached(1)
	a.mu.Lock()
	a.sessions[s] = struct{}{}
	state := a.state
	a.mu.Unlock()
	switch state {
	case moving:
		s.Dismiss(CauseDraining)
	case moved:
		s.End(CauseDraining)
	default:
	}
	return func() { a.remove(s) }
}

func (a *Attached) remove(s *Session) {
	a.mu.Lock()
	delete(a.sessions, s)
	if a.state == moving && len(a.sessions) == 0 {
		a.state = moved
		close(a.empty)
	}
	a.mu.Unlock()
	a.hub.countAttached(-1)
}

// Move dismisses the sessions with [CauseDraining], each at a time of its own like those of [Hub.Drain], and
// ends those that have not gone after within. It does not wait for that. Further calls do nothing.
func (a *Attached) Move(spread, within time.Duration) {
	sessions := a.begin()
	h := a.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed || len(sessions) == 0 {
		return // Close ends them
	}
	h.janitor.Go(func() {
		defer h.survive("panic while clients move to another server")
		limit := time.NewTimer(within)
		defer limit.Stop()
		pace(h.stop, sessions, spread, func(s *Session) { s.Dismiss(CauseDraining) })
		select {
		case <-limit.C:
			for _, s := range a.end() {
				s.End(CauseDraining) // there was always something to give to it
			}
		case <-a.empty:
		case <-h.stop:
		}
	})
}

// begin begins to move, and returns who is to go.
func (a *Attached) begin() []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != staying {
		return nil
	}
	if a.state = moving; len(a.sessions) == 0 {
		a.state = moved
	}
	return slices.Collect(maps.Keys(a.sessions))
}

// end says that the time is over, and returns who has not gone.
func (a *Attached) end() []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = moved
	return slices.Collect(maps.Keys(a.sessions))
}

// countAttached counts n more attached connections.
func (h *Hub) countAttached(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attached += n
	h.noteEmpty()
}
