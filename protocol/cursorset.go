package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Bounds of connections whose URL names several rooms.
const (
	MaxCursor = 16 << 10                // bytes of a cursor's text
	MaxRooms  = settings.MaxRoomsJoined // in one URL

	maxLabel = 24 // bytes of a room's name in a set
)

// CursorSetSize returns how many bytes the rooms' cursor set has in a query, if each
// room's cursor has the given number of bytes.
func CursorSetSize(rooms []string, cursor int) int {
	size := 0
	for _, room := range rooms {
		size += len(url.QueryEscape(labelOf(room))) + len("%3D%2C") + cursor
	}
	return size
}

// ErrCursorSet is returned by [ParseCursorSet].
var ErrCursorSet = errors.New("not a cursor of several rooms: must be <room>=<epoch>.<offset>, separated by commas")

// RoomCursor is where a reader stands in one room.
type RoomCursor struct {
	Room string // empty if the set was parsed and has only the hash of the name
	hub.Position
	label string // the room in the text of a set; empty: not made yet
}

// CursorSet is the cursor of a reader of several rooms. It must not be used
// concurrently, not even for reading.
type CursorSet []RoomCursor

// Append appends the text of the set, "lobby=k3f9.1042,news=7aa.9". Names are
// percent-encoded except for A-Z a-z 0-9 . _ ~ and -, and replaced by a hash if they
// have more than 24 bytes then, so that the text stays well below [MaxCursor]. Rooms
// without a cursor are left out.
func (v CursorSet) Append(b []byte) []byte {
	first := true
	for i := range v {
		p := &v[i]
		if p.IsZero() {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		if p.label == "" {
			p.label = labelOf(p.Room)
		}
		b = append(b, p.label...)
		b = append(b, '=')
		b = p.AppendTo(b)
	}
	return b
}

// String returns the text of the set.
func (v CursorSet) String() string { return string(v.Append(nil)) }

// Move sets the cursor of a room that the set has.
func (v CursorSet) Move(room string, to hub.Position) {
	for i := range v {
		if v[i].Room == room {
			v[i].Position = to
			return
		}
	}
}

// Find returns the cursor of a room, and whether the set has one.
func (v CursorSet) Find(room string) (hub.Position, bool) {
	label := ""
	for _, p := range v {
		if p.Room == "" && label == "" {
			label = labelOf(room)
		}
		if p.Room == room || p.Room == "" && p.label == label {
			return p.Position, true
		}
	}
	return hub.Position{}, false
}

// ParseCursorSet parses the text of a set. The error is [ErrCursorSet].
func ParseCursorSet(s string) (CursorSet, error) {
	var v CursorSet
	for part := range strings.SplitSeq(s, ",") {
		name, cursor, ok := strings.Cut(part, "=")
		if !ok || len(v) >= settings.MaxRoomsJoined {
			return nil, ErrCursorSet
		}
		p, err := message.ParsePosition(cursor)
		if err != nil {
			return nil, ErrCursorSet
		}
		if strings.HasPrefix(name, hashed) {
			v = append(v, RoomCursor{Position: p, label: name})
			continue
		}
		room, err := url.PathUnescape(name)
		if err != nil || names.CheckRoom(room) != nil {
			return nil, ErrCursorSet
		}
		v = append(v, RoomCursor{Room: room, Position: p})
	}
	return v, nil
}

// hashed begins the hash of a long name. In a name it is percent-encoded.
const hashed = "*"

// labelOf returns how a room is written in the text of a set.
func labelOf(room string) string {
	if name := appendName(nil, room); len(name) <= maxLabel {
		return string(name)
	}
	sum := sha256.Sum256([]byte(room))
	return hashed + base64.RawURLEncoding.EncodeToString(sum[:8])
}

func appendName(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._~-", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}
