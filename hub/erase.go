package hub

import (
	"context"
	"errors"
	"fmt"
)

// Erase takes every message that a user has published until now out of all rooms. Nobody gets a gap: those who have not
// read that far yet find the others' messages. What is on its way to a client at that moment arrives. The member
// that the user may be, with its state, is left. It returns how many messages the engine's logs had, also with an error, which
// is the engine's, or wraps [errors.ErrUnsupported] if the engine is no [Eraser]. It is called
// within [Hub.Operate].
func (h *Hub) Erase(ctx context.Context, user string) (erased int, err error) {
	e, ok := h.engine.(Eraser)
	if !ok {
		return 0, fmt.Errorf("this engine erases nothing: %w", errors.ErrUnsupported)
	}
	erased, err = e.Erase(ctx, user)
	// The logs first: whoever does not find a message in a window any more reads there.
	for _, r := range h.list() {
		r.erase(user)
	}
	return erased, err
}

// erase lets go of the room's delivery window if it has a message of the user: readers that are behind read the log. Signals
// in it are lost to these, and changes of presence become a snapshot.
func (r *room) erase(user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.ring.entries.All() {
		if m.IsFrom(user) {
			r.ring.clear()
			return
		}
	}
}
