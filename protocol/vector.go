package protocol

import (
	"errors"
	"net/url"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
)

// Bounds of connections that read several rooms by their URL.
const (
	MaxCursor = 4 << 10 // bytes of a cursor's text
	MaxRooms  = 32      // in one URL
)

// ErrVector is returned by [ParseVector] for text that is no cursor of several
// rooms.
var ErrVector = errors.New("not a cursor of several rooms: want <room>=<epoch>.<offset>, separated by commas")

// Place is where a reader stands in one room.
type Place struct {
	Room string
	hub.Position
}

// Vector is the cursor of a reader of several rooms.
type Vector []Place

// Append appends the vector's text, "lobby=k3f9.1042,news=7aa.9": names are
// percent-encoded but for A-Z a-z 0-9 . _ ~ and -. Rooms without a place are
// left out.
func (v Vector) Append(b []byte) []byte {
	first := true
	for _, p := range v {
		if p.IsZero() {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendName(b, p.Room)
		b = append(b, '=')
		b = p.AppendTo(b)
	}
	return b
}

// String returns the vector's text.
func (v Vector) String() string { return string(v.Append(nil)) }

// Move puts the reader at another place of a room that it reads.
func (v Vector) Move(room string, to hub.Position) {
	for i := range v {
		if v[i].Room == room {
			v[i].Position = to
			return
		}
	}
}

// Find returns the place in a room, and whether the vector has one.
func (v Vector) Find(room string) (hub.Position, bool) {
	for _, p := range v {
		if p.Room == room {
			return p.Position, true
		}
	}
	return hub.Position{}, false
}

// ParseVector reads a vector's text.
func ParseVector(s string) (Vector, error) {
	var v Vector
	for part := range strings.SplitSeq(s, ",") {
		name, cursor, ok := strings.Cut(part, "=")
		if !ok || len(v) >= hub.MaxRoomsJoined {
			return nil, ErrVector
		}
		room, err := url.PathUnescape(name)
		if err != nil {
			return nil, ErrVector
		}
		p, err := hub.ParsePosition(cursor)
		if err != nil {
			return nil, ErrVector
		}
		v = append(v, Place{room, p})
	}
	return v, nil
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
