package limit

import (
	"math"
	"sync"
	"testing"
	"time"
)

// However many connect and leave at once, no bound is exceeded and no count is left.
func TestBoundsHoldForManyAtOnce(t *testing.T) {
	var table Table[string]
	var done sync.WaitGroup
	bounds := Bounds{Each: 3, Keys: 2}
	for i := range 8 {
		done.Go(func() {
			key := []string{"a", "b", "c", ""}[i%4]
			for range 2000 {
				if table.Connect(key, bounds) != Free {
					continue
				}
				table.Each(func(k string, n int) {
					if n > bounds.Each {
						t.Errorf("%s has %d connections", k, n)
					}
				})
				table.Disconnect(key)
			}
		})
	}
	done.Wait()
	if table.connected != 0 {
		t.Errorf("%d keys are still connected", table.connected)
	}
	table.Each(func(k string, n int) {
		if n != 0 || k == "" {
			t.Errorf("%q has %d connections", k, n)
		}
	})
	table.Sweep(time.Now())
	if len(table.by) != 0 {
		t.Errorf("%d keys are left", len(table.by))
	}
}

// A key with connections, or with a bucket that has not refilled, is not forgotten.
func TestSweepForgivesNothing(t *testing.T) {
	var table Table[string]
	now, rate := time.Now(), Rate{PerSecond: 1, Burst: 1}
	table.Connect("connected", Bounds{Each: 1, Keys: math.MaxInt})
	table.Take("owes", Signal, rate, now)
	table.Take("unlimited", Signal, Unlimited, now)
	table.Sweep(now)
	if len(table.by) != 2 || table.by["connected"] == nil || table.by["owes"] == nil {
		t.Errorf("left are %v", table.by)
	}
	if _, ok := table.Take("owes", Signal, rate, now); ok {
		t.Error("sweeping has refilled a bucket")
	}
	table.Sweep(now.Add(time.Second))
	if table.by["owes"] != nil {
		t.Error("who owes nothing is still there")
	}
}

// What is remembered of keys is bounded, those with connections are not forgotten, and all
// that owe nothing are.
func TestKeysAreBounded(t *testing.T) {
	var table Table[int]
	now := time.Now()
	for i := range 100 {
		table.Connect(-1-i, Bounds{Each: 1, Keys: 100})
	}
	for i := range maxKeys + 1000 {
		table.Take(1+i, Fail, FailureRate, now)
	}
	if n := len(table.by); n != maxKeys+100 {
		t.Errorf("%d keys, want %d", n, maxKeys+100)
	}
	table.Sweep(now.Add(time.Second))
	if n := len(table.by); n != 100 {
		t.Errorf("%d keys are left, want those with connections", n)
	}
}
