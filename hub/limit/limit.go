// Package limit counts what clients do, and refuses what is too much.
package limit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

const retryAfterFull = 5 * time.Second

// Errors of limits. They come as an [*Error].
var (
	ErrFull     = errors.New("full")
	ErrRate     = errors.New("too many messages")
	ErrTooLarge = errors.New("message too large")
)

// Error names the limit that refused something.
type Error struct {
	Limit      string        // the option's name
	Max        string        // its value
	RetryAfter time.Duration // when it may work; 0: not by waiting
	Err        error         // ErrFull, ErrRate or ErrTooLarge
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%v: %s is %s", e.Err, e.Limit, e.Max)
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// Rate is a token bucket: Burst at once, refilled by PerSecond. The zero Rate
// allows nothing; [Unlimited] everything.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Unlimited is the rate that bounds nothing.
var Unlimited = Rate{Burst: math.MaxInt}

// String returns the rate as it is written in a Caddyfile.
func (r Rate) String() string {
	if r == Unlimited {
		return "off"
	}
	n, unit := r.PerSecond, "/s "
	for _, larger := range []string{"/m ", "/h "} {
		if n < 1 {
			n, unit = n*60, larger
		}
	}
	return strconv.FormatFloat(n, 'g', 4, 64) + unit + strconv.Itoa(r.Burst)
}

// Full returns the refusal of one more than the n that the limit allows.
func Full(limit string, n int) error {
	return &Error{Limit: limit, Max: strconv.Itoa(n), RetryAfter: retryAfterFull, Err: ErrFull}
}

// TooOften returns the refusal of what exceeds a rate; it may work after the wait.
func TooOften(limit string, r Rate, wait time.Duration) error {
	return &Error{Limit: limit, Max: r.String(), RetryAfter: wait, Err: ErrRate}
}
