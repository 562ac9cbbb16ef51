package hub

import (
	"context"
	"time"
)

// Engine orders and stores what is published. A hub delivers only what its
// engine hands back, so one node is no special case of many.
//
// An engine promises:
//
//   - Publish returns when the engine has the message, and not before. It sets
//     Time, and Position unless the message is a signal. Positions of one room
//     rise in the order in which its messages are delivered and read.
//   - Every reader of a room gets every message after the tail that Subscribe
//     returned, once, in order, or a Reset for those that it cannot get.
//     Signals come in between, at least as long as the engine is in good
//     health.
//   - Read never misses a message without saying so in Page.Gap, above all not
//     what a Reset was about.
//
// All methods are safe for concurrent use.
type Engine interface {
	// Publish stores m, unless it is a signal, and sets Position and Time.
	Publish(ctx context.Context, m *Message) error
	// Subscribe begins to deliver what is published in the room. tail is the
	// room's end at that moment. stop ends it and may be called once, by anybody
	// but the reader: it waits for a call that is under way, and none follows.
	Subscribe(ctx context.Context, room string, r Reader) (tail Position, stop func(), err error)
	// Read reads the room's log. It is called on the delivery path for a
	// session that fell behind, so it must not take long.
	Read(ctx context.Context, room string, q Query) (Page, error)
	// Retain says how much of the room's log to keep from now on, and lets go
	// of what is over it or too old. It does nothing for a room that was
	// neither subscribed to nor published in.
	Retain(room string, keep History)
	// Close releases what the engine holds.
	Close(ctx context.Context) error
}

// Reader is who an engine delivers a room's messages to. Its methods are never called
// by two goroutines at once, and do not block; the engine may hold its own locks while it
// calls them.
type Reader interface {
	// Deliver takes the next message or signal.
	Deliver(m *Message)
	// Reset says that messages between the last delivery and tail cannot be
	// delivered, or that the log has begun anew, in another epoch. Deliver goes on
	// after tail. Whoever reads the room finds out by Read what is missing.
	Reset(tail Position)
}

// forgetter is an engine whose logs live in this process and are the hub's to
// forget.
type forgetter interface {
	// Forget drops the room's log. Unless force is set it does so only if
	// nothing is stored in it, and says whether it did. What the log holds is let
	// go of by bury, which the hub calls without its lock.
	Forget(room string, force bool) bool
	bury()
	// evict drops the room's messages up to and including offset.
	evict(room string, offset uint64)
	// lost returns what is missing of the room's log.
	lost(room string) loss
}

// History says how much of a room's log is kept.
type History struct {
	Count int           // messages; 0 keeps none
	Age   time.Duration // 0 means that age ends nothing
}

// Query says which part of a log to read. The first that is set decides:
// InvalidCursor, After, Before, Last, Age. If none is, the page is empty and its
// Cursor is the log's tail.
type Query struct {
	// InvalidCursor stands for a cursor that is none of ours. The page begins with a
	// gap and the oldest messages.
	InvalidCursor bool
	// After reads forward from this cursor.
	After Position
	// Before reads the newest messages before this cursor, itself excluded.
	Before Position
	// Last reads the newest n messages.
	Last int
	// Age reads the newest messages that are no older than this.
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
	GapEpoch   GapReason = "epoch"   // the log began anew, or the cursor is none of ours
	GapSlow    GapReason = "slow"    // retention overtook a live session
)

// Gap says that the messages after From, up to and including To, may be
// missing. From is zero if the reader's cursor could not be read.
type Gap struct {
	Room     string
	From, To Position
	Reason   GapReason
}
