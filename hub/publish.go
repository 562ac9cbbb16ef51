package hub

import (
	"context"
	"strconv"
	"time"
)

// The part of a caller that publishes.

// Receipt is the answer to a publication.
type Receipt struct {
	Position           // zero for a signal
	Time     time.Time // when the engine took it
	Replayed bool      // the idempotency key was known: this is the first answer again
}

// publish checks what is published against the limits and its form, and then the
// idempotency key.
func (c *Caller) publish(ctx context.Context, p *Publication) (Receipt, error) {
	if err := p.check(); err != nil {
		return Receipt{}, err
	}
	h := c.hub
	set := h.settings.Load()
	limits := set.policy(p.Room)
	if len(p.Data) > limits.maxMessageSize {
		return Receipt{}, h.bite(&LimitError{Limit: "max_message_size", Max: strconv.Itoa(limits.maxMessageSize), Err: ErrTooLarge}, &c.client, p.Room)
	}
	if err := c.rate(p.Room, limits.rate); err != nil {
		return Receipt{}, err
	}
	if err := p.checkData(); err != nil {
		return Receipt{}, err
	}
	if p.Key == "" {
		return c.append(ctx, p)
	}
	// Anonymous clients share their room's keys.
	scope := keyScope{room: p.Room, key: p.Key, user: userID(c.client.User)}
	return h.keys.do(ctx, scope, p, func() (Receipt, error) { return c.append(ctx, p) })
}

// append hands the message to the engine.
func (c *Caller) append(ctx context.Context, p *Publication) (Receipt, error) {
	h := c.hub
	r, err := h.acquire(ctx, p.Room, &c.client)
	if err != nil {
		return Receipt{}, err
	}
	defer r.unpin()
	m := &Message{
		Room: r.name, Event: p.Event, Kind: p.Kind, Type: p.Type, Data: fit(p.Data),
		From: c.client.User, Key: p.Key, Publisher: c.tag(), Signal: p.Signal,
	}
	if p.TTL > 0 {
		m.Expires = time.Now().Add(p.TTL)
	}
	if err := h.engine.Publish(ctx, m); err != nil {
		return Receipt{}, err
	}
	h.relieve()
	return Receipt{Position: m.Position, Time: m.Time}, nil
}

// rate spends a token of the session, if there is one, and of the address.
func (c *Caller) rate(room string, r Rate) error {
	h, now := c.hub, time.Now()
	if s := c.session; s != nil {
		s.mu.Lock()
		wait, ok := s.publishing.take(r, now)
		s.mu.Unlock()
		if !ok {
			return h.bite(rateError("rate", r, wait), &c.client, room)
		}
	}
	var err error
	h.addresses.with(c.client.Address, func(a *address) {
		if wait, ok := a.publish.take(r, now); !ok {
			err = h.biteAddress(rateError("rate", r, wait), &c.client, room)
		}
	})
	return err
}
