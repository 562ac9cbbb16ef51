package load

import (
	"math/bits"
	"time"
)

// subBuckets is how many buckets a power of two has: an error of 3 %.
const subBuckets = 32

// Histogram counts durations in buckets that grow with them. Its zero value is
// ready; it is not safe for concurrent use.
type Histogram struct {
	counts [64 * subBuckets]int64
	n      int64
	max    time.Duration
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Count returns how many durations were added.
func (h *Histogram) Count() int64 { return h.n }

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns a duration that the part q of all, from 0 to 1, does not
// exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	want := int64(q * float64(h.n))
	var seen int64
	for i, c := range h.counts {
		if seen += c; seen > want || seen == h.n {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return h.max
}

func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 6 // v>>shift has 6 bits: 32 to 63
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

func upper(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i%subBuckets+subBuckets)+1)<<shift - 1
}
