package outbound

import (
	"slices"

	"github.com/caddy-realtime/realtime/hub"
)

// round takes one batch of a group through the group's members.
type round struct {
	subscribers *hub.SubscriberGroup
	batch       hub.Batch
	more        bool                            // the group has more messages than the batch
	below       int                             // members below this index are still to be visited
	chunk       []*hub.Subscription             // members that were taken, and not served yet
	seen        [chunkMembers]*hub.Subscription // room for chunk
	messages    []*hub.Message                  // room for the batch's messages
	encoded     []encoding                      // the batch, once for each codec
	oneByOne    bool                            // encoding panicked: each member is served by itself
	shared      bool                            // another goroutine still writes from encoded
}

// encoding is a batch in one codec's bytes.
type encoding struct {
	codec Codec
	bytes []byte
}

// enter begins a round for the next ready group. If the group has a round already,
// that one goes on with the new messages when it is through.
func (t *turn) enter() {
	f := t.ready[t.readyAt]
	t.ready[t.readyAt] = nil
	t.readyAt++
	t.current = nil
	if i := slices.IndexFunc(t.rounds, func(r *round) bool { return r.subscribers == f }); i >= 0 {
		t.rounds[i].more = true
		return
	}
	r := t.spare
	if t.spare = nil; r == nil {
		r = &round{messages: make([]*hub.Message, 0, batchItems)}
	}
	r.subscribers = f
	r.read()
	t.rounds = append(t.rounds, r)
}

// leave ends the round's turn after a chunk. A round that is through is removed,
// unless its group has more messages.
func (t *turn) leave(r *round) {
	t.round, t.current = nil, nil
	if r.below > 0 {
		t.roundAt++
		return
	}
	r.end()
	if r.more {
		r.read()
		t.roundAt++
		return
	}
	t.rounds = slices.Delete(t.rounds, t.roundAt, t.roundAt+1)
	r.subscribers = nil
	if r.small() {
		t.spare = r
	}
}

// read begins the group's next batch.
func (r *round) read() {
	r.batch, r.more = r.subscribers.Next(r.messages[:0], batchBytes)
	r.below = r.subscribers.Len()
}

// fill takes the next chunk of members.
func (r *round) fill() {
	r.chunk, r.below = r.subscribers.Subscriptions(r.below, r.seen[:0])
}

// next takes the chunk's next member.
func (r *round) next() *hub.Subscription {
	last := len(r.chunk) - 1
	m := r.chunk[last]
	r.chunk = r.chunk[:last]
	return m
}

// end releases the batch.
func (r *round) end() {
	clear(r.batch.Messages)
	clear(r.seen[:])
	r.batch = hub.Batch{}
	for i := range r.encoded {
		if r.encoded[i].codec = nil; r.shared {
			r.encoded[i].bytes = nil
		}
	}
	r.encoded, r.oneByOne, r.shared = r.encoded[:0], false, false
}

// small reports whether an idle shard may keep the round for the next group.
func (r *round) small() bool {
	n := 0
	for _, e := range r.encoded[:cap(r.encoded)] {
		n += cap(e.bytes)
	}
	return n <= 4<<10
}

// known returns the batch's bytes if they have been encoded by an equal codec.
func (r *round) known(codec Codec) ([]byte, bool) {
	for i := range r.encoded {
		if r.encoded[i].codec == codec {
			return r.encoded[i].bytes, true
		}
	}
	return nil, false
}

// encode returns the batch's bytes, which are shared by all connections with an
// equal codec.
func (r *round) encode(codec Codec) []byte {
	if b, ok := r.known(codec); ok {
		return b
	}
	n := len(r.encoded)
	var b []byte
	if n < cap(r.encoded) {
		b = r.encoded[:n+1][n].bytes[:0]
	}
	for _, m := range r.batch.Messages {
		b, _ = codec.Append(b, hub.ItemOf(m)) // a message never has a cause
	}
	r.encoded = append(r.encoded, encoding{codec, b})
	return b
}
