package limit

import (
	"net/netip"
	"time"
)

// FailureRate is how often the credentials of one address may fail.
var FailureRate = Rate{PerSecond: 1, Burst: 20}

// maxFailing bounds the addresses whose failures are remembered. Beyond it, any one of
// them is forgotten for each new one: who has that many addresses gains nothing by it.
const maxFailing = 100_000

// Failures counts failed credentials by address (see [Prefix]), so that nobody can try
// many: [FailureRate] bounds them. An invalid address is nobody's, and not counted. The
// zero Failures is empty. Methods are safe for concurrent use.
type Failures struct{ table Table[netip.Prefix] }

// MayTry reports whether credentials from the address may be tried now, and otherwise
// after what time. Ask it before any work is done on them.
func (f *Failures) MayTry(a netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	t := &f.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.by[Prefix(a)]; e != nil {
		return e.buckets.wait(Fail, FailureRate, now)
	}
	return 0, true
}

// Spend counts a failure. If the address has had too many, it returns after what time
// the next one is allowed.
func (f *Failures) Spend(a netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	key, t := Prefix(a), &f.table
	if !key.IsValid() {
		return 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[key] == nil && len(t.by) >= maxFailing {
		for any := range t.by {
			delete(t.by, any)
			break
		}
	}
	return t.entry(key).buckets.Take(Fail, FailureRate, now)
}

// Sweep forgets the addresses whose failures are long ago.
func (f *Failures) Sweep(now time.Time) { f.table.Sweep(now) }
