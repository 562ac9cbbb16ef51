package protocol

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
)

// Bounds of connections that read several rooms by their URL.
const (
	MaxCursor = 16 << 10           // bytes of a cursor's text
	MaxRooms  = hub.MaxRoomsJoined // in one URL

	maxLabel = 24 // bytes by which a vector names a room
)

// VectorSize returns how many bytes the cursor of the rooms has in a query, where
// each place has so many.
func VectorSize(rooms []string, place int) int {
	size := 0
	for _, room := range rooms {
		size += len(url.QueryEscape(labelOf(room))) + len("%3D%2C") + place
	}
	return size
}

// ErrVector is returned by [ParseVector] for text that is no cursor of several
// rooms.
var ErrVector = errors.New("not a cursor of several rooms: want <room>=<epoch>.<offset>, separated by commas")

// Place is where a reader stands in one room.
type Place struct {
	Room string // empty where a vector that was read has only the hash of its name
	hub.Position
	label string // what stands for the room in a vector's text; empty: not made yet
}

// Vector is the cursor of a reader of several rooms. It is for one goroutine at a
// time.
type Vector []Place

// Append appends the vector's text, "lobby=k3f9.1042,news=7aa.9": names are
// percent-encoded but for A-Z a-z 0-9 . _ ~ and -; of one that is longer than 24
// bytes then there is a hash. So what is issued stays well below [MaxCursor].
// Rooms without a place are left out.
func (v Vector) Append(b []byte) []byte {
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

// ParseVector reads a vector's text.
func ParseVector(s string) (Vector, error) {
	var v Vector
	for part := range strings.SplitSeq(s, ",") {
		name, cursor, ok := strings.Cut(part, "=")
		if !ok || len(v) >= hub.MaxRoomsJoined {
			return nil, ErrVector
		}
		p, err := hub.ParsePosition(cursor)
		if err != nil {
			return nil, ErrVector
		}
		if strings.HasPrefix(name, hashed) {
			v = append(v, Place{Position: p, label: name})
			continue
		}
		room, err := url.PathUnescape(name)
		if err != nil || room == "" {
			return nil, ErrVector
		}
		v = append(v, Place{Room: room, Position: p})
	}
	return v, nil
}

// hashed begins what stands for a long name. In a name it is percent-encoded.
const hashed = "*"

// labelOf returns what stands for a room in a vector's text.
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
