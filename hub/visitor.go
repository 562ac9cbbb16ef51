package hub

import (
	"context"
	"errors"
	"time"
)

// ErrConn is returned where a client without a session has to say which
// connection he speaks for.
var ErrConn = errors.New("no connection was named")

// VisitLease is how long a client without a session stays a member after he was
// heard of last, beside the room's grace.
const VisitLease = 20 * time.Second

// Visitor is a client without a session: each of its calls stands for itself.
// His address is rated. All methods are safe for concurrent use.
type Visitor struct {
	hub    *Hub
	client Client
}

// Visit returns a visitor. The client's ID is the connection that he speaks
// for; empty if there is none.
func (h *Hub) Visit(c Client) *Visitor { return &Visitor{h, c} }

// ask spends a token of what the address may ask for, beside publishing.
func (v *Visitor) ask() (err error) {
	r := v.hub.settings.Load().asking()
	v.hub.addresses.with(v.client.Address, func(a *address) {
		if wait, ok := a.asks.take(r, time.Now()); !ok {
			err = v.hub.biteAddress(rateError("rate of commands", r, wait), &v.client, "")
		}
	})
	return err
}

// Renew makes the visitor's connection a member until [VisitLease] and the room's
// grace are over, and shows state unless it is nil. It returns ErrConn without a
// connection, ErrRoomName, ErrPresence where the room tells nothing, ErrState,
// ErrDraining, a *LimitError, or the engine's error.
func (v *Visitor) Renew(ctx context.Context, room string, state []byte) error {
	if v.client.ID == "" {
		return ErrConn
	}
	if err := v.ask(); err != nil {
		return err
	}
	return v.hub.renew(ctx, v.client, room, state)
}

// Join makes the visitor's connection a member, as Renew does, and says where he
// stands: a reader that goes on there misses nothing from now on. The
// start's cursor is looked at, and nothing is delivered. Without a connection
// he is no member.
func (v *Visitor) Join(ctx context.Context, room string, start Start) (Joined, error) {
	if err := v.ask(); err != nil {
		return Joined{}, err
	}
	joined := Joined{Presence: v.hub.settings.Load().policy(room).presence.Mode}
	if v.client.ID != "" && joined.Presence != PresenceOff {
		if err := v.hub.renew(ctx, v.client, room, start.State); err != nil {
			return Joined{}, err
		}
	}
	page, err := v.hub.Read(ctx, room, Query{InvalidCursor: start.InvalidCursor, After: start.After, Last: start.Last, Age: start.Age, Limit: 1})
	if err != nil {
		return Joined{}, err
	}
	joined.Cursor, joined.Gap = page.Start, page.Gap
	if page.Gap != nil {
		joined.Cursor = page.Gap.From
	}
	if n, err := v.hub.Present(room); err == nil {
		joined.Members = n
	}
	return joined, nil
}

// Leave ends at once that the visitor's connection is a member.
func (v *Visitor) Leave(room string) {
	if v.client.ID != "" {
		v.hub.withdraw(v.client, room)
	}
}

// Show shows state, as [Session.Show] does. It is Renew by that name.
func (v *Visitor) Show(room string, state []byte) error {
	return v.Renew(context.Background(), room, state)
}

// Publish publishes, see [Hub.Publish].
func (v *Visitor) Publish(ctx context.Context, p Publication) (Receipt, error) {
	return v.hub.Publish(ctx, v.client, p)
}

// Read reads a room's log, see [Hub.Read].
func (v *Visitor) Read(ctx context.Context, room string, q Query) (Page, error) {
	if err := v.ask(); err != nil {
		return Page{}, err
	}
	return v.hub.Read(ctx, room, q)
}
