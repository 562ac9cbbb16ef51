// Package settings is the configuration of a hub: limits, and what rooms keep and tell.
package settings

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/names"
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
	DefaultBackendRate    = 1000 // a second
	DefaultPresenceGrace  = 10 * time.Second
	DefaultDrain          = 5 * time.Second
	Off                   = math.MaxInt // as a number in Settings: no limit
)

// Settings is a hub's configuration. Once a hub has it, it must not be changed.
type Settings struct {
	// MaxMessageSize bounds the data of one message, in bytes.
	MaxMessageSize int
	// MaxRooms bounds the rooms. A new room replaces the least recently used one
	// without subscribers; declared rooms go last.
	MaxRooms int
	// MaxConnections bounds the sessions.
	MaxConnections int
	// MaxPerAddress bounds the sessions of one client address (IPv6: of one /64).
	MaxPerAddress int
	// MaxPerUser bounds the sessions of one user.
	MaxPerUser int
	// MaxUsers bounds the users that have sessions.
	MaxUsers int
	// HistoryMemory bounds all that is kept, in bytes: messages with 400 each beside
	// their data, cached encoded forms, frames of presence, and states, which have
	// no more than half of it. Messages of declared rooms go last.
	HistoryMemory int64
	// Rate bounds publishing, by session, by user and by address, signals likewise, and
	// the making of new rooms by user and by address.
	Rate limit.Rate
	// BackendRate bounds, in place of Rate, each of these things that one backend does.
	BackendRate limit.Rate
	// History is what a room keeps.
	History History
	// Presence is what a room says about its members.
	Presence PresenceRule
	// Drain is how long clients are sent away before the hub ends; 0: all at once.
	Drain time.Duration
	// Rooms changes limits for some rooms, and declares them: see [Settings.Declared].
	Rooms []RoomRule
	// Owned are more patterns of declared rooms, whose limits are the others'. Each has the
	// segment {user}, which any segment matches.
	Owned []string
	// OnlyDeclared says that only declared rooms exist. Otherwise any name is a room.
	OnlyDeclared bool
}

// LargestMessage returns how many bytes of data a message may have in the room
// that allows the most.
func (s *Settings) LargestMessage() int {
	largest := s.MaxMessageSize
	for _, r := range s.Rooms {
		if r.MaxMessageSize != nil {
			largest = max(largest, *r.MaxMessageSize)
		}
	}
	return largest
}

// Asking is the rate of joins and states, and that of commands that ask for history. Its burst allows a client to join
// as many rooms as it may be in.
func (s *Settings) Asking() limit.Rate {
	r := s.Rate
	r.Burst = max(r.Burst, MaxRoomsJoined)
	return r
}

// AskingTogether is how often the sessions of one address, or of one user, together may ask
// for that: all of them may come back at once, as after a restart, and join all of
// their rooms; then ten times as often as one.
func (s *Settings) AskingTogether() limit.Rate {
	r := s.Asking()
	if r == limit.Unlimited || r.Burst == Off {
		return limit.Unlimited
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
		MaxPerUser:     Off,
		MaxUsers:       Off,
		HistoryMemory:  DefaultHistoryMemory,
		Rate:           limit.Rate{PerSecond: DefaultRatePerSecond, Burst: DefaultRateBurst},
		BackendRate:    limit.Rate{PerSecond: DefaultBackendRate, Burst: 2 * DefaultBackendRate},
		History:        History{Count: DefaultHistoryCount, Age: DefaultHistoryAge},
		Presence:       PresenceRule{Grace: DefaultPresenceGrace},
		Drain:          DefaultDrain,
	}
}

// History says how much of a room's log is kept.
type History struct {
	Count int           // messages; 0 keeps none
	Age   time.Duration // 0 means that age ends nothing
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

// RoomRule sets limits for the rooms whose names match Pattern: the name itself, or a
// beginning followed by one "*", which also spans "/". A field that a rule leaves nil
// comes from the next less specific rule that matches, then from the settings.
type RoomRule struct {
	Pattern        string
	History        *History
	MaxMessageSize *int
	Rate           *limit.Rate
	// RoomRate bounds what all clients together publish in each of the rooms.
	RoomRate *limit.Rate
	Presence *PresenceRule
	// MaxRooms bounds how many rooms there are of the rule. A new one replaces the
	// least recently used one of them without subscribers. Off excepts the rooms from the
	// less specific rules.
	MaxRooms *int
	// HistoryMemory bounds what these rooms keep together, in bytes, as that of
	// [Settings] does, but without encoded forms; Off as above.
	HistoryMemory *int
	// MaxMembers bounds the members of each of the rooms, see [Policy].
	MaxMembers *int
}

// MaxRoomsJoined is how many rooms one session may be in.
const MaxRoomsJoined = 100

// CheckPattern returns an error that says what is wrong with a room pattern.
func CheckPattern(pattern string) error {
	if err := names.CheckPattern(pattern); err != nil {
		return fmt.Errorf("room pattern %q: %w", pattern, err)
	}
	return nil
}

// match reports whether the rule is about the room.
func (r *RoomRule) match(room string) bool { return Match(r.Pattern, room) }

// Match reports whether a room has a name that matches a pattern, see [CheckPattern].
func Match(pattern, room string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(room, prefix)
	}
	return pattern == room
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
		{"max_connections_per_user", s.MaxPerUser},
		{"max_users", s.MaxUsers},
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
		if err := r.checkQuotas(s); err != nil {
			return fmt.Errorf("room pattern %q: %w", r.Pattern, err)
		}
	}
	return s.checkDeclared()
}

// check rejects negative limits.
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

// Policy is what the settings say about one room.
type Policy struct {
	History        History
	MaxMessageSize int
	Rate           limit.Rate
	RoomRate       limit.Rate
	Presence       PresenceRule
	// MaxMembers is how many members the room may have: users, and anonymous connections
	// that show a state or receive presence. Connections that are only counted are not
	// among them.
	MaxMembers int
}

// Policy resolves the rules for a room: the exact name first, then the longest
// pattern.
func (s *Settings) Policy(room string) Policy {
	var matching []*RoomRule
	for i := range s.Rooms {
		if s.Rooms[i].match(room) {
			matching = append(matching, &s.Rooms[i])
		}
	}
	slices.SortFunc(matching, func(a, b *RoomRule) int {
		if a.precedes(b, room) {
			return -1
		}
		return 1 // no two patterns are equal
	})
	var rule RoomRule
	for _, r := range matching {
		rule.History = cmp.Or(rule.History, r.History)
		rule.MaxMessageSize = cmp.Or(rule.MaxMessageSize, r.MaxMessageSize)
		rule.Rate = cmp.Or(rule.Rate, r.Rate)
		rule.RoomRate = cmp.Or(rule.RoomRate, r.RoomRate)
		rule.MaxMembers = cmp.Or(rule.MaxMembers, r.MaxMembers)
		rule.Presence = cmp.Or(rule.Presence, r.Presence)
	}
	unlimited := Off
	return Policy{
		History:        *cmp.Or(rule.History, &s.History),
		MaxMessageSize: *cmp.Or(rule.MaxMessageSize, &s.MaxMessageSize),
		Rate:           *cmp.Or(rule.Rate, &s.Rate),
		RoomRate:       *cmp.Or(rule.RoomRate, &limit.Unlimited),
		Presence:       *cmp.Or(rule.Presence, &s.Presence),
		MaxMembers:     *cmp.Or(rule.MaxMembers, &unlimited),
	}
}
