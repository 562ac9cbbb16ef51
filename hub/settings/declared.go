package settings

import (
	"errors"
	"slices"
	"strings"
)

// Which rooms are declared, and which exist.

const (
	every       = "*"      // the pattern that every name matches
	userSegment = "{user}" // what stands for one segment in an owned pattern
)

// Declared reports whether the room is declared: it matches one of [Settings.Rooms] or
// [Settings.Owned]. The pattern "*" is about all rooms, and declares none.
func (s *Settings) Declared(room string) bool {
	for i := range s.Rooms {
		if r := &s.Rooms[i]; r.Pattern != every && r.match(room) {
			return true
		}
	}
	return slices.ContainsFunc(s.Owned, func(pattern string) bool { return matchOwned(pattern, room) })
}

// Exists reports whether there may be a room of that name.
func (s *Settings) Exists(room string) bool { return !s.OnlyDeclared || s.Declared(room) }

// Declares reports whether any rooms can be declared.
func (s *Settings) Declares() bool {
	return len(s.Owned) > 0 || slices.ContainsFunc(s.Rooms, func(r RoomRule) bool { return r.Pattern != every })
}

// SameDeclared reports whether the other settings declare the same rooms, by the same patterns in
// the same order.
func (s *Settings) SameDeclared(other *Settings) bool {
	return slices.Equal(s.Owned, other.Owned) &&
		slices.EqualFunc(s.Rooms, other.Rooms, func(a, b RoomRule) bool { return a.Pattern == b.Pattern })
}

// matchOwned reports whether the room matches a pattern with the segment {user}, which any
// segment does.
func matchOwned(pattern, room string) bool {
	pattern, star := strings.CutSuffix(pattern, "*")
	before, after, _ := strings.Cut(pattern, userSegment)
	rest, ok := strings.CutPrefix(room, before)
	if !ok {
		return false
	}
	segment, _, _ := strings.Cut(rest, "/")
	rest, ok = strings.CutPrefix(rest[len(segment):], after)
	return ok && (star || rest == "")
}

// checkDeclared returns an error if only declared rooms exist, and that leaves none or all.
func (s *Settings) checkDeclared() error {
	switch {
	case !s.OnlyDeclared:
		return nil
	case slices.ContainsFunc(s.Rooms, func(r RoomRule) bool { return r.Pattern == every }):
		return errors.New("rooms declared has no effect beside room *, which every name matches: remove one of them")
	case !s.Declares():
		return errors.New("rooms declared needs a room block, or there are no rooms: add one, as in room news, or remove rooms declared")
	default:
		return nil
	}
}
