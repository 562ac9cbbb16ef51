package limit

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// The janitor, who looks at every address, lets others have the lock between.
func TestSweepLetsOthersIn(t *testing.T) {
	const n = 200_000
	for range 10 {
		a := Table[netip.Prefix]{by: make(map[netip.Prefix]*entry)}
		for i := range n {
			a.by[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)] = new(entry)
		}
		var done sync.WaitGroup
		done.Go(func() { a.Sweep(time.Now()) })
		between := false
		for left := n; left > 0 && !between; {
			a.mu.Lock()
			left = len(a.by)
			between = 0 < left && left < n
			a.mu.Unlock()
		}
		done.Wait()
		if len(a.by) > 0 {
			t.Errorf("%d addresses are left", len(a.by))
		}
		if between {
			return
		}
	}
	t.Error("nobody gets the lock before all is swept")
}

// The buckets of one owner are bounded.
func TestBucketsAreBounded(t *testing.T) {
	var b Buckets
	for i := range 100 {
		if _, ok := b.Take(Publish, Rate{PerSecond: 1, Burst: 1 + i}, time.Now()); !ok {
			t.Fatal("a new bucket is empty")
		}
	}
	if len(b) > maxBuckets {
		t.Errorf("%d buckets", len(b))
	}
}

// Failures of clients without an address, which came by a unix socket, do not fill the log either.
func TestFailuresWithoutAnAddressAreReportedOnceAMinute(t *testing.T) {
	var f Failures
	now := time.Now()
	if !f.Report(netip.Addr{}, now) || f.Report(netip.Addr{}, now) {
		t.Error("not reported once")
	}
	if !f.Report(netip.MustParseAddr("192.0.2.1"), now) || !f.Report(netip.Addr{}, now.Add(time.Minute)) {
		t.Error("others, or later ones, are not reported")
	}
	for range 100 {
		if _, ok := f.Spend(netip.Addr{}, now); !ok {
			t.Fatal("one client's failures stop others")
		}
	}
}
