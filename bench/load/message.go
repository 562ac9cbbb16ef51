package load

import (
	"bytes"
	"errors"
	"fmt"
)

// MinSize is the size of the smallest message: its number and its time.
const MinSize = numberSize + timeSize

// MaxSize is the size of the largest message.
const MaxSize = 64 << 10

const (
	numberSize = 12
	timeSize   = 20
)

// The faults of a delivery. An error that a [Pool] returns wraps one of these, and
// names the connection.
var (
	ErrLost     = errors.New("a message was lost")
	ErrRepeated = errors.New("a message was repeated")
	ErrTorn     = errors.New("a message was torn")
	ErrEnded    = errors.New("the connection ended")
)

// pattern is what messages are filled up with.
var pattern = bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), MaxSize/26+1)

// AppendMessage appends the data of a message: its number, the time in
// nanoseconds at which it was published (0: nobody asks), and a known text up to
// size bytes.
func AppendMessage(b []byte, number uint64, at int64, size int) []byte {
	b = appendPadded(b, number, numberSize)
	b = appendPadded(b, uint64(at), timeSize)
	return append(b, pattern[:max(size-MinSize, 0)]...)
}

func appendPadded(b []byte, n uint64, width int) []byte {
	var digits [timeSize]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// parseMessage is the reverse of [AppendMessage].
func parseMessage(data []byte) (number uint64, at int64, err error) {
	if len(data) < MinSize || len(data) > MaxSize {
		return 0, 0, fmt.Errorf("%w: it has %d bytes", ErrTorn, len(data))
	}
	for _, c := range data[:MinSize] {
		if c < '0' || c > '9' {
			return 0, 0, fmt.Errorf("%w: it begins with %q", ErrTorn, data[:MinSize])
		}
	}
	for _, c := range data[:numberSize] {
		number = number*10 + uint64(c-'0')
	}
	for _, c := range data[numberSize:MinSize] {
		at = at*10 + int64(c-'0')
	}
	if !bytes.Equal(data[MinSize:], pattern[:len(data)-MinSize]) {
		return 0, 0, fmt.Errorf("%w: number %d has a wrong text", ErrTorn, number)
	}
	return number, at, nil
}

// checkNumber compares a message's number with the expected one; 0 stands for any.
func checkNumber(due, number uint64) error {
	switch {
	case due == 0 || number == due:
		return nil
	case number > due:
		return fmt.Errorf("%w: got number %d after %d", ErrLost, number, due-1)
	default:
		return fmt.Errorf("%w: got number %d after %d", ErrRepeated, number, due-1)
	}
}
