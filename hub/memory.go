package hub

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/deque"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/ranking"
	"github.com/caddy-realtime/realtime/hub/receipts"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/hub/values"
)

// Memory is the engine that keeps everything in this process.
//
// Its epoch is made once; offsets rise over all rooms (the greater of the last one plus
// 1 and the clock in microseconds, which may step in either direction), so that a room
// which was forgotten and made again goes on where it was. traces remembers for each
// forgotten room up to where messages are lost: a cursor at or above that has missed
// nothing.
type Memory struct {
	epoch  string
	last   atomic.Uint64 // the newest offset given out
	birth  uint64        // the oldest
	clock  func() uint64 // microseconds; the wall's, which may step either way
	budget *Budget
	keys   *receipts.Store[Receipt]
	values values.Values

	mu     sync.RWMutex
	logs   map[string]*log
	traces traces // of rooms that have no log
}

// log is one room's history.
type log struct {
	mu       sync.Mutex
	gone     bool   // forgotten: look it up again
	tail     uint64 // the newest offset of the room, as far as it is known
	keep     settings.History
	messages deque.Deque[kept]
	over     int                  // how many of them have no message any more
	mortal   ranking.Heap[expiry] // of those that end by themselves
	lost     loss                 // what is no longer kept
	all      loss                 // what would be if nothing was kept
	readers  []*reader
}

// reader is one subscription: a [Reader] may have several.
type reader struct{ Reader }

// NewMemory returns an empty engine. It implements [Keeper].
func NewMemory() *Memory {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	e := &Memory{
		epoch:  strconv.FormatUint(binary.LittleEndian.Uint64(seed[:]), 36),
		budget: message.NewBudget(settings.DefaultHistoryMemory),
		logs:   make(map[string]*log),
		clock:  clock,
	}
	// Receipts have a quarter of the memory, beside that of messages.
	e.keys = receipts.New[Receipt](func() int64 { return e.budget.Max() / 4 })
	e.birth = e.clock()
	e.last.Store(e.birth)
	return e
}

// clock is the only use of the wall clock: an engine that is made later gives out
// higher offsets. All durations come from the monotonic clock, which Message.Time has.
func clock() uint64 { return uint64(max(time.Now().UnixMicro(), 0)) }

// Bind implements [Keeper].
func (e *Memory) Bind(b *Budget) { e.budget = b }

// Publish implements [Engine].
func (e *Memory) Publish(ctx context.Context, d Draft) (Receipt, error) {
	if d.Scope == "" {
		return e.append(d.Message), nil
	}
	r, replayed, err := e.keys.Do(ctx, d.Scope, d.Print, func() (Receipt, error) { return e.append(d.Message), nil })
	r.Replayed = replayed
	return r, err
}

// append stores a message and delivers it.
func (e *Memory) append(m *Message) Receipt {
	l := e.lock(m.Room)
	defer l.mu.Unlock()
	m.Time = time.Now()
	if !m.Signal {
		m.Position = e.next()
		l.tail = m.Offset
		if l.keep.Count > 0 {
			e.budget.Hold(m)
			l.push(m)
			e.trim(l, m.Time)
		} else {
			l.lost.add(m)
		}
	}
	for _, r := range l.readers {
		r.Deliver(m)
	}
	return Receipt{Position: m.Position, Time: m.Time}
}

// next gives out an offset.
func (e *Memory) next() Position {
	for {
		last := e.last.Load()
		n := max(last+1, e.clock())
		if e.last.CompareAndSwap(last, n) {
			return Position{Epoch: e.epoch, Offset: n}
		}
	}
}

// lookUp returns the room's log, or nil.
func (e *Memory) lookUp(room string) *log {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.logs[room]
}

// lock returns the room's log, locked, making it if need be.
func (e *Memory) lock(room string) *log {
	for {
		l := e.lookUp(room)
		if l == nil {
			e.mu.Lock()
			if l = e.logs[room]; l == nil {
				l = &log{lost: e.traces.take(room)}
				l.tail = e.tailAfter(l.lost)
				e.logs[room] = l
			}
			e.mu.Unlock()
		}
		l.mu.Lock()
		if !l.gone {
			return l
		}
		l.mu.Unlock()
	}
}

// Subscribe implements [Engine].
func (e *Memory) Subscribe(_ context.Context, room string, r Reader) (Position, func(), error) {
	l := e.lock(room)
	defer l.mu.Unlock()
	own := &reader{r}
	l.readers = append(l.readers, own)
	stop := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.readers = slices.DeleteFunc(l.readers, func(other *reader) bool { return other == own })
	}
	return Position{Epoch: e.epoch, Offset: l.tail}, stop, nil
}

// before returns the loss of a reader that has nothing of what came to a room until now,
// be that lost or still in the log.
func (e *Memory) before(room string) loss {
	l := e.lock(room)
	defer l.mu.Unlock()
	sum := l.lost
	sum.join(l.all)
	return sum
}

// tailAfter returns where a room ends of which only that is known. A cursor must not tell
// anything of other rooms, so it is not the newest offset of all.
func (e *Memory) tailAfter(l loss) uint64 { return max(e.birth, l.offset, l.brief) }

// Read implements [Engine].
func (e *Memory) Read(_ context.Context, room string, q Query) (Page, error) {
	for {
		e.mu.RLock()
		l, lost := e.logs[room], e.traces.of(room)
		e.mu.RUnlock()
		if l == nil {
			return (&log{lost: lost, tail: e.tailAfter(lost)}).read(room, q, e.epoch, e.last.Load()), nil
		}
		l.mu.Lock()
		if !l.gone {
			defer l.mu.Unlock()
			e.trim(l, time.Now())
			return l.read(room, q, e.epoch, e.last.Load()), nil
		}
		l.mu.Unlock()
	}
}

// read answers q. last is the newest offset of all rooms, above which there are no cursors.
// Called with mu held.
func (l *log) read(room string, q Query, epoch string, last uint64) Page {
	now := time.Now()
	tail := Position{Epoch: epoch, Offset: l.tail}
	if q.After.Epoch == epoch && q.After.Offset <= last {
		tail.Offset = max(l.tail, q.After.Offset) // nothing of this room lies between
	}
	page := Page{Cursor: tail, Start: tail}
	floor := Position{Epoch: epoch, Offset: l.lost.at(now)}
	from, to := l.messages.Len(), l.messages.Len()
	backwards, age := false, time.Duration(0)
	switch {
	case q.InvalidCursor, !q.After.IsZero():
		page.Start = q.After
		switch {
		case q.InvalidCursor || q.After.Epoch != epoch || q.After.Offset > last:
			page.Gap = &Gap{Room: room, From: q.After, To: floor, Reason: message.GapEpoch}
			page.Start = floor
		case q.After.Offset < floor.Offset:
			page.Gap = &Gap{Room: room, From: q.After, To: floor, Reason: message.GapExpired}
			page.Start = floor
		}
		from = l.messages.Search(func(k kept) bool { return k.offset > page.Start.Offset })
	case !q.Before.IsZero():
		backwards = true
		from, to = 0, 0
		if q.Before.Epoch == epoch {
			to = l.messages.Search(func(k kept) bool { return k.offset >= q.Before.Offset })
		}
	case q.Last > 0:
		backwards = true
		from, q.Limit = 0, min(q.Limit, q.Last)
	case q.Age > 0:
		backwards = true
		from, age = 0, q.Age
	}
	messages := l.messages.All()[from:to]
	if backwards {
		for _, k := range slices.Backward(messages) {
			if k.message != nil && (age > 0 && now.Sub(k.message.Time) > age || !page.Backward(k.message, q.Limit, now)) {
				break
			}
		}
		page.Turn()
		return page
	}
	for _, k := range messages {
		if k.message != nil && !page.Forward(k.message, q.Limit, now) {
			break
		}
	}
	return page
}

// Retain implements [Engine].
func (e *Memory) Retain(room string, keep settings.History) {
	l := e.lookUp(room)
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep = keep
	e.trim(l, time.Now())
}

// trim lets go of what is over the log's retention. Called with l.mu held.
func (e *Memory) trim(l *log, now time.Time) {
	// A message that expired by its own TTL is not a loss: its publisher wanted that.
	for m := l.expired(now); m != nil; m = l.expired(now) {
		e.budget.Release(m)
	}
	for l.live() > l.keep.Count || l.live() > 0 && l.keep.Age > 0 && now.Sub(l.messages.At(0).message.Time) > l.keep.Age {
		e.shift(l)
	}
}

// shift lets go of the oldest message.
func (e *Memory) shift(l *log) {
	m := l.shift()
	l.lost.add(m)
	e.budget.Release(m)
}

// Forget implements [Engine].
func (e *Memory) Forget(room string, force bool) bool {
	dead, ok := e.takeOut(room, force)
	for _, k := range dead { // there may be many, and nobody waits for them
		if k.message != nil {
			e.budget.Release(k.message)
		}
	}
	return ok
}

// takeOut takes the room's log out of the engine and returns what it held, unless force
// is not set and that is something.
func (e *Memory) takeOut(room string, force bool) (dead []kept, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.logs[room]
	if l == nil {
		return nil, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !force {
		e.trim(l, now)
	}
	if l.live() > 0 {
		if !force {
			return nil, false
		}
		l.lost.join(l.all)
		dead = l.messages.All()
		l.messages, l.over, l.mortal = deque.Deque[kept]{}, 0, nil
	}
	l.gone = true
	delete(e.logs, room)
	e.traces.leave(room, l.lost, now, traceLimit(e.budget.Max()))
	return dead, true
}

// Evict implements [Keeper].
func (e *Memory) Evict(room string, offset uint64) {
	l := e.lookUp(room)
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.live() > 0 && l.messages.At(0).offset <= offset {
		e.shift(l)
	}
}

// Rooms implements [Lister].
func (e *Memory) Rooms(_ context.Context, after string, limit int) ([]string, error) {
	var names []string
	e.mu.RLock()
	n := 0
	for name := range e.logs {
		if name > after {
			names = append(names, name)
		}
		if n++; n%sweepChunk == 0 {
			breathe(e.mu.RLocker())
		}
	}
	e.mu.RUnlock()
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(limit, len(names))], nil
}

// Erase implements [Eraser].
func (e *Memory) Erase(ctx context.Context, user string) (erased int, err error) {
	for after := ""; ; {
		names, err := e.Rooms(ctx, after, sweepChunk)
		if err != nil {
			return erased, err
		}
		for _, name := range names {
			if after = name; ctx.Err() != nil {
				return erased, ctx.Err()
			}
			if l := e.lookUp(name); l != nil {
				erased += e.eraseFrom(l, user)
			}
		}
		if len(names) < sweepChunk {
			return erased, nil
		}
	}
}

// eraseFrom takes the messages of a user out of a log.
func (e *Memory) eraseFrom(l *log, user string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := l.erase(user)
	for _, m := range dead {
		e.budget.Release(m)
	}
	return len(dead)
}

// State implements [Engine].
func (e *Memory) State() Store { return &e.values }

// Health implements [Engine]: this one is always well.
func (e *Memory) Health() Health { return Health{} }

// Close implements [Engine].
func (e *Memory) Close(context.Context) error {
	e.mu.Lock()
	rooms := make([]string, 0, len(e.logs))
	for room := range e.logs {
		rooms = append(rooms, room)
	}
	e.mu.Unlock()
	for _, room := range rooms {
		e.Forget(room, true)
	}
	e.keys.Close()
	e.values.Close()
	return nil
}
