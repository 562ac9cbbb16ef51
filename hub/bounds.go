package hub

import (
	"errors"
	"time"

	"github.com/caddy-realtime/realtime/hub/receipts"
)

// Bounds that nobody configures.
const (
	windowCount    = 64               // delivery window of an occupied room, in messages
	windowAge      = 10 * time.Second // delivery window of any room
	maxNoticeBytes = 4 << 10          // notices that wait for one session
	maxAnswerBytes = 64 << 10         // answers that may wait before the next has to
	sweepEvery     = 5 * time.Second
	sweepChunk     = 256 // entries that are looked at before others may have the lock
	// MaxState bounds the state that a member shows, in bytes of JSON.
	MaxState = 1 << 10
	// KeyLifetime is how long an idempotency key is remembered.
	KeyLifetime = receipts.Lifetime
)

// Errors by which the hub refuses, beside those of limits.
var (
	ErrDraining  = errors.New("the hub is closing")
	ErrKeyReused = receipts.ErrReused
	ErrEnded     = errors.New("the session has ended")
	ErrRooms     = errors.New("too many rooms on one connection")
	ErrNotJoined = errors.New("not in this room")
	ErrPresence  = errors.New("the room has no presence")
)
