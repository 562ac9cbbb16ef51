package hub

import (
	"time"
)

// Start says where in a room's log a session begins. The first field that is
// set decides; the zero Start begins now.
type Start struct {
	// InvalidCursor stands for a cursor that is not valid here: the session gets a gap,
	// then the oldest messages that are kept.
	InvalidCursor bool
	// After begins after this cursor.
	After Position
	// Last begins with the newest n messages. Without the right to read history it begins
	// now, and so does Age.
	Last int
	// Age begins with the messages of this last span of time.
	Age time.Duration
	// State is JSON that the client shows to other members; nil: it shows none. Without the
	// right to show one it has no effect.
	State []byte
	// Answer, if set, makes a notice of the outcome, which comes before
	// everything of the room. It is called with locks held.
	Answer func(Joined) []byte
}

// keepTo leaves out what the client may not do, like where there is no history and no presence:
// without the right to read history it begins now.
func (s *Start) keepTo(can Verbs) {
	if !can.Has(VerbHistory) {
		s.Last, s.Age = 0, 0
	}
	if !can.Has(VerbShow) {
		s.State = nil
	}
}

// Joined is the answer to [Caller.Subscribe].
type Joined struct {
	// Cursor is where the session stands before what [Session.Next] will give
	// it. A client that resumes there misses nothing. Before a gap it is the
	// client's own cursor, zero if that could not be read.
	Cursor Position
	// Gap is set if Start's cursor could not be honoured. It will also be the
	// room's first Item.
	Gap *Gap
	// Members is the number of members now; 0 where Presence is off, or if Returning is set.
	Members int
	// Returning is set if the client was here before the hub began, and others may still be coming
	// back: then it is told of the members when the room's grace is over, counted from that time.
	Returning bool
	// Rights are what the client may do in the room.
	Rights
}

// Item is one thing that a session has to tell its client; one field is set.
type Item struct {
	Notice   []byte
	Gap      *Gap
	Presence *Presence
	Message  *Message
}

// ItemOf returns the item of a message in a room's delivery window.
func ItemOf(m *Message) Item {
	if m.Presence != nil {
		return Item{Presence: m.Presence}
	}
	return Item{Message: m}
}
