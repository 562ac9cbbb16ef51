package settings

import (
	"fmt"
	"strings"
)

// Quota bounds what the rooms of one [RoomRule] have together. The zero Quota bounds
// nothing.
type Quota struct {
	Pattern string // of the rule
	Max     int
}

// RoomsQuota returns the quota in which the room counts as one. It is that of the most
// specific rule that has one.
func (s *Settings) RoomsQuota(room string) Quota {
	return s.quota(room, func(r *RoomRule) *int { return r.MaxRooms })
}

// MemoryQuota returns the quota to which what the room keeps is charged, in bytes. It is
// that of the most specific rule that has one.
func (s *Settings) MemoryQuota(room string) Quota {
	return s.quota(room, func(r *RoomRule) *int { return r.HistoryMemory })
}

// MemoryQuotas returns the quotas of bytes, which say nothing about which rooms have them.
func (s *Settings) MemoryQuotas() (all []Quota) {
	for _, r := range s.Rooms {
		if r.HistoryMemory != nil {
			all = append(all, Quota{r.Pattern, *r.HistoryMemory})
		}
	}
	return all
}

func (s *Settings) quota(room string, of func(*RoomRule) *int) Quota {
	var best *RoomRule
	for i := range s.Rooms {
		if r := &s.Rooms[i]; of(r) != nil && r.match(room) && (best == nil || r.precedes(best, room)) {
			best = r
		}
	}
	if best == nil || *of(best) == Off {
		return Quota{}
	}
	return Quota{best.Pattern, *of(best)}
}

// precedes reports whether the rule is more specific than another; both match the room. An
// exact pattern is as long as the name; one with a star that matches may be one longer.
func (r *RoomRule) precedes(other *RoomRule, room string) bool {
	return r.Pattern == room || other.Pattern != room && len(r.Pattern) > len(other.Pattern)
}

// checkQuotas returns an error for a quota that cannot be.
func (r *RoomRule) checkQuotas(s *Settings) error {
	for _, limit := range []struct {
		name string
		n    *int
	}{{"max_rooms", r.MaxRooms}, {"history_memory", r.HistoryMemory}, {"max_members", r.MaxMembers}} {
		if limit.n != nil && *limit.n < 1 {
			return fmt.Errorf("%s must be at least 1", limit.name)
		}
	}
	name := r.Pattern
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		name = prefix + "\x00" // matches what every name does that begins like this, and no more
	}
	if q, size := s.MemoryQuota(name), s.Policy(name).MaxMessageSize; q.Max > 0 && size > q.Max {
		return fmt.Errorf("invalid history_memory %d: must be at least max_message_size, which is %d: a larger message could not be kept", q.Max, size)
	}
	return nil
}
