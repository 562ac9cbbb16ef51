package hub

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// The part of the hub that sends its clients away before it closes.

// slotTime is the most time between two goodbyes: a few clients do not take all the time that
// there is.
const slotTime = 50 * time.Millisecond

// Drain sends all clients away, and returns when they have gone or ctx is done. [Hub.Close] is to
// follow.
//
// From now on there are no new sessions: [Hub.Connect] returns [ErrDraining]. Each session ends with
// [CauseStopping] at a time of its own, in random order: they are spread over so much time, and at most
// 50 ms apart. Nobody is told that members leave.
//
// If the engine's logs end with this process, nothing is published any more either, since who has gone
// would never get it: [Caller.Publish] returns ErrDraining. What has been accepted before is published
// first, and a session ends when its client has been given all of that. Otherwise publishing goes on
// until [Hub.Close], and clients come back with their cursors. A second call of Drain does nothing.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) {
	h.mu.Lock()
	again := h.draining.Swap(true) || h.closed
	h.mu.Unlock()
	if again {
		return
	}
	sendAway := (*Session).End
	if h.keeper != nil {
		h.publishing.close(ctx)
		sendAway = (*Session).Dismiss
	}
	pace(ctx.Done(), h.Sessions(), spread, func(s *Session) { sendAway(s, CauseStopping) })
	select {
	case <-h.emptied():
	case <-ctx.Done():
	}
}

// Draining reports whether the hub takes no new sessions, since it is about to close.
func (h *Hub) Draining() bool { return h.draining.Load() }

// emptied returns a channel that is closed when nobody is connected.
func (h *Hub) emptied() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.empty == nil {
		h.empty = make(chan struct{})
	}
	empty := h.empty
	h.noteEmpty()
	return empty
}

// noteEmpty closes the channel that emptied has returned, if nobody is connected. Called with mu
// held.
func (h *Hub) noteEmpty() {
	if h.empty != nil && len(h.sessions)+h.attached+h.answers == 0 {
		close(h.empty)
		h.empty = nil
	}
}

// pace calls sendAway for the sessions in random order, each in a slot of its own, until done is closed.
func pace(done <-chan struct{}, sessions []*Session, spread time.Duration, sendAway func(*Session)) {
	if len(sessions) == 0 {
		return
	}
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] })
	slot := min(max(spread, 0)/time.Duration(len(sessions)), slotTime)
	begin, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	for i, s := range sessions {
		if wait := time.Duration(i)*slot + rand.N(slot+1) - time.Since(begin); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-done:
				return
			}
		}
		sendAway(s)
	}
}

// gate counts what is under way, and can be closed.
type gate struct {
	inside atomic.Int64
	closed atomic.Bool
	last   chan struct{} // of one; gets a value when the last one has left a closed gate
}

// enter reports whether the gate is open. Then leave must be called.
func (g *gate) enter() bool {
	g.inside.Add(1)
	if g.closed.Load() {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() {
	if g.inside.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.last <- struct{}{}:
		default:
		}
	}
}

// close closes the gate, and waits until all have left or ctx is done.
func (g *gate) close(ctx context.Context) {
	g.closed.Store(true)
	for g.inside.Load() > 0 {
		select {
		case <-g.last:
		case <-ctx.Done():
			return
		}
	}
}

// Dismiss ends the session with the cause as soon as Next has nothing to give any more. The first
// call wins.
func (s *Session) Dismiss(cause Cause) {
	if s.dismissed.CompareAndSwap(0, uint32(cause)) {
		s.waker.Wake()
	}
}

// Dismissed reports whether Dismiss has been called.
func (s *Session) Dismissed() bool { return s.dismissed.Load() != 0 }
