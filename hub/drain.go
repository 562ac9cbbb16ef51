package hub

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
)

// The part of the hub that sends its clients away before it closes.

// slotTime is the most time between two goodbyes: a few clients do not take all the time that
// there is.
const slotTime = 50 * time.Millisecond

// StopAccepting is the beginning of [Hub.Drain], which is to follow: from now on there are no new sessions,
// and [Hub.Connect] returns [ErrDraining]. If the engine's logs end with this process, nothing is published
// any more either, since who has gone would never get it: [Caller.Publish] returns ErrDraining. Nobody is
// told that members leave.
func (h *Hub) StopAccepting() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining.Store(true)
	if h.keeper != nil {
		h.publishing.closed.Store(true)
	}
}

// Drain sends all clients away, and returns when they have gone or ctx is done. [Hub.Close] is to
// follow. Each session ends with [CauseStopping] at a time of its own, in random order: they are spread over
// so much time, and at most 50 ms apart.
//
// If the engine's logs end with this process, what has been accepted is published first, and a session ends
// when its client has been given all of that. Otherwise publishing goes on until Close, and clients come
// back with their cursors.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) {
	h.StopAccepting()
	sendAway := (*Session).End
	if h.keeper != nil {
		h.publishing.wait(ctx)
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

// maxUnderWay bounds what publications weigh that the engine has not taken yet, in bytes.
const maxUnderWay = 64 << 20

// gate weighs what is under way, and can be closed.
type gate struct {
	inside atomic.Int64
	closed atomic.Bool
	last   chan struct{} // of one; gets a value when the last one has left a closed gate
}

// enter lets in what weighs so much, which must not be 0. Otherwise leave must be called, with the same
// weight. It returns ErrDraining if the gate is closed, and a *limit.Error if there is no room beside what is
// under way.
func (g *gate) enter(weight int64) error {
	n := g.inside.Add(weight)
	switch {
	case g.closed.Load():
		g.leave(weight)
		return ErrDraining
	case n > maxUnderWay && n > weight:
		g.leave(weight)
		return &limit.Error{Limit: "publications under way", Max: "64 MiB", RetryAfter: time.Second, Err: limit.ErrFull}
	default:
		return nil
	}
}

func (g *gate) leave(weight int64) {
	if g.inside.Add(-weight) == 0 && g.closed.Load() {
		select {
		case g.last <- struct{}{}:
		default:
		}
	}
}

// wait waits until all have left the closed gate, or ctx is done.
func (g *gate) wait(ctx context.Context) {
	for g.inside.Load() > 0 {
		select {
		case <-g.last:
		case <-ctx.Done():
			return
		}
	}
}

// Dismiss ends the session with the cause as soon as Next has nothing to give any more, and no call of Hold
// is in force. The first call wins.
func (s *Session) Dismiss(cause Cause) {
	if s.dismissed.CompareAndSwap(0, uint32(cause)) {
		s.waker.Wake()
	}
}

// Hold keeps a dismissed session from ending until release is called, once: its client is to get the answer
// to what it has asked for.
func (s *Session) Hold() (release func()) {
	s.held.Add(1)
	return func() {
		if s.held.Add(-1) == 0 && s.dismissed.Load() != 0 {
			s.waker.Wake()
		}
	}
}

// Dismissed reports whether Dismiss has been called.
func (s *Session) Dismissed() bool { return s.dismissed.Load() != 0 }
