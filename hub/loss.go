package hub

import (
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub/ranking"
)

// loss says up to which offset messages can no longer be read: for a cursor below
// it something is missing. Messages that would have ended by themselves are
// missing only until then. It may say too much of those, and never too little.
type loss struct {
	offset uint64
	brief  uint64    // likewise, with those that would have ended by themselves
	until  time.Time // when the last of those would have
}

// add notes that m can no longer be read.
func (l *loss) add(m *Message) {
	if m.Expires.IsZero() {
		l.offset = max(l.offset, m.Offset)
		return
	}
	l.brief, l.until = max(l.brief, m.Offset), later(l.until, m.Expires)
}

// join adds another loss.
func (l *loss) join(o loss) {
	l.offset, l.brief, l.until = max(l.offset, o.offset), max(l.brief, o.brief), later(l.until, o.until)
}

// at returns the offset as it is now.
func (l *loss) at(now time.Time) uint64 {
	if now.Before(l.until) {
		return max(l.offset, l.brief)
	}
	return l.offset
}

// still returns what is still missing.
func (l *loss) still(now time.Time) loss {
	if now.Before(l.until) {
		return *l
	}
	return loss{offset: l.offset}
}

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

// leave remembers l of a room that has no log any more, as long as all weighs no
// more than so many bytes.
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

// traceLimit returns how many bytes the budget leaves to traces.
func (b *budget) traceLimit() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(min(max(b.max/16, minTraces), maxTraces))
}
