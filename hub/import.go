package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
)

// MaxImport is how many messages one call of [Hub.Import] takes.
const MaxImport = 1000

// Imported counts what became of imported messages.
type Imported struct {
	Kept    int `json:"kept"`    // they have their offsets again, and in a hub that was empty their ids
	Anew    int `json:"anew"`    // they were published anew
	Known   int `json:"known"`   // they had been imported before, or had never been away
	Expired int `json:"expired"` // their TTL is over
}

// Add adds other counts.
func (i *Imported) Add(o Imported) {
	i.Kept += o.Kept
	i.Anew += o.Anew
	i.Known += o.Known
	i.Expired += o.Expired
}

// Import takes in messages that another log, or this one, has had, at most [MaxImport]. Rooms come one after the
// other, the messages of each with rising offsets, as [Hub.Export] gives them. If the engine is an [Importer] it keeps what it
// can. Everything else is published anew: with another id and time, and once for each id within [KeyLifetime]. The messages
// are the hub's from now on. After an error, failed is the index of the message that could not be published, or -1
// if none of them can; what was done is done. The error is the engine's, [ErrDraining], or a *[limit.Error] for the
// number of rooms. It is called within [Hub.Operate].
func (h *Hub) Import(ctx context.Context, messages []*Message) (done Imported, failed int, err error) {
	if h.Draining() {
		return done, -1, ErrDraining
	}
	now := time.Now()
	var live []*Message
	var at []int // in messages
	for i, m := range messages {
		if m.Expired(now) {
			done.Expired++
			continue
		}
		live, at = append(live, m), append(at, i)
	}
	outcomes := make([]Outcome, len(live))
	if e, ok := h.engine.(Importer); ok {
		if outcomes, err = e.Import(ctx, live); err != nil {
			return done, -1, err
		}
	}
	for _, o := range outcomes {
		switch o {
		case OutcomeKept:
			done.Kept++
		case OutcomeKnown:
			done.Known++
		case OutcomeFresh: // below, when it is published
		}
	}
	for i, m := range live {
		if outcomes[i] != OutcomeFresh {
			continue
		}
		r, err := h.publishAnew(ctx, m)
		switch {
		case err != nil:
			return done, at[i], err
		case r.Replayed:
			done.Known++
		default:
			done.Anew++
		}
	}
	return done, 0, nil
}

// publishAnew publishes an imported message, whose id is its idempotency key.
func (h *Hub) publishAnew(ctx context.Context, m *Message) (Receipt, error) {
	weight := int64(cap(m.Data)) + publicationOverhead
	if err := h.publishing.enter(weight); err != nil {
		return Receipt{}, err
	}
	defer h.publishing.leave(weight)
	r, err := h.acquire(ctx, m.Room, nil)
	if err != nil {
		return Receipt{}, err
	}
	defer r.unpin()
	defer h.relieve()
	p := Publication{Event: m.Event, Kind: m.Kind, Type: m.Type, Data: m.Data}
	return h.engine.Publish(ctx, Draft{
		Message: &Message{
			Room: r.name, Event: m.Event, Kind: m.Kind, Type: m.Type, Data: message.Fit(m.Data),
			From: m.From, Key: m.Key, Expires: m.Expires,
		},
		Scope: fmt.Sprintf("%s\x00import\x00%s", r.name, m.Position), // those of clients have a number there
		Print: p.print(),
	})
}
