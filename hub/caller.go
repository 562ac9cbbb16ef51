package hub

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Caller is a client at the hub's one door: everything that a client can do in a room
// is a method of a Caller. Each method first passes admit, which knows the client, the
// verb and the room, and nothing else. [Hub.Caller] makes a Caller for a request, whose
// calls are independent of each other; a [Session] is a Caller that keeps a connection,
// with subscriptions and rates of its own. Methods are safe for concurrent use.
//
// Beside the errors that they name, methods return names.ErrRoom, [ErrScope], [names.ErrUser],
// [ErrCredential], [ErrUnauthorized], [ErrForbidden], [ErrNoRoom], [ErrEnded] if the session has
// ended, and *[limit.Error] for a limit.
type Caller struct {
	hub     *Hub
	client  atomic.Pointer[Client] // who it is; only [Session.Authenticate] replaces it
	session *Session               // nil: none
	tagged  atomic.Pointer[tagged] // what tag returns; nil: not needed yet
}

// VisitLease is how long a client without a session stays a member after its last
// call of [Caller.Renew], beside the room's grace.
const VisitLease = 20 * time.Second

// Caller returns the caller of a request that makes no session. The client's ID is
// that of the connection it speaks for; empty: none.
func (h *Hub) Caller(c Client) *Caller {
	made := &struct { // in one piece
		Caller
		client Client
	}{Caller{hub: h}, c}
	made.Caller.client.Store(&made.client)
	return &made.Caller
}

// who returns the client, which must not be changed.
func (c *Caller) who() *Client { return c.client.Load() }

// ID returns the id of the caller's connection, which its client knows as conn.
func (c *Caller) ID() string { return c.who().ID }

// Client returns who the caller is.
func (c *Caller) Client() Client { return *c.who() }

// tagged is the tag of a connection.
type tagged struct{ conn, tag string }

// tag returns what stands for the caller's connection in the messages that it publishes,
// and lets nobody speak for it; empty without a connection.
func (c *Caller) tag(conn string) string {
	if conn == "" {
		return ""
	}
	if known := c.tagged.Load(); known != nil && known.conn == conn {
		return known.tag
	}
	tag := c.hub.tagOf(conn)
	c.tagged.Store(&tagged{conn, tag})
	return tag
}

// echoes reports whether the message is not for the caller, whose connection published
// it: a signal never is, a message if the client does not want its own.
func (c *Caller) echoes(m *Message) bool {
	if m.Publisher == "" {
		return false
	}
	client := c.who()
	return (client.NoEcho || m.Signal) && m.Publisher == c.tag(client.ID)
}

// admit is the door. It returns why the caller may not do this in the room, before
// anything is known of the room, and before any limit; and then ErrNoRoom if the settings say
// that there is no such room, which is not asked before the rights are decided. This is the
// place for an audit.
func (c *Caller) admit(verb Verb, room string) error {
	if err := names.CheckRoom(room); err != nil {
		return err
	}
	if s := c.session; s == nil {
		if err := c.hub.vouch(c.who()); err != nil { // Connect has done so for a session
			return err
		}
	} else if s.Ended() != 0 {
		return ErrEnded
	}
	if err := c.decide(verb, room); err != nil {
		return err
	}
	if !c.hub.settings.Load().Exists(room) {
		return ErrNoRoom
	}
	return nil
}

// Publish publishes a message, or a signal. The rates of the session, the user, the
// address and the room count. It returns names.ErrEvent, ErrKey, ErrType, ErrData, ErrKeyReused,
// ErrDraining, or the engine's error.
func (c *Caller) Publish(ctx context.Context, p Publication) (Receipt, error) {
	verb := VerbPublish
	if p.Signal {
		verb = VerbSignal
	}
	if err := c.admit(verb, p.Room); err != nil {
		return Receipt{}, err
	}
	receipt, err := c.publish(ctx, &p)
	if err == nil && !receipt.Replayed && c.session != nil {
		c.session.got.Add(1)
	}
	return receipt, err
}

// Subscribe subscribes the session to a room, beginning at start: a room that does
// not exist is made, and subscribing again moves the cursor. Without a session the
// client becomes a member as with Renew, unless it has no ID or the room has no
// presence, and nothing is delivered: a reader that goes on from the answer's Cursor
// misses nothing. It returns ErrState, ErrRooms above [settings.MaxRoomsJoined], ErrDraining,
// or the engine's error, and has then changed nothing. Its ErrEnded is also the session's [Session.Refusal].
func (c *Caller) Subscribe(ctx context.Context, room string, start Start) (Joined, error) {
	if err := c.admit(VerbSubscribe, room); err != nil {
		return Joined{}, c.explain(err)
	}
	if c.session != nil {
		joined, err := c.session.subscribe(ctx, room, start)
		return joined, c.explain(err)
	}
	return c.look(ctx, room, start)
}

// look is Subscribe without a session.
func (c *Caller) look(ctx context.Context, room string, start Start) (Joined, error) {
	if err := c.ask(limit.Join); err != nil {
		return Joined{}, err
	}
	h := c.hub
	joined := Joined{Rights: c.Rights(room)}
	start.keepTo(joined.Can)
	if c.who().ID != "" && joined.Presence != settings.PresenceOff {
		if err := h.renew(ctx, c, room, start.State); err != nil {
			return Joined{}, err
		}
	}
	page, err := h.read(ctx, room, Query{InvalidCursor: start.InvalidCursor, After: start.After, Last: start.Last, Age: start.Age, Limit: 1})
	if err != nil {
		return Joined{}, err
	}
	joined.Cursor, joined.Gap = page.Start, page.Gap
	if page.Gap != nil {
		joined.Cursor = page.Gap.From
	}
	if _, joined.Returning = h.returning(start.After, page.Gap, room); !joined.Returning && joined.Can.Has(VerbMembers) {
		joined.Members, _ = h.memberCount(room) // 0 where the room has no presence
	}
	return joined, nil
}

// Unsubscribe ends the subscription, and the membership without its grace. Leaving
// needs no right beyond the client's scope: it returns ErrScope outside of that, and
// does nothing if there is no subscription.
func (c *Caller) Unsubscribe(room string) error {
	if err := c.who().inScope(room); err != nil {
		return err
	}
	switch {
	case c.session != nil:
		c.session.unsubscribe(room)
	case c.who().ID != "":
		c.hub.withdraw(c.who(), room)
	}
	return nil
}

// Show shows a state, which is JSON, to the members of a room. It returns ErrState,
// ErrPresence where the room has no presence, and with a session ErrNotJoined,
// without one what Renew returns.
func (c *Caller) Show(ctx context.Context, room string, state []byte) error {
	if err := c.admit(VerbShow, room); err != nil {
		return err
	}
	if c.session == nil {
		return c.Renew(ctx, room, state)
	}
	return c.session.show(room, state)
}

// Renew makes the client's connection a member until [VisitLease] and the room's
// grace are over, and shows state unless it is nil. It is for a caller without a
// session. It returns ErrConn, ErrPresence where the room has no presence, ErrState,
// ErrDraining, or the engine's error.
func (c *Caller) Renew(ctx context.Context, room string, state []byte) error {
	if err := c.admit(VerbSubscribe, room); err != nil {
		return err
	}
	if c.decide(VerbShow, room) != nil {
		state = nil // like where presence is off
	}
	if c.who().ID == "" {
		return ErrConn
	}
	if err := c.ask(limit.Join); err != nil {
		return err
	}
	return c.hub.renew(ctx, c, room, state)
}

// Read reads a room's log. It never makes a room. A query that goes on from a cursor, and one for
// the tail, need only the right to subscribe; without the right to read history they
// reach back for [RecentAge]. It returns the engine's error.
func (c *Caller) Read(ctx context.Context, room string, q Query) (Page, error) {
	verb := VerbHistory
	if goesOn(q) {
		verb = VerbSubscribe
	}
	if err := c.admit(verb, room); err != nil {
		return Page{}, err
	}
	if err := c.mustExist(ctx, room); err != nil {
		return Page{}, err
	}
	page, err := c.hub.read(ctx, room, q)
	if err == nil && verb == VerbSubscribe && c.decide(VerbHistory, room) != nil {
		page = recent(page, q)
	}
	return page, err
}

// Tail returns the cursor after which nothing has been published yet. It returns the
// engine's error.
func (c *Caller) Tail(ctx context.Context, room string) (Position, error) {
	page, err := c.Read(ctx, room, Query{})
	return page.Cursor, err
}

// History is Read for a command, which counts towards the rate of commands.
func (c *Caller) History(ctx context.Context, room string, q Query) (Page, error) {
	if err := c.admit(VerbHistory, room); err != nil {
		return Page{}, err
	}
	if err := c.ask(limit.Ask); err != nil {
		return Page{}, err
	}
	if err := c.mustExist(ctx, room); err != nil {
		return Page{}, err
	}
	return c.hub.read(ctx, room, q)
}

// Presence returns who is in the room. It returns ErrPresence where the room has no
// presence.
func (c *Caller) Presence(room string) (*Presence, error) {
	if err := c.admit(VerbMembers, room); err != nil {
		return nil, err
	}
	return c.hub.presenceAfter(room, Position{})
}

// PresenceSince returns the presence of those among the rooms whose presence the
// caller may see and where it has changed since the cursor, and the cursor to ask with
// next time. The zero Position, or one of another epoch, gives all of them; one of another epoch gives none as long as
// members may be coming back to all of the rooms after the hub began.
func (c *Caller) PresenceSince(rooms []string, since Position) (changed []*Presence, cursor Position) {
	h := c.hub
	if since.Epoch != "" && since.Epoch != h.epoch && h.allReturning(rooms) {
		return nil, since
	}
	newest := h.flushed.Load() // a frame that comes meanwhile is asked for again
	for _, room := range rooms {
		if c.admit(VerbMembers, room) != nil {
			continue
		}
		p, err := h.presenceAfter(room, since)
		if err != nil {
			continue
		}
		if cursor.IsZero() {
			cursor.Epoch = h.epoch
		}
		if p == nil {
			cursor.Offset = max(cursor.Offset, since.Offset) // which is of this epoch
			continue
		}
		changed = append(changed, p)
		cursor.Offset = max(cursor.Offset, min(p.Cursor.Offset, newest))
	}
	return changed, cursor
}

// MemberCount returns how many members are in the room. It returns ErrPresence where
// the room has no presence.
func (c *Caller) MemberCount(room string) (int, error) {
	if err := c.admit(VerbMembers, room); err != nil {
		return 0, err
	}
	return c.hub.memberCount(room)
}
