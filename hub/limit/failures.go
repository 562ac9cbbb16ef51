package limit

import (
	"net/netip"
	"time"
)

// FailureRate is how often the credentials of one address may fail.
var FailureRate = Rate{PerSecond: 1, Burst: 20}

// Failures counts failed credentials by address (see [Prefix]), so that nobody can try
// many: [FailureRate] bounds them. An invalid address is nobody's, and not counted. The
// zero Failures is empty. Methods are safe for concurrent use.
type Failures struct{ table Table[netip.Prefix] }

// MayTry reports whether credentials from the address may be tried now, and otherwise
// after what time. Ask it before any work is done on them.
func (f *Failures) MayTry(a netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	return f.table.wait(Prefix(a), Fail, FailureRate, now)
}

// Spend counts a failure. If the address has had too many, it returns after what time
// the next one is allowed.
func (f *Failures) Spend(a netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	return f.table.Take(Prefix(a), Fail, FailureRate, now)
}

// Report reports whether a failure of the address is to be logged: once a minute. All without an
// address are reported together.
func (f *Failures) Report(a netip.Addr, now time.Time) bool {
	key := Prefix(a)
	if !key.IsValid() {
		key = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	_, ok := f.table.Take(key, failReport, reportRate, now)
	return ok
}

// reportRate is how often failures of one address are logged.
var reportRate = Rate{PerSecond: 1.0 / 60, Burst: 1}

// Sweep forgets the addresses whose failures are long ago.
func (f *Failures) Sweep(now time.Time) { f.table.Sweep(now) }
