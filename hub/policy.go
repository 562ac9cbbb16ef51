package hub

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub/receipts"
)

// Defaults of [Settings], see there.
const (
	DefaultMaxMessageSize = 64 << 10
	DefaultMaxRooms       = 10_000
	DefaultMaxConnections = 100_000
	DefaultMaxPerAddress  = 200
	DefaultHistoryMemory  = 64 << 20
	DefaultHistoryCount   = 100
	DefaultHistoryAge     = 24 * time.Hour
	DefaultRatePerSecond  = 10
	DefaultRateBurst      = 20
	DefaultPresenceGrace  = 10 * time.Second
	windowCount           = 64               // delivery window of an occupied room, in messages
	windowAge             = 10 * time.Second // delivery window of any room
	maxNoticeBytes        = 4 << 10          // notices that wait for one session
	maxAnswerBytes        = 64 << 10         // answers that may wait before the next has to
	sweepEvery            = 5 * time.Second
	sweepChunk            = 256 // entries that are looked at before others may have the lock
	fullRetryAfter        = 5 * time.Second
	Off                   = math.MaxInt // as a number in Settings: no limit
)

// KeyLifetime is how long an idempotency key is remembered.
const KeyLifetime = receipts.Lifetime

// Settings is a hub's configuration. Once a hub has it, it must not be changed.
type Settings struct {
	// MaxMessageSize bounds the data of one message, in bytes.
	MaxMessageSize int
	// MaxRooms bounds the rooms. A new room replaces the least recently used one
	// without subscribers.
	MaxRooms int
	// MaxConnections bounds the sessions.
	MaxConnections int
	// MaxPerAddress bounds the sessions of one client address (IPv6: of one /64).
	MaxPerAddress int
	// HistoryMemory bounds all that is kept, in bytes: messages with 400 each beside
	// their data, cached encoded forms, frames of presence, and states, which have
	// no more than half of it.
	HistoryMemory int64
	// Rate bounds publishing, by session and by address, and the making of new
	// rooms by address.
	Rate Rate
	// History is what a room keeps.
	History History
	// Presence is what a room says about its members.
	Presence PresenceRule
	// Rooms changes limits for some rooms.
	Rooms []RoomRule
}

// asking is the rate of commands that publish nothing. Its burst allows a client to join
// as many rooms as it may be in.
func (s *Settings) asking() Rate {
	r := s.Rate
	r.Burst = max(r.Burst, MaxRoomsJoined)
	return r
}

// askingTogether is how often the sessions of one address together may ask for
// that: all of them may come back at once, as after a restart, and join all of
// their rooms; then ten times as often as one.
func (s *Settings) askingTogether() Rate {
	r := s.asking()
	if r == Unlimited || r.Burst == Off {
		return Unlimited
	}
	r.Burst *= min(s.MaxPerAddress, DefaultMaxPerAddress)
	r.PerSecond *= 10
	return r
}

// Defaults returns the settings of a hub without any configuration.
func Defaults() *Settings {
	return &Settings{
		MaxMessageSize: DefaultMaxMessageSize,
		MaxRooms:       DefaultMaxRooms,
		MaxConnections: DefaultMaxConnections,
		MaxPerAddress:  DefaultMaxPerAddress,
		HistoryMemory:  DefaultHistoryMemory,
		Rate:           Rate{PerSecond: DefaultRatePerSecond, Burst: DefaultRateBurst},
		History:        History{Count: DefaultHistoryCount, Age: DefaultHistoryAge},
		Presence:       PresenceRule{Grace: DefaultPresenceGrace},
	}
}

// PresenceRule is what a room says about its members.
type PresenceRule struct {
	Mode PresenceMode
	// Grace is how long a member that has lost its connection stays a member.
	Grace time.Duration
}

// PresenceMode is how much a room says about its members.
type PresenceMode uint8

// The modes.
const (
	PresenceOn    PresenceMode = iota // who, and how many
	PresenceCount                     // how many
	PresenceOff                       // nothing
)

// RoomRule sets limits for the rooms whose names match Pattern: the name
// itself, or a beginning followed by one "*", which also spans "/". What a
// rule leaves nil comes from the next less specific rule that matches, then
// from the settings.
type RoomRule struct {
	Pattern        string
	History        *History
	MaxMessageSize *int
	Rate           *Rate
	Presence       *PresenceRule
}

// MaxRoomsJoined is how many rooms one session may be in.
const MaxRoomsJoined = 100

// MaxState bounds the state that a member shows, in bytes of JSON.
const MaxState = 1 << 10

// CheckPattern returns an error that says what is wrong with a room pattern.
func CheckPattern(pattern string) error {
	prefix, star := strings.CutSuffix(pattern, "*")
	if strings.Contains(prefix, "*") {
		return fmt.Errorf("room pattern %q: only one * is allowed, at the end", pattern)
	}
	if star {
		prefix += "x" // stands for what the star matches
	}
	if err := CheckRoomName(prefix); err != nil {
		return fmt.Errorf("room pattern %q: %w", pattern, err)
	}
	return nil
}

// match reports whether the rule is about the room.
func (r *RoomRule) match(room string) bool {
	if prefix, ok := strings.CutSuffix(r.Pattern, "*"); ok {
		return strings.HasPrefix(room, prefix)
	}
	return r.Pattern == room
}

// Check returns an error that names the first setting that can't be.
func (s *Settings) Check() error {
	for _, limit := range []struct {
		name string
		n    int
	}{
		{"max_message_size", s.MaxMessageSize},
		{"max_rooms", s.MaxRooms},
		{"max_connections", s.MaxConnections},
		{"max_connections_per_address", s.MaxPerAddress},
	} {
		if limit.n < 1 {
			return fmt.Errorf("%s must be at least 1", limit.name)
		}
	}
	if err := s.History.check(); err != nil {
		return err
	}
	if err := s.Presence.check(); err != nil {
		return err
	}
	if int64(s.MaxMessageSize) > s.HistoryMemory {
		return tooLargeToKeep("", s.MaxMessageSize, s.HistoryMemory)
	}
	seen := make(map[string]bool)
	for _, r := range s.Rooms {
		if err := CheckPattern(r.Pattern); err != nil {
			return err
		}
		if seen[r.Pattern] {
			return fmt.Errorf("room pattern %q already specified", r.Pattern)
		}
		seen[r.Pattern] = true
		if r.History != nil {
			if err := r.History.check(); err != nil {
				return fmt.Errorf("room pattern %q: %w", r.Pattern, err)
			}
		}
		if r.Presence != nil {
			if err := r.Presence.check(); err != nil {
				return fmt.Errorf("room pattern %q: %w", r.Pattern, err)
			}
		}
		if r.MaxMessageSize != nil && *r.MaxMessageSize < 1 {
			return fmt.Errorf("room pattern %q: max_message_size must be at least 1", r.Pattern)
		}
		if r.MaxMessageSize != nil && int64(*r.MaxMessageSize) > s.HistoryMemory {
			return tooLargeToKeep(fmt.Sprintf("room pattern %q: ", r.Pattern), *r.MaxMessageSize, s.HistoryMemory)
		}
	}
	return nil
}

// check returns an error if nobody can keep so little.
func (k History) check() error {
	if k.Count < 0 || k.Age < 0 {
		return fmt.Errorf("invalid history of %d messages and %v: must not be negative", k.Count, k.Age)
	}
	return nil
}

// check returns an error for a grace that cannot be.
func (p PresenceRule) check() error {
	if p.Mode > PresenceOff || p.Grace < 0 {
		return fmt.Errorf("invalid presence %d with a grace of %v: the grace must not be negative", p.Mode, p.Grace)
	}
	return nil
}

func tooLargeToKeep(where string, size int, memory int64) error {
	text := "off"
	if size != Off {
		text = strconv.Itoa(size)
	}
	return fmt.Errorf("%sinvalid max_message_size %s: must be at most history_memory, which is %d: a larger message could not be delivered", where, text, memory)
}

// policy is what the settings say about one room.
type policy struct {
	history        History
	maxMessageSize int
	rate           Rate
	presence       PresenceRule
}

// policy resolves the rules for a room: the exact name first, then the longest
// pattern.
func (s *Settings) policy(room string) policy {
	var matching []*RoomRule
	for i := range s.Rooms {
		if s.Rooms[i].match(room) {
			matching = append(matching, &s.Rooms[i])
		}
	}
	// An exact pattern is as long as the name; one with a star that matches
	// may be one longer, so exactness is compared first.
	slices.SortFunc(matching, func(a, b *RoomRule) int {
		if exact := (a.Pattern == room); exact != (b.Pattern == room) {
			if exact {
				return -1
			}
			return 1
		}
		return cmp.Compare(len(b.Pattern), len(a.Pattern))
	})
	var rule RoomRule
	for _, r := range matching {
		rule.History = cmp.Or(rule.History, r.History)
		rule.MaxMessageSize = cmp.Or(rule.MaxMessageSize, r.MaxMessageSize)
		rule.Rate = cmp.Or(rule.Rate, r.Rate)
		rule.Presence = cmp.Or(rule.Presence, r.Presence)
	}
	return policy{
		history:        *cmp.Or(rule.History, &s.History),
		maxMessageSize: *cmp.Or(rule.MaxMessageSize, &s.MaxMessageSize),
		rate:           *cmp.Or(rule.Rate, &s.Rate),
		presence:       *cmp.Or(rule.Presence, &s.Presence),
	}
}

// Errors by which the hub refuses. Those of limits come as a [*LimitError].
var (
	ErrDraining  = errors.New("the hub is closing")
	ErrFull      = errors.New("full")
	ErrRate      = errors.New("too many messages")
	ErrTooLarge  = errors.New("message too large")
	ErrKeyReused = receipts.ErrReused
	ErrEnded     = errors.New("the session has ended")
	ErrRooms     = errors.New("too many rooms on one connection")
	ErrNotJoined = errors.New("not in this room")
	ErrState     = errors.New("bad state")
	ErrPresence  = errors.New("the room has no presence")
)

// LimitError names the limit that refused something.
type LimitError struct {
	Limit      string        // the option's name
	Max        string        // its value
	RetryAfter time.Duration // when it may work; 0: not by waiting
	Err        error         // ErrFull, ErrRate or ErrTooLarge
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: %s is %s", e.Err, e.Limit, e.Max)
}

// Unwrap returns the sentinel.
func (e *LimitError) Unwrap() error { return e.Err }
