package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-realtime/realtime/hub/secret"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of the hub that begins to use its engine.

// Open opens the engine, if it is an [Opener], and begins to serve. [New] has done so for other engines.
// Until it has returned nil, the hub may be given settings, rules and a logger, drained and closed, and
// nothing else may be done with it. Only the first call opens; others wait for it, and return the same.
//
// It returns the engine's error, an error if the engine's state cannot be read, the context's error, or
// [ErrDraining] after [Hub.Close]. Then the hub can only be closed.
func (h *Hub) Open(ctx context.Context) error {
	h.opening.Lock()
	defer h.opening.Unlock()
	h.mu.RLock()
	closed := h.closed
	h.mu.RUnlock()
	switch {
	case closed:
		return ErrDraining
	case !h.opened:
		h.opened = true
		h.openErr = h.start(ctx)
	}
	return h.openErr
}

// start opens the engine, and starts what runs until the hub is closed. Called with opening held.
func (h *Hub) start(ctx context.Context) (err error) {
	if g, ok := h.engine.(Governed); ok {
		g.Govern(func(room string) settings.History { return h.Settings().Policy(room).History })
	}
	if o, ok := h.engine.(Opener); ok {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(h.life, cancel)() // Close does not wait for long
		if err := o.Open(ctx); err != nil {
			return err
		}
	}
	if h.secret, err = secret.Load(h.engine.State()); err != nil {
		return fmt.Errorf("reading the engine's state: %w", err)
	}
	h.lifetimes.timer = time.NewTimer(lookAgain)
	h.janitor.Go(h.sweepUntilStopped)
	h.janitor.Go(h.expireUntilStopped)
	h.janitor.Go(func() { h.watchRevocations(h.life) })
	return nil
}
