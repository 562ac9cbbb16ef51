package realtime

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub/settings"
)

func (h *Handler) unmarshalRoom(d *caddyfile.Dispenser, named namedMatcher) error {
	pattern, err := word(d, h.checkPattern)
	if err != nil {
		return err
	}
	for _, r := range h.Rooms {
		if r.Pattern == pattern {
			return d.Errf("room %s already specified", pattern)
		}
	}
	room := Room{Pattern: pattern}
	if d.NextArg() {
		return d.Errf("room %s: unexpected argument %q", pattern, d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "allow" {
			return d.Errf("room %s: %s already specified", pattern, name)
		}
		seen[name] = true
		if err := room.unmarshalOption(d, name, named); err != nil {
			return err
		}
	}
	h.Rooms = append(h.Rooms, room)
	return nil
}

// roomNames reads which names are rooms.
func roomNames(d *caddyfile.Dispenser) (string, error) {
	return word(d, func(names string) error {
		if _, err := onlyDeclared(names); err != nil {
			return fmt.Errorf("invalid rooms %q: must be open or declared (the options of a room are in a block that begins with room)", names)
		}
		return nil
	})
}

// checkRoomOptions refuses a room without options, unless it is enough to declare it.
func (h *Handler) checkRoomOptions() error {
	if only, _ := onlyDeclared(h.RoomNames); only {
		return nil
	}
	for _, r := range h.Rooms {
		if reflect.DeepEqual(r, Room{Pattern: r.Pattern}) {
			return fmt.Errorf("room %s has no options: set one of %s; or rooms declared, where such a line declares the room", r.Pattern, strings.Join(roomOptions, ", "))
		}
	}
	return nil
}

func (r *Room) unmarshalOption(d *caddyfile.Dispenser, name string, named namedMatcher) (err error) {
	if name != "allow" && slices.Contains(roomOptions, name) && strings.Contains(r.Pattern, userSegment) {
		return d.Errf("room %s: %s is not possible for a pattern with {user}, which takes only allow", r.Pattern, name)
	}
	switch name {
	case "history":
		r.History, err = history(d)
	case "max_message_size":
		r.MaxMessageSize, err = size(d)
	case "rate":
		r.Rate, err = rate(d)
	case "room_rate":
		r.RoomRate, err = rate(d)
	case "max_rooms":
		r.MaxRooms, err = count(d)
	case "history_memory":
		r.HistoryMemory, err = size(d)
	case "max_members":
		r.MaxMembers, err = count(d)
	case "presence":
		r.Presence, err = presence(d)
	case "allow":
		var a Allow
		a, err = allow(d, r.Pattern, named)
		r.Allow = append(r.Allow, a)
	default:
		return d.WrapErr(unknownRoomOption(name, r.Pattern))
	}
	if err != nil {
		return err
	}
	return endOfOption(d, name)
}

// checkPattern checks the pattern of a room. A prefix that comes from the matcher is
// not known yet: [Handler.check] checks again.
func (h *Handler) checkPattern(pattern string) error {
	if strings.HasPrefix(pattern, "/") {
		return checkRoom(h.prefix(), pattern)
	}
	if strings.Contains(pattern, userSegment) {
		return access.CheckPattern(pattern)
	}
	return settings.CheckPattern(pattern)
}
