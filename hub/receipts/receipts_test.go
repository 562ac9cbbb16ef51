package receipts

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var print [16]byte

// kept returns how many entries the store has, and what they are charged.
func kept(t *testing.T, s *Store[int]) (n, bytes int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; e = e.Next() {
		known := e.Value.(*Entry[int])
		if s.by[known.scope] != known {
			t.Error("an entry is in order and cannot be found")
		}
		bytes += len(known.scope) + overhead
	}
	if s.order.Len() != len(s.by) || s.bytes != bytes {
		t.Errorf("%d entries, %d in order; charged %d bytes, counted %d", len(s.by), s.order.Len(), s.bytes, bytes)
	}
	return len(s.by), bytes
}

// Idempotency keys are bounded in number and bytes; the oldest go first.
func TestStoreIsBounded(t *testing.T) {
	tests := []struct {
		name string
		key  string
		n    int // more than are kept
	}{
		{"number", "", MaxCount + 1000},
		{"bytes", strings.Repeat("k", 255), 75_000},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := New[int](func() int64 { return math.MaxInt64 })
				defer k.Close()
				scope := func(i int) string { return "r" + strconv.Itoa(i) + test.key }
				for i := range test.n {
					if _, first := k.enter(scope(i), print); !first {
						t.Fatalf("key %d is known", i)
					}
				}
				// The newest one may be over the bound.
				if n, bytes := kept(t, k); n > MaxCount || bytes > MaxBytes+len(scope(0))+overhead || n < 30_000 {
					t.Errorf("%d keys, %d bytes", n, bytes)
				}
				if _, first := k.enter(scope(test.n-20_000), print); first {
					t.Error("one that is not old is forgotten")
				}
				if _, first := k.enter(scope(0), print); !first {
					t.Error("the oldest is not forgotten")
				}
				<-time.After(Lifetime + slack)
				synctest.Wait()
				if n, bytes := kept(t, k); n != 0 {
					t.Errorf("%d keys, %d bytes are left", n, bytes)
				}
			})
		})
	}
}

// A key that comes after many does not push out all of them, and is not mistaken for
// one of them.
func TestKeysAreForgottenInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New[int](func() int64 { return MaxBytes })
		defer k.Close()
		scope := func(i int) string { return fmt.Sprintf("%09d", i) }
		for i := range 1000 {
			k.enter(scope(i), print)
		}
		<-time.After(Lifetime)
		if _, first := k.enter(scope(999), print); !first {
			t.Error("a key that is too old is known")
		}
		if n, _ := kept(t, k); n != 1000-atOnce {
			t.Errorf("%d keys are left", n)
		}
		<-time.After(slack)
		synctest.Wait()
		if n, bytes := kept(t, k); n != 1 {
			t.Errorf("%d keys are left, with %d bytes", n, bytes)
		}
	})
}

// A restored receipt is known for the rest of its time.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New[int](func() int64 { return math.MaxInt64 })
		defer s.Close()
		s.Restore("old", print, 1, Lifetime-time.Second)
		s.Restore("new", print, 2, 0)
		for scope, want := range map[string]int{"old": 1, "new": 2} {
			if r, replayed, err := s.Do(t.Context(), scope, print, func() (int, error) { return 9, nil }); r != want || !replayed || err != nil {
				t.Errorf("%s: %d, %v, %v", scope, r, replayed, err)
			}
		}
		time.Sleep(2 * time.Second)
		if r, replayed, err := s.Do(t.Context(), "old", print, func() (int, error) { return 9, nil }); r != 9 || replayed || err != nil {
			t.Errorf("%d, %v, %v: its time was over", r, replayed, err)
		}
	})
}

// What is settled after its caller has gone is known to the next one.
func TestSettledLater(t *testing.T) {
	s := New[int](func() int64 { return math.MaxInt64 })
	defer s.Close()
	e, _, _, err := s.Begin(t.Context(), "a", print)
	if e == nil || err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if e, _, replayed, err := s.Begin(gone, "a", print); e != nil || replayed || !errors.Is(err, context.Canceled) {
		t.Errorf("while it is in flight: %v, %v", replayed, err)
	}
	e.Settle(7, nil)
	if e, r, replayed, err := s.Begin(t.Context(), "a", print); e != nil || r != 7 || !replayed || err != nil {
		t.Errorf("%d, %v, %v", r, replayed, err)
	}
}
