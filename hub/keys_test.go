package hub

import (
	"strconv"
	"strings"
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
