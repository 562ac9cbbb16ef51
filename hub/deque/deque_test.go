package deque

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A deque has what was pushed and not shifted, in order, and holds nothing else.
func TestDeque(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var d Deque[*int]
	var want []*int
	for round := range 20 {
		for range rnd.IntN(500) {
			n := len(want)
			d.Push(&n)
			want = append(want, &n)
		}
		for range rnd.IntN(len(want) + 1) {
			if got := d.Shift(); got != want[0] {
				t.Fatalf("round %d: another element comes first", round)
			}
			want = want[1:]
		}
		if d.Len() != len(want) || !slices.Equal(d.All(), want) {
			t.Fatalf("round %d: %d elements, want %d", round, d.Len(), len(want))
		}
		for _, p := range d.buf[:d.head] {
			if p != nil {
				t.Fatalf("round %d: an element is held that was shifted", round)
			}
		}
		if at := rnd.IntN(len(want) + 1); d.Search(func(p *int) bool { return slices.Index(want, p) >= at }) != at {
			t.Errorf("round %d: element %d is not found", round, at)
		}
		if spare := cap(d.buf); spare > 64 && spare > 8*(d.Len()+64) {
			t.Errorf("round %d: an array of %d for %d elements", round, spare, d.Len())
		}
	}
}

// The memory that a burst needed is freed after it.
func TestDequeShrinks(t *testing.T) {
	var d Deque[int]
	for i := range 100_000 {
		d.Push(i)
	}
	for want := range 100_000 - 64 {
		if got := d.Shift(); got != want {
			t.Fatalf("%d comes where %d should", got, want)
		}
	}
	if d.Len() != 64 || d.At(0) != 100_000-64 || cap(d.buf) > 1000 {
		t.Errorf("%d are left from %d on, in an array of %d", d.Len(), d.At(0), cap(d.buf))
	}
}
