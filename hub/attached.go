package hub

import (
	"runtime/debug"
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
	moving   bool
}

// NewAttached returns an Attached without sessions. They must be the hub's.
func NewAttached(h *Hub) *Attached {
	return &Attached{hub: h, sessions: make(map[*Session]struct{})}
}

// Add adds a session until remove is called, when its connection has been told all. [Hub.Drain] waits
// for that. If the server shuts down already, the session ends at once.
func (a *Attached) Add(s *Session) (remove func()) {
	a.hub.countAttached(1)
	a.mu.Lock()
	a.sessions[s] = struct{}{}
	moving := a.moving
	a.mu.Unlock()
	if moving {
		s.End(CauseDraining)
	}
	return func() {
		a.mu.Lock()
		delete(a.sessions, s)
		a.mu.Unlock()
		a.hub.countAttached(-1)
	}
}

// Move dismisses the sessions with [CauseDraining], each at a time of its own like those of [Hub.Drain], and
// ends those that have not gone after within. It does not wait for that.
func (a *Attached) Move(spread, within time.Duration) {
	a.mu.Lock()
	a.moving = true
	sessions := make([]*Session, 0, len(a.sessions))
	for s := range a.sessions {
		sessions = append(sessions, s)
	}
	a.mu.Unlock()
	h := a.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed || len(sessions) == 0 {
		return // Close ends them
	}
	h.janitor.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				h.Logger().Error("panic while clients move to another server", "panic", p, "stack", string(debug.Stack()))
			}
		}()
		limit := time.NewTimer(within)
		defer limit.Stop()
		pace(h.stop, sessions, spread, func(s *Session) { s.Dismiss(CauseDraining) })
		select {
		case <-limit.C:
			for _, s := range sessions {
				s.End(CauseDraining) // there was always something to give to it
			}
		case <-h.stop:
		}
	})
}

// countAttached counts n more attached connections.
func (h *Hub) countAttached(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attached += n
	h.noteEmpty()
}
