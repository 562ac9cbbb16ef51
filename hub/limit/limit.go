// Package limit counts what clients do, and refuses what is too much.
package limit

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	retryAfterFull = 5 * time.Second
	chunk          = 256 // addresses that Sweep looks at before others may have the lock
)

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

// Buckets holds one bucket for each rate that its owner has met: rooms with
// the same rate share one, since the rate is the owner's.
type Buckets []bucket

type bucket struct {
	rate    Rate
	limiter *rate.Limiter
}

// maxBuckets bounds the buckets of one owner; the least recently made goes.
const maxBuckets = 8

// Take spends a token of r's bucket. If there is none it returns how long to
// wait for one. The caller sees to it that only one goroutine does so at once.
func (b *Buckets) Take(r Rate, now time.Time) (wait time.Duration, ok bool) {
	if r == Unlimited {
		return 0, true
	}
	i := slices.IndexFunc(*b, func(o bucket) bool { return o.rate == r })
	if i < 0 {
		if len(*b) >= maxBuckets {
			*b = slices.Delete(*b, 0, 1)
		}
		*b = append(*b, bucket{r, rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)})
		i = len(*b) - 1
	}
	res := (*b)[i].limiter.ReserveN(now, 1)
	if !res.OK() {
		return time.Hour, false // a burst of 0 never allows anything
	}
	if wait = res.DelayFrom(now); wait > 0 {
		res.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// full reports whether every bucket has refilled, so that forgetting them
// forgives nothing.
func (b Buckets) full(now time.Time) bool {
	return !slices.ContainsFunc(b, func(o bucket) bool { return o.limiter.TokensAt(now) < float64(o.rate.Burst) })
}

// Addresses counts by client address.
type Addresses struct {
	mu sync.Mutex
	by map[netip.Prefix]*Address
}

// Address is what is counted of one address.
type Address struct {
	Sessions int
	Publish  Buckets
	Rooms    Buckets // new ones
	Asks     Buckets // commands without a session, beside publishing
	Together Buckets // commands of all sessions, likewise
}

// Prefix returns the unit that is counted: an IPv4 address, or the /64 of an
// IPv6 address, which is what one household or server is given (RFC 6177).
func Prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// With calls f with the entry of the address. An invalid address (a client
// that came by a unix socket) is nobody's, and f is not called.
func (t *Addresses) With(a netip.Addr, f func(*Address)) {
	if !a.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := Prefix(a)
	e := t.by[p]
	if e == nil {
		if t.by == nil {
			t.by = make(map[netip.Prefix]*Address)
		}
		e = new(Address)
		t.by[p] = e
	}
	f(e)
}

// Each calls f with each address. It must not call Addresses.
func (t *Addresses) Each(f func(netip.Prefix, *Address)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, e := range t.by {
		f(p, e)
	}
}

// Sweep forgets the addresses that owe nothing.
func (t *Addresses) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looked := 0
	for p, e := range t.by {
		if looked++; looked%chunk == 0 {
			t.mu.Unlock()
			t.mu.Lock()
		}
		if e.Sessions == 0 && e.Publish.full(now) && e.Rooms.full(now) && e.Asks.full(now) && e.Together.full(now) {
			delete(t.by, p)
		}
	}
}

// Full returns the refusal of one more than the n that the limit allows.
func Full(limit string, n int) error {
	return &Error{Limit: limit, Max: strconv.Itoa(n), RetryAfter: retryAfterFull, Err: ErrFull}
}

// TooOften returns the refusal of what exceeds a rate; it may work after the wait.
func TooOften(limit string, r Rate, wait time.Duration) error {
	return &Error{Limit: limit, Max: r.String(), RetryAfter: wait, Err: ErrRate}
}
