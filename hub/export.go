package hub

import (
	"context"
	"errors"
	"fmt"
)

const (
	// exportRooms is how many names of rooms an export asks for at a time.
	exportRooms = 1000
	// exportPage is how many messages it does.
	exportPage = 500
)

// ErrBegunAnew is returned by [Hub.Export] for a place in a log that is not there any more.
var ErrBegunAnew = errors.New("the log has begun anew since")

// Place is where an export goes on: behind a message, in its room, and then in the rooms whose names come
// after it. The zero Place is the beginning.
type Place struct {
	Room  string
	After Position
}

// Export calls each with all messages that are kept in the rooms that want accepts, from a place on: the rooms
// in the order of their names' bytes, the messages of each from the oldest to the one that was the newest when
// its turn came. What is missing is passed over. Messages are shared, and must not be changed. It returns the error of
// each, of the context or the engine; one that wraps [ErrBegunAnew]; or one that wraps
// [errors.ErrUnsupported] if the engine is no [Lister]. It is called within [Hub.Operate].
func (h *Hub) Export(ctx context.Context, from Place, want func(room string) bool, each func(*Message) error) error {
	lister, ok := h.engine.(Lister)
	if !ok {
		return fmt.Errorf("this engine lists no rooms: %w", errors.ErrUnsupported)
	}
	if from.Room != "" && want(from.Room) {
		if err := h.exportRoom(ctx, from.Room, from.After, each); err != nil {
			return err
		}
	}
	for after := from.Room; ; {
		rooms, err := lister.Rooms(ctx, after, exportRooms)
		if err != nil {
			return fmt.Errorf("listing the rooms: %w", err)
		}
		for _, room := range rooms {
			if after = room; !want(room) {
				continue
			}
			if err := h.exportRoom(ctx, room, Position{}, each); err != nil {
				return err
			}
		}
		if len(rooms) < exportRooms {
			return nil
		}
	}
}

// exportRoom calls each with the messages of a room after a position, or with all.
func (h *Hub) exportRoom(ctx context.Context, room string, after Position, each func(*Message) error) error {
	page, err := h.engine.Read(ctx, room, Query{})
	if err != nil {
		return fmt.Errorf("reading room %q: %w", room, err)
	}
	end := page.Cursor // more may come as fast as it is read
	if !after.IsZero() && (after.Epoch != end.Epoch || after.Offset > end.Offset) {
		return fmt.Errorf("going on behind message %v of room %q: %w", after, room, ErrBegunAnew)
	}
	q := Query{InvalidCursor: after.IsZero(), After: after, Limit: exportPage}
	for {
		if err := ctx.Err(); err != nil { // an engine in this process does not look
			return err
		}
		if page, err = h.engine.Read(ctx, room, q); err != nil {
			return fmt.Errorf("reading room %q: %w", room, err)
		}
		for _, m := range page.Messages {
			if m.Epoch != end.Epoch || m.Offset > end.Offset {
				return nil
			}
			if err := each(m); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		if len(page.Messages) == 0 && page.Cursor == q.After && page.Gap == nil {
			return fmt.Errorf("reading room %q: it does not go on after %v", room, q.After)
		}
		q = Query{After: page.Cursor, Limit: exportPage}
	}
}
