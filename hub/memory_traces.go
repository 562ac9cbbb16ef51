package hub

import (
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub/ranking"
)

// traces remembers what was lost of rooms that have no log any more. That is
// bounded in bytes: of the others, of which the least was lost, it remembers
// together that a cursor below a floor may have missed something.
type traces struct {
	by    map[string]*trace
	order ranking.Heap[*trace]
	bytes int
	floor loss
}

type trace struct {
	room  string
	index int // in order
	loss
}

// traceBytes is what a trace is charged beside its room's name.
const traceBytes = 160

// Bounds of what traces may weigh: a sixteenth of what messages may, within these.
const (
	minTraces = 64 << 10
	maxTraces = 4 << 20
)

// newest is the highest offset that was lost.
func (t *trace) newest() uint64 { return max(t.offset, t.brief) }

// of returns what may be missing of a room that has no log.
func (t *traces) of(room string) loss {
	if known := t.by[room]; known != nil {
		return known.loss
	}
	return t.floor
}

// take is of, for a room that is given a log, which remembers it from now on.
func (t *traces) take(room string) loss {
	l := t.of(room)
	if known := t.by[room]; known != nil {
		t.remove(known)
	}
	return l
}

// leave remembers the loss l of a room that no longer has a log, if all of them
// together weigh at most limit bytes.
func (t *traces) leave(room string, l loss, now time.Time, limit int) {
	if l.at(now) > 0 {
		known := &trace{room: strings.Clone(room), loss: l.still(now)}
		if t.by == nil {
			t.by = make(map[string]*trace)
		}
		t.by[known.room] = known
		t.bytes += known.bytes()
		t.order.Add(known)
	}
	for t.bytes > limit {
		least := t.order[0]
		t.remove(least)
		t.floor = t.floor.still(now)
		t.floor.join(least.still(now))
	}
}

func (t *trace) bytes() int { return len(t.room) + traceBytes }

func (t *traces) remove(known *trace) {
	delete(t.by, known.room)
	t.bytes -= known.bytes()
	t.order.Remove(known.index)
}

// Before implements ranking.Item: the trace goes first whose room lost the least.
func (t *trace) Before(other *trace) bool { return t.newest() < other.newest() }

// Placed implements ranking.Item.
func (t *trace) Placed(index int) { t.index = index }

// traceLimit returns how many bytes traces may weigh where messages may weigh memory.
func traceLimit(memory int64) int { return int(min(max(memory/16, minTraces), maxTraces)) }
