package hub

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
)

// The part of a caller that publishes.

// Publication is what a client asks the hub to publish.
type Publication struct {
	Room  string
	Event string // "" means "message"
	Kind  Kind
	Type  string
	Data  []byte // not copied, must not change any more
	// Key makes publishing idempotent: the same key again within
	// [KeyLifetime] gives the first answer and publishes nothing. At most
	// [names.MaxKey] bytes. It is echoed with the message.
	Key string
	// Conn is an earlier connection of an anonymous client, on which it has used the Key
	// first. It is ignored if the hub has not made it for anonymous clients; empty: that of
	// the caller.
	Conn string
	// Signal publishes without storing: no id, no history, may be dropped.
	Signal bool
	// TTL ends the message before retention does; zero means that it doesn't.
	TTL time.Duration
}

// publicationOverhead is what a publication under way weighs beside its data: its goroutine, and what it was
// read into.
const publicationOverhead = 16 << 10

// publish checks what is published against the limits and its form.
func (c *Caller) publish(ctx context.Context, p *Publication) (Receipt, error) {
	if err := p.check(); err != nil {
		return Receipt{}, err
	}
	h := c.hub
	weight := int64(cap(p.Data)) + publicationOverhead
	if err := h.publishing.enter(weight); err != nil {
		return Receipt{}, h.bite(err, c.who(), p.Room)
	}
	defer h.publishing.leave(weight)
	set := h.settings.Load()
	limits := set.Policy(p.Room)
	if len(p.Data) > limits.MaxMessageSize {
		return Receipt{}, h.bite(&limit.Error{Limit: "max_message_size", Max: strconv.Itoa(limits.MaxMessageSize), Err: limit.ErrTooLarge}, c.who(), p.Room)
	}
	if err := c.payFor(p, &limits); err != nil {
		return Receipt{}, err
	}
	if err := p.checkData(); err != nil {
		return Receipt{}, err
	}
	return c.append(ctx, p)
}

// append hands the message to the engine.
func (c *Caller) append(ctx context.Context, p *Publication) (Receipt, error) {
	h := c.hub
	r, err := h.acquire(ctx, p.Room, c)
	if err != nil {
		return Receipt{}, err
	}
	defer r.unpin()
	client := c.who() // one, though it may change meanwhile
	m := &Message{
		Room: r.name, Event: p.Event, Kind: p.Kind, Type: p.Type, Data: message.Fit(p.Data),
		From: client.User, Key: p.Key, Publisher: c.tag(client.ID), Signal: p.Signal,
	}
	if p.TTL > 0 {
		m.Expires = time.Now().Add(p.TTL)
	}
	d := Draft{Message: m}
	if p.Key != "" {
		d.Scope, d.Print = p.scope(c.holder(client, p.Conn)), p.print()
	}
	defer h.relieve()
	return h.engine.Publish(ctx, d)
}

// holder returns whose idempotency keys the caller uses: those of its user; if it is anonymous
// those of conn, or else of its own connection; without one those of its address, which
// clients behind it share. The connection stands in it as a code, since engines keep it.
func (c *Caller) holder(client *Client, conn string) string {
	switch {
	case client.User != nil:
		return "user " + client.User.ID
	case conn != "" && conn != client.ID && c.hub.Owns(conn, nil):
		return "conn " + c.hub.tagOf(conn)
	case client.ID != "":
		return "conn " + c.tag(client.ID)
	default:
		return "address " + limit.Prefix(client.Address).String()
	}
}

// scope returns where the publication's key means it: in its room, for its holder.
func (p *Publication) scope(holder string) string {
	// No name of a room has a control character.
	return p.Room + "\x00" + strconv.Itoa(len(holder)) + "\x00" + holder + p.Key
}

// print returns what tells the publication from another under the same key.
func (p *Publication) print() (print [16]byte) {
	h := sha256.New()
	var head []byte
	for _, text := range []string{p.Event, p.Type} {
		head = append(binary.AppendUvarint(head, uint64(len(text))), text...)
	}
	head = append(head, byte(p.Kind))
	head = binary.AppendVarint(head, int64(p.TTL))
	if p.Signal {
		head = append(head, 1)
	}
	// The data is last, and what precedes it says how long that is.
	h.Write(binary.AppendUvarint(nil, uint64(len(head))))
	h.Write(head)
	h.Write(p.Data)
	copy(print[:], h.Sum(nil))
	return print
}
