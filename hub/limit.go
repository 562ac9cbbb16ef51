package hub

import (
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate is a token bucket: Burst at once, refilled by PerSecond. The zero Rate
// allows nothing; [Unlimited] everything.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Unlimited is the rate that bounds nothing.
var Unlimited = Rate{Burst: Off}

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

// buckets holds one bucket for each rate that its owner has met: rooms with
// the same rate share one, since the rate is the owner's.
type buckets []bucket

type bucket struct {
	rate    Rate
	limiter *rate.Limiter
}

// maxBuckets bounds the buckets of one owner; the least recently made goes.
const maxBuckets = 8

// take spends a token of r's bucket. If there is none it returns how long to
// wait for one. The caller sees to it that only one goroutine does so at once.
func (b *buckets) take(r Rate, now time.Time) (wait time.Duration, ok bool) {
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
func (b buckets) full(now time.Time) bool {
	return !slices.ContainsFunc(b, func(o bucket) bool { return o.limiter.TokensAt(now) < float64(o.rate.Burst) })
}

// addresses counts by client address.
type addresses struct {
	mu sync.Mutex
	by map[netip.Prefix]*address
}

type address struct {
	sessions int
	publish  buckets
	rooms    buckets
	asks     buckets // commands without a session, beside publishing
	together buckets // commands of all sessions, likewise
}

// prefixOf returns the unit that is counted: an IPv4 address, or the /64 of an
// IPv6 address, which is what one household or server is given (RFC 6177).
func prefixOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// with calls f with the entry of the address. An invalid address (a client
// that came by a unix socket) is nobody's, and f is not called.
func (t *addresses) with(a netip.Addr, f func(*address)) {
	if !a.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := prefixOf(a)
	e := t.by[p]
	if e == nil {
		e = new(address)
		t.by[p] = e
	}
	f(e)
}

// sweep forgets the addresses that owe nothing.
func (t *addresses) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	looked := 0
	for p, e := range t.by {
		if looked++; looked%sweepChunk == 0 {
			breathe(&t.mu)
		}
		if e.sessions == 0 && e.publish.full(now) && e.rooms.full(now) && e.asks.full(now) && e.together.full(now) {
			delete(t.by, p)
		}
	}
}

// fullError is the refusal of a number.
func fullError(limit string, n int) error {
	return &LimitError{Limit: limit, Max: strconv.Itoa(n), RetryAfter: fullRetryAfter, Err: ErrFull}
}

// rateError is the refusal of a rate.
func rateError(limit string, r Rate, wait time.Duration) error {
	return &LimitError{Limit: limit, Max: r.String(), RetryAfter: wait, Err: ErrRate}
}
