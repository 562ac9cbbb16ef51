package realtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The names of options, for suggestions. Options of both blocks are in both lists.
var (
	handlerOptions = []string{
		"prefix", "hub", "engine", "room", "rooms", "max_message_size", "max_rooms", "max_connections", "max_connections_per_address",
		"max_connections_per_user", "max_users", "rate",
		"history_memory", "heartbeat", "drain", "origins", "subprotocols", "compression", "poller", "ui", "allow", "user", "user_prefix", "name",
		"jwt", "backend", "as", "links", "guests",
	}
	roomOptions = []string{
		"history", "max_message_size", "rate", "room_rate", "presence", "max_rooms", "history_memory", "max_members", "allow",
	}
	jwtOptions = []string{
		"secret", "key", "key_file", "jwks", "algorithms", "grants", "max_lifetime", "issuer", "audience", "leeway",
		"cookie", "query_token", "user_claim", "name_claim",
	}
)

// unknownOption returns the error for an option that realtime's block does not have. It
// suggests what may be meant.
func unknownOption(name string) error {
	if slices.Contains(roomOptions, strings.ToLower(name)) {
		return fmt.Errorf("%s is a room option: use room * { %[1]s … }, or name a room instead of *", strings.ToLower(name))
	}
	return fmt.Errorf("unrecognized subdirective %q: %s", name, didYouMean(name, handlerOptions, roomOptions))
}

// unknownRoomOption does the same for the block of a room.
func unknownRoomOption(name, room string) error {
	if slices.Contains(handlerOptions, strings.ToLower(name)) {
		return fmt.Errorf("room %s: %s is not a room option: move it out of the room block", room, strings.ToLower(name))
	}
	return fmt.Errorf("room %s: unrecognized subdirective %q: %s", room, name, didYouMean(name, roomOptions, handlerOptions))
}

// unknownJWTOption does the same for the block of jwt. A name that is not nearly one of an option
// may be a secret that stands at the wrong place, so it is not shown.
func unknownJWTOption(name string) error {
	if best := nearest(name, jwtOptions); best != "" {
		return fmt.Errorf("jwt: unrecognized subdirective %q: did you mean %s?", name, best)
	}
	return errors.New("jwt: unrecognized subdirective: must be one of " + strings.Join(jwtOptions, ", "))
}

// didYouMean suggests the known name with the fewest slips: one of this block or, if none
// is near, one of the other block.
func didYouMean(name string, here, elsewhere []string) string {
	if best := nearest(name, here); best != "" {
		return "did you mean " + best + "?"
	}
	best := nearest(name, elsewhere)
	switch {
	case best == "":
		return "must be one of " + strings.Join(here, ", ")
	case slices.Contains(roomOptions, best):
		return "did you mean " + best + ", in a room block?"
	default:
		return "did you mean " + best + ", outside the room block?"
	}
}

// nearest returns the known name that is the fewest slips away from name, or "" if they
// are more than three, or more than one for three letters.
func nearest(name string, known []string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if len(name) > 64 {
		return ""
	}
	best, fewest := "", min(len(name)/3, 3)+1
	for _, k := range known {
		if n := slips(name, k); n < fewest {
			best, fewest = k, n
		}
	}
	return best
}

// slips counts the edits that turn one word into another: letters that are missing,
// added, replaced, or swapped with their neighbour (optimal string alignment).
func slips(a, b string) int {
	var before []int // the row before the last one
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			mistaken := last[j-1]
			if a[i-1] != b[j-1] {
				mistaken++
			}
			row[j] = min(last[j]+1, row[j-1]+1, mistaken)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// checkRoom refuses the pattern of a room that begins with a slash or the prefix: it
// would match no room, since names begin after the prefix.
func checkRoom(prefix, pattern string) error {
	bare := strings.TrimLeft(pattern, "/")
	inner := strings.TrimPrefix(prefix, "/") // rt/
	repeats := inner != "" && len(bare) >= len(inner) && strings.EqualFold(bare[:len(inner)], inner)
	if bare == pattern && !repeats {
		return nil
	}
	if repeats {
		bare = bare[len(inner):]
	}
	if bare = strings.TrimLeft(bare, "/"); bare == "" {
		bare = "*"
	}
	if repeats {
		return fmt.Errorf("room %s repeats the prefix, but room names begin after it; use room %s", pattern, bare)
	}
	return fmt.Errorf("room %s begins with a slash, but room names do not; use room %s", pattern, bare)
}
