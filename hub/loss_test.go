package hub

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The gap of a cursor in a room without a log is exact while there is space to remember
// losses. When there is none, the gap may be too large, but never too small.
func TestTraces(t *testing.T) {
	const few = 100 * (traceBytes + 3)
	for _, test := range []struct {
		name  string
		rooms int
		exact bool
	}{{"within the bound", 100, true}, {"over it", 300, false}} {
		t.Run(test.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, 1))
			start := time.Now()
			now, offset := start, uint64(0)
			var tr traces
			logs, lost := make(map[string]*loss), make(map[string][]*Message)
			said := 0 // too much
			for range 20_000 {
				now = now.Add(time.Duration(rnd.IntN(1000)) * time.Millisecond)
				offset++
				room := fmt.Sprintf("%03d", rnd.IntN(test.rooms))
				l := logs[room]
				switch {
				case l == nil:
					l = new(tr.take(room))
					logs[room] = l
				case rnd.IntN(3) == 0:
					delete(logs, room)
					tr.leave(room, *l, now, few)
				default:
					m := &Message{Position: Position{Epoch: "e", Offset: offset}}
					if rnd.IntN(2) == 0 {
						m.Expires = now.Add(time.Duration(rnd.IntN(100)) * time.Second)
					}
					l.add(m)
					lost[room] = append(lost[room], m)
				}
				got := tr.of(room)
				if logs[room] != nil {
					got = *logs[room]
				}
				want, highest := sumOf(lost[room], now)
				switch at := got.at(now); {
				case at < highest:
					t.Fatalf("%s: %d is missing, and a cursor is good from %d on", room, highest, at)
				case test.exact && at != want.at(now):
					t.Fatalf("%s: a cursor is good from %d on, not %d", room, at, want.at(now))
				case at > want.at(now):
					said++
				}
				if tr.bytes > few || len(tr.by) != len(tr.order) {
					t.Fatalf("%d bytes, %d rooms of %d", tr.bytes, len(tr.by), len(tr.order))
				}
			}
			if (said == 0) != test.exact {
				t.Errorf("%d times something was said to be missing that is not", said)
			}
		})
	}
}

// sumOf returns what is known of lost messages if nothing is forgotten, and the
// highest offset that is truly missing.
func sumOf(lost []*Message, now time.Time) (sum loss, highest uint64) {
	for _, m := range lost {
		sum.add(m)
		if !m.Expired(now) {
			highest = m.Offset
		}
	}
	return sum, highest
}

// The memory for losses is bounded by the memory that messages may have.
func TestTracesAreBounded(t *testing.T) {
	for memory, limit := range map[int64]int{1: minTraces, 32 << 20: 2 << 20, settings.Off: maxTraces} {
		e := NewMemory()
		e.budget.SetMax(memory)
		for i := range 4 * limit / (traceBytes + names.MaxRoom) {
			room := fmt.Sprintf("%0*d", names.MaxRoom, i)
			put(t, e, &Message{Room: room})
			e.Forget(room, true)
		}
		room := traceBytes + names.MaxRoom
		if n := len(e.traces.by); e.traces.bytes > limit || n != limit/room {
			t.Errorf("of %d bytes: %d rooms have left %d, want %d", memory, n, e.traces.bytes, limit)
		}
		page, err := e.Read(t.Context(), strings.Repeat("x", names.MaxRoom), Query{After: Position{Epoch: e.epoch, Offset: 1}})
		if err != nil || page.Gap == nil {
			t.Errorf("of %d bytes: nothing is said of what is not known: %v", memory, err)
		}
	}
}

// BenchmarkForget makes a room and forgets it, among as many as are remembered.
func BenchmarkForget(b *testing.B) {
	e := NewMemory()
	for i := 0; b.Loop(); i++ {
		room := fmt.Sprint("room/", i)
		put(b, e, &Message{Room: room})
		e.Forget(room, true)
	}
}
