package hub

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Idempotency keys are bounded in number and bytes; the oldest go first.
func TestKeyStoreIsBounded(t *testing.T) {
	tests := []struct {
		name string
		key  string
		n    int // more than are kept
	}{
		{"number", "", maxIdempotencyKeys + 1000},
		{"bytes", strings.Repeat("k", MaxKey), 75_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeyStore()
				k.setMax(Off)
				scope := func(i int) keyScope { return keyScope{"r", strconv.Itoa(i), test.key} }
				for i := range test.n {
					if _, first := k.enter(scope(i), 0); !first {
						t.Fatalf("key %d is known", i)
					}
				}
				// The newest one may be over the bound.
				if n := len(k.by); n > maxIdempotencyKeys || k.bytes > maxIdempotencyBytes+scope(0).bytes() || n < 30_000 {
					t.Errorf("%d keys, %d bytes", n, k.bytes)
				}
				if _, first := k.enter(scope(test.n-20_000), 0); first {
					t.Error("one that is not old is forgotten")
				}
				if _, first := k.enter(scope(0), 0); !first {
					t.Error("the oldest is not forgotten")
				}
				<-time.After(KeyLifetime)
				k.sweep(time.Now())
				if len(k.by) != 0 || k.order.Len() != 0 || k.bytes != 0 {
					t.Errorf("%d keys, %d bytes are left", len(k.by), k.bytes)
				}
			})
		})
	}
}

// Who comes after many does not forget all of them, and is not taken for one.
func TestKeysAreForgottenInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyStore()
		scope := func(i int) keyScope { return keyScope{"r", strconv.Itoa(i), ""} }
		for i := range 1000 {
			k.enter(scope(i), 0)
		}
		<-time.After(KeyLifetime)
		if _, first := k.enter(scope(999), 0); !first {
			t.Error("a key that is too old is known")
		}
		if n := len(k.by); n != 1000-keyChunk || k.order.Len() != n {
			t.Errorf("%d keys are left", n)
		}
		k.sweep(time.Now())
		if len(k.by) != 1 || k.bytes != scope(999).bytes() {
			t.Errorf("%d keys are left, with %d bytes", len(k.by), k.bytes)
		}
	})
}

// The janitor, who looks at every address, lets others have the lock between.
func TestSweepLetsOthersIn(t *testing.T) {
	const n = 200_000
	for range 10 {
		a := addresses{by: make(map[netip.Prefix]*address)}
		for i := range n {
			a.by[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)] = new(address)
		}
		var done sync.WaitGroup
		done.Go(func() { a.sweep(time.Now()) })
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
	var b buckets
	for i := range 100 {
		if _, ok := b.take(Rate{PerSecond: 1, Burst: 1 + i}, time.Now()); !ok {
			t.Fatal("a new bucket is empty")
		}
	}
	if len(b) > maxBuckets {
		t.Errorf("%d buckets", len(b))
	}
}
