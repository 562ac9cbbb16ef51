package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// windowOf returns a ring with some messages, at offsets 1, 2, and on, and some signals
// after each.
func windowOf(messages, signals int) *ring {
	r := &ring{epoch: "e", budget: message.NewBudget(settings.Off)}
	for i := range messages {
		r.push(&Message{Position: Position{Epoch: "e", Offset: uint64(i + 1)}}, time.Now())
		for range signals {
			r.push(&Message{Signal: true}, time.Now())
		}
	}
	return r
}

// The queries of each delivery do not walk through signals.
func TestRingSkipsSignals(t *testing.T) {
	r := windowOf(3, 1000)
	for i, m := range r.entries.All() {
		if m.Signal {
			r.entries.All()[i] = nil // looking at it panics
		}
	}
	if got := r.newest; got != (Position{Epoch: "e", Offset: 3}) {
		t.Errorf("the last is %v", got)
	}
	for offset, want := range []uint64{0, 1, 1002, 2003} {
		if got := r.after(Position{Epoch: "e", Offset: uint64(offset)}); got != want {
			t.Errorf("after %d comes entry %d, want %d", offset, got, want)
		}
	}
}

// A log that begins anew leaves both its parts readable.
func TestRingAfterANewEpoch(t *testing.T) {
	r := windowOf(3, 0)
	r.push(&Message{Position: Position{Epoch: "f", Offset: 1}}, time.Now())
	for p, want := range map[Position]uint64{{Epoch: "e", Offset: 0}: 0, {Epoch: "e", Offset: 2}: 2, {Epoch: "e", Offset: 3}: 3} {
		if got := r.after(p); got != want {
			t.Errorf("after %v comes entry %d, want %d", p, got, want)
		}
	}
}

// BenchmarkRing finds a reader's place in the middle of a busy window.
func BenchmarkRing(b *testing.B) {
	for _, n := range []int{64, 100_000} {
		r := windowOf(n/2, 1)
		b.Run(fmt.Sprint("entries=", n), func(b *testing.B) {
			for b.Loop() {
				r.after(Position{Epoch: "e", Offset: uint64(n / 4)})
			}
		})
	}
}
