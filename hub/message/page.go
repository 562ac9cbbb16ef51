package message

import (
	"slices"
	"time"
)

// Query says which part of a log to read. The first that is set decides:
// InvalidCursor, After, Before, Last, Age. If none is, the page is empty and its
// Cursor is the log's tail.
type Query struct {
	// InvalidCursor stands for a cursor that is not valid here. The page begins with a
	// gap and the oldest messages.
	InvalidCursor bool
	// After reads forward from this cursor.
	After Position
	// Before reads the newest messages before this cursor, itself excluded.
	Before Position
	// Last reads the newest n messages.
	Last int
	// Age reads the messages of this last span of time.
	Age time.Duration
	// Limit bounds the messages of the page; 0 returns none.
	Limit int
}

// Page is a part of a log, oldest message first.
type Page struct {
	Messages []*Message
	// Start is where a reader stands before the first message.
	Start Position
	// Cursor is where a reader stands that has taken the page.
	Cursor Position
	// Gap is set if the query's cursor could not be honoured.
	Gap *Gap
	// More says that there are more messages in the direction of the query:
	// newer ones for InvalidCursor and After, older ones otherwise.
	More bool
}

// GapReason says why messages are missing.
type GapReason string

// The reasons of a gap.
const (
	GapExpired GapReason = "expired" // retention let go of them
	GapEpoch   GapReason = "epoch"   // the log began anew, or the cursor is not valid here
	GapSlow    GapReason = "slow"    // retention overtook a live session
)

// Gap says that the messages after From, up to and including To, may be
// missing. From is zero if the reader's cursor could not be read.
type Gap struct {
	Room     string
	From, To Position
	Reason   GapReason
}

// Forward adds a message to a page that is read with the oldest first, and reports
// whether there is place for it.
func (p *Page) Forward(m *Message, limit int, now time.Time) bool {
	if m.Signal || m.Expired(now) {
		return true
	}
	if len(p.Messages) < limit {
		p.Messages = append(p.Messages, m)
		return true
	}
	p.More = true
	p.Cursor = p.Start
	if len(p.Messages) > 0 {
		p.Cursor = p.Messages[len(p.Messages)-1].Position
	}
	return false
}

// Backward does so to one that is read with the newest first. The end of that is [Page.Turn].
func (p *Page) Backward(m *Message, limit int, now time.Time) bool {
	if m.Expired(now) {
		return true
	}
	if len(p.Messages) < limit {
		p.Messages = append(p.Messages, m)
		return true
	}
	p.More = true
	return false
}

// Turn puts the oldest message first.
func (p *Page) Turn() {
	slices.Reverse(p.Messages)
	if len(p.Messages) > 0 {
		// Offsets rise over all rooms and 0 is none, so nothing of this room
		// lies between the two.
		p.Start = p.Messages[0].Position
		p.Start.Offset--
	}
}
