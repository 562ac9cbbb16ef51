package message

import (
	"errors"
	"strconv"
	"strings"
)

// maxEpoch is the longest epoch that a cursor may name, in bytes.
const maxEpoch = 32

// ErrPosition is returned by [ParsePosition] for text that is not a cursor.
var ErrPosition = errors.New("not a cursor: want <epoch>.<offset>")

// Position is a place in a room's log: the id of a message and, at the same
// time, the cursor of a reader that has seen everything up to and including
// it. Within an epoch offsets rise; they need not be consecutive. A new epoch
// means that the log began anew. Clients treat the text form as opaque.
//
// The zero Position means that there is none.
type Position struct {
	Epoch  string
	Offset uint64
}

// ParsePosition reads the text form that [Position.String] writes, such as
// "k3f9.1042". It returns [ErrPosition] for anything else.
func ParsePosition(s string) (Position, error) {
	epoch, offset, ok := strings.Cut(s, ".")
	if !ok || epoch == "" || len(epoch) > maxEpoch {
		return Position{}, ErrPosition
	}
	for _, c := range []byte(epoch) {
		if !isEpochByte(c) {
			return Position{}, ErrPosition
		}
	}
	// ParseUint alone would take "+1" and "007", and each place has one text.
	if offset == "" || offset[0] < '0' || offset[0] > '9' || (offset[0] == '0' && offset != "0") {
		return Position{}, ErrPosition
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return Position{}, ErrPosition
	}
	return Position{Epoch: epoch, Offset: n}, nil
}

func isEpochByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

// IsZero reports whether p is the zero Position.
func (p Position) IsZero() bool { return p.Epoch == "" }

// String returns the text form, or "" for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return string(p.AppendTo(nil))
}

// AppendTo appends the text form to b.
func (p Position) AppendTo(b []byte) []byte {
	b = append(b, p.Epoch...)
	b = append(b, '.')
	return strconv.AppendUint(b, p.Offset, 10)
}
