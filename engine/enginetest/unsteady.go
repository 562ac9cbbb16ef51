package enginetest

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/caddy-realtime/realtime/hub"
)

// Unsteady is an engine that behaves as those elsewhere do: it refuses now and then, does not answer although it has stored
// the message, fails to read, gives pages that are short or empty although there is more, and loses messages on their way
// to readers, which it says by a Reset. What it loses can be read.
//
// It keeps every promise of [hub.Engine] that the engine within keeps, so whoever uses it must not notice anything but
// errors.
type Unsteady struct {
	hub.Engine
	// Rate is how many of a hundred calls go wrong.
	Rate int

	mu  sync.Mutex
	rnd *rand.Rand
}

// NewUnsteady returns an unsteady engine over another one. The same seed makes the same calls go wrong.
func NewUnsteady(e hub.Engine, seed uint64, rate int) *Unsteady {
	return &Unsteady{Engine: e, Rate: rate, rnd: rand.New(rand.NewPCG(seed, 1))}
}

// Wraps returns the engine within.
func (u *Unsteady) Wraps() hub.Engine { return u.Engine }

// wrong decides whether a call goes wrong.
func (u *Unsteady) wrong() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rnd.IntN(100) < u.Rate
}

// Publish implements [hub.Engine].
func (u *Unsteady) Publish(ctx context.Context, d hub.Draft) (hub.Receipt, error) {
	if u.wrong() {
		return hub.Receipt{}, hub.ErrUnavailable
	}
	r, err := u.Engine.Publish(ctx, d)
	if err == nil && d.Scope != "" && u.wrong() {
		return hub.Receipt{}, hub.ErrOutcomeUnknown
	}
	return r, err
}

// Subscribe implements [hub.Engine].
func (u *Unsteady) Subscribe(ctx context.Context, room string, to hub.Reader) (hub.Position, func(), error) {
	if u.wrong() {
		return hub.Position{}, nil, hub.ErrUnavailable
	}
	return u.Engine.Subscribe(ctx, room, &lossy{u, to})
}

// Read implements [hub.Engine].
func (u *Unsteady) Read(ctx context.Context, room string, q hub.Query) (hub.Page, error) {
	if u.wrong() {
		return hub.Page{}, hub.ErrUnavailable
	}
	if forward := !q.InvalidCursor && !q.After.IsZero(); forward && u.wrong() {
		q.Limit = min(q.Limit, 1)
	} else if forward && u.wrong() {
		q.Limit = 0
	}
	return u.Engine.Read(ctx, room, q)
}

// lossy is a reader to which messages are lost.
type lossy struct {
	*Unsteady
	hub.Reader
}

// Deliver implements [hub.Reader].
func (l *lossy) Deliver(m *hub.Message) {
	if !m.Signal && l.wrong() {
		l.Reset(m.Position, "slow")
		return
	}
	l.Reader.Deliver(m)
}
