package hub

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/hub/values"
)

// Engine orders and stores what is published. A hub delivers only what its engine hands
// back, so one node works in the same way as many.
//
// An engine promises:
//
//   - Publish returns when the engine has the message, and not before. Positions of
//     one room rise in the order in which its messages are delivered and read.
//   - What is published with a scope is stored once: the same draft again gives the
//     first receipt, as replayed, for at least [KeyLifetime].
//   - Every reader of a room gets every message after the tail that Subscribe
//     returned, once, in order, or a Reset for those that it cannot get.
//     Signals come in between, at least as long as the engine is in good
//     health.
//   - Read never misses a message without saying so in Page.Gap, above all not
//     what a Reset was about.
//
// All methods are safe for concurrent use. Those with a context may block until it
// ends.
type Engine interface {
	// Publish stores the draft's message, unless it is a signal, and has it delivered
	// with its Position and Time, which the receipt repeats. The message is the engine's
	// from now on: the caller must not use it any more. If ctx ends first, the message
	// may have been stored all the same; if the draft has a scope, publishing it again
	// gives the receipt. It returns ErrKeyReused, ErrStorageFull, ErrUnavailable, or
	// ErrOutcomeUnknown.
	Publish(ctx context.Context, d Draft) (Receipt, error)
	// Subscribe begins to deliver what is published in the room. tail is the
	// room's end at that moment. stop ends it and may be called once, by anybody
	// but the reader: it waits for a call that is under way, and none follows.
	Subscribe(ctx context.Context, room string, r Reader) (tail Position, stop func(), err error)
	// Read reads the room's log. A page may have fewer messages than the query's Limit
	// although there are More. For sessions that fell behind it is called off the delivery path, and again
	// after a pause if it fails, or has nothing after a position below the room's end yet.
	Read(ctx context.Context, room string, q Query) (Page, error)
	// Retain says how much of the room's log to keep from now on, and lets go
	// of what is over it or too old. It does nothing for a room that was
	// neither subscribed to nor published in. It does not block.
	Retain(room string, keep settings.History)
	// Forget lets go of what the engine keeps of the room only as long as this process
	// lives. Unless force is set it does nothing if a message would be lost. It reports
	// whether the room is forgotten, as it always is where the log outlives the process.
	// A subscription that is left delivers nothing more. It does not block.
	Forget(room string, force bool) bool
	// State is what the hub stores beside the logs.
	State() Store
	// Health says how the engine is. It does not block.
	Health() Health
	// Close releases what the engine holds. Nothing is called after it. For an [Opener] it is
	// called only if Open was called, also if that failed.
	Close(ctx context.Context) error
}

// Keeper is an engine that keeps its logs in this process. They and what the hub itself
// keeps share one bound, [settings.Settings.HistoryMemory]. Its Subscribe and Read do not block: they are called
// on the delivery path.
type Keeper interface {
	Engine
	// Bind gives the engine the budget to which it charges the messages that it keeps.
	// It is called once, before any other method.
	Bind(b *Budget)
	// Evict lets go of the room's messages up to and including offset, since the budget
	// is exceeded. It does not block.
	Evict(room string, offset uint64)
}

// Opener is an engine that has to be opened, such as one with a file or a connection. Before Open it must not
// have touched anything that others could notice: a configuration is checked with engines that are
// never opened.
type Opener interface {
	Engine
	// Open opens the engine. The hub calls it once, before any method but Govern, and none
	// but Close after an error. It may block until ctx ends, as for a lock that another
	// process holds. Its error is shown to the operator, and names what was to be opened.
	Open(ctx context.Context) error
}

// Governed is an engine whose logs outlive the hub, so that there are rooms which nobody has used since:
// it keeps to the configuration for these, too.
type Governed interface {
	Engine
	// Govern gives the engine the function that says how much of any room's log to keep, by the settings
	// that are in force when it is called. The function is safe for concurrent use, and does not
	// block. The hub calls Govern once, before Open and all other methods.
	Govern(keep func(room string) settings.History)
}

// Lister is an engine that knows which rooms it has, also those that nobody uses.
type Lister interface {
	Engine
	// Rooms returns the names of rooms that have messages, by their bytes, the first ones behind after and at
	// most limit; it may return rooms that have none any more. Fewer than limit are the last ones. A room
	// that has messages all the while is returned, whatever happens to others between two calls.
	Rooms(ctx context.Context, after string, limit int) ([]string, error)
}

// Importer is an engine that can take in messages which another log has had, or this one, so that they have
// their offsets and times again.
type Importer interface {
	Engine
	// Import stores all of the messages that can have their offsets, or none if it returns an error, and says of
	// each what became of it. These are the messages of a room that has had none but imported ones, of the same
	// epoch, if their offsets rise. Nobody is told of a message, but readers of the
	// rooms find it in the log, where it comes before or after what they have read. A hub in which no room has
	// ever had a message takes over the epoch of the first one. Expired messages are not for it. The engine may
	// change the messages while it is called.
	Import(ctx context.Context, messages []*Message) ([]Outcome, error)
}

// Eraser is an engine that can take messages out of its logs for good.
type Eraser interface {
	Engine
	// Erase takes every message that a user has published until now out of all rooms. The others keep their
	// positions, and nobody gets a gap. It returns how many messages there were, also with an error: then some
	// may be left.
	Erase(ctx context.Context, user string) (erased int, err error)
}

// Outcome is what became of an imported message.
type Outcome uint8

// The outcomes.
const (
	OutcomeFresh Outcome = iota // not stored: it is to be published
	OutcomeKept                 // stored with its offset
	OutcomeKnown                // not stored, since it was imported, or was in this log, before
)

// Errors of an engine, beside those of contexts and [ErrKeyReused].
var (
	ErrStorageFull    = errors.New("the engine's storage is full") // nothing was stored
	ErrUnavailable    = errors.New("the engine cannot be reached") // nothing was stored
	ErrOutcomeUnknown = errors.New("the engine did not answer")    // it may have been stored
	ErrVersion        = values.ErrVersion                          // see [Store]
)

// Draft is a message without a Position and a Time.
type Draft struct {
	Message *Message
	// Scope is where the message's key means this publication: it stands for the room,
	// whose key it is, and the key. It is empty if there is no key.
	Scope string
	// Print tells one publication from another with the same scope. It is the same in
	// every process.
	Print [16]byte
}

// Receipt is the answer to a publication.
type Receipt struct {
	Position           // zero for a signal
	Time     time.Time // when the engine took it
	Replayed bool      // the idempotency key was known: this is the first answer again
}

// Reader receives a room's messages from an engine. Its methods are never called by two
// goroutines at once, and do not block; the engine may hold its own locks while it
// calls them.
type Reader interface {
	// Deliver takes the next message or signal.
	Deliver(m *Message)
	// Reset says that messages between the last delivery and tail cannot be
	// delivered, or that the log has begun anew, in another epoch. Deliver goes on
	// after tail. A call of Read then says what is missing; reason is that of the gap for
	// sessions that had read everything until then.
	Reset(tail Position, reason GapReason)
}

// Store keeps small values by name for all hubs that share the engine. A value has a
// version, above 0 and another one after each change.
type Store interface {
	// Get returns a value and its version, or version 0 if there is none.
	Get(ctx context.Context, name string) (value []byte, version uint64, err error)
	// Set changes a value if its version is still the one given, 0 for a value that
	// does not exist, and returns its new version. An empty value removes it, and
	// its version is 0. If ttl is not zero the value is removed after that time. It returns ErrVersion if the value
	// has another version.
	Set(ctx context.Context, name string, value []byte, version uint64, ttl time.Duration) (uint64, error)
	// Watch calls f with each value whose name begins with prefix, then after each
	// change with the newest one, empty if it was removed, until ctx ends. It returns
	// the context's error, or that of the engine.
	Watch(ctx context.Context, prefix string, f func(name string, value []byte)) error
}

// Health is how an engine is.
type Health struct {
	Err   error     // nil: it is well
	Since time.Time // when Err began
	Queue int       // publications that wait
}
