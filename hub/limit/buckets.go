package limit

import (
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// Use is what a token is spent for. Each use has buckets of its own, so that one does
// not spend what another needs.
type Use uint8

// The uses.
const (
	Publish    Use = iota // messages
	Signal                // signals
	Join                  // joining rooms, and showing states
	Ask                   // asking for history by command
	Create                // making rooms
	Fail                  // failed credentials
	failReport            // and lines in the log about them
)

// Buckets holds the buckets of one owner: one for each use and each rate that the owner
// has met. Rooms with the same rate share one, since the rate is the owner's.
type Buckets []bucket

type bucket struct {
	use     Use
	rate    Rate
	limiter *rate.Limiter
}

// maxBuckets bounds the buckets of one owner for one use; the least recently made goes.
const maxBuckets = 8

// Take spends a token of r's bucket for the use. If there is none it returns how long to
// wait for one. The caller sees to it that only one goroutine does so at once.
func (b *Buckets) Take(u Use, r Rate, now time.Time) (wait time.Duration, ok bool) {
	if r == Unlimited {
		return 0, true
	}
	limiter := b.find(u, r).limiter
	res := limiter.ReserveN(now, 1)
	if !res.OK() {
		return time.Hour, false // a burst of 0 never allows anything
	}
	if wait = res.DelayFrom(now); wait > 0 {
		res.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// wait returns how long to wait for a token, without spending one. ok means not at all.
func (b *Buckets) wait(u Use, r Rate, now time.Time) (wait time.Duration, ok bool) {
	missing := 1 - b.find(u, r).limiter.TokensAt(now)
	if missing <= 0 {
		return 0, true
	}
	return time.Duration(missing / r.PerSecond * float64(time.Second)), false
}

// find returns the bucket, making it if need be.
func (b *Buckets) find(u Use, r Rate) *bucket {
	first, n := -1, 0
	for i := range *b {
		switch o := &(*b)[i]; {
		case o.use != u:
		case o.rate == r:
			return o
		default:
			if n++; first < 0 {
				first = i
			}
		}
	}
	if n >= maxBuckets {
		*b = slices.Delete(*b, first, first+1)
	}
	*b = append(*b, bucket{u, r, rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)})
	return &(*b)[len(*b)-1]
}

// full reports whether every bucket has refilled, so that forgetting them
// forgives nothing.
func (b Buckets) full(now time.Time) bool {
	return !slices.ContainsFunc(b, func(o bucket) bool { return o.limiter.TokensAt(now) < float64(o.rate.Burst) })
}
