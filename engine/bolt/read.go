package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// maxPage is after how many bytes of data a page ends, though more was asked for.
const maxPage = 1 << 20

// Read implements [hub.Engine].
func (e *Engine) Read(ctx context.Context, name string, q hub.Query) (page hub.Page, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return hub.Page{}, err
		}
		late := false
		err = e.view(func(tx *bbolt.Tx) error {
			l, err := e.look(tx, name)
			if errors.Is(err, errLate) {
				late = true
				return nil
			}
			if err != nil {
				return err
			}
			page = l.read(q)
			return nil
		})
		if !late {
			return page, e.failed(err)
		}
	}
}

// failed returns the error for a read that has failed, which is logged.
func (e *Engine) failed(err error) error {
	if err != nil {
		e.log.Error("reading rooms", "file", e.path, "error", err)
		err = full(err)
	}
	return err
}

// errLate says that the database has moved on since a transaction began.
var errLate = errors.New("the transaction is too old")

// look is a room's log at one moment: what a transaction sees of it, and what is newer.
type look struct {
	engine *Engine
	tx     *bbolt.Tx
	now    time.Time
	name   string
	row    row
	fresh  []*entry      // that the transaction does not see
	end    uint64        // of the room
	newest uint64        // of all rooms, above which there are no cursors
	floor  uint64        // up to where nothing is shown any more
	log    *bbolt.Bucket // looked up by message
	key    [8]byte       // of it
}

// look looks at a room. It returns errLate if that has to be done again, in a transaction that begins later.
func (e *Engine) look(tx *bbolt.Tx, name string) (*look, error) {
	p, err := readProgress(tx)
	if err != nil {
		return nil, err
	}
	l := &look{engine: e, tx: tx, now: time.Now(), name: name, newest: e.newest.Load()}
	l.row = e.rowOf(tx, name, p)
	l.end = e.end(l.row, p)
	keep, ok := l.snapshot(p.Applied)
	if !ok {
		return nil, errLate
	}
	l.floor = l.floorFor(keep) // without the room's lock: the disk may be slow
	return l, nil
}

// snapshot takes what is newer than the journals up to a generation, and returns how much of the room to keep. ok is false if
// some of it is not in memory any more.
func (l *look) snapshot(applied uint64) (keep settings.History, ok bool) {
	keep = l.engine.keepOf(l.name)
	r := l.engine.lookUp(l.name)
	if r == nil {
		return keep, l.engine.removed.Load() <= applied
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.engine.removed.Load() > applied {
		return keep, false
	}
	i, _ := slices.BinarySearchFunc(r.fresh, applied+1, func(n *entry, g uint64) int { return cmp.Compare(n.generation, g) })
	l.fresh = slices.Clone(r.fresh[i:])
	l.end, l.row.Lost = max(l.end, r.last), max(l.row.Lost, r.lost)
	if r.keep != nil {
		keep = *r.keep
	}
	return keep, true
}

// rowOf returns the row of a room. A room whose row is damaged has lost everything until now.
func (e *Engine) rowOf(tx *bbolt.Tx, name string, p progress) row {
	r, err := readRow(tx, name)
	if err != nil {
		e.damaged(err)
		e.unknown.Store(p.Last)
		return row{Last: p.Last, Lost: p.Last}
	}
	if r.ID == 0 {
		r.Lost = max(p.Floor, e.unknown.Load())
	}
	return r
}

// floorFor returns up to which offset nothing is shown: because it is lost, too old, or too much.
func (l *look) floorFor(keep settings.History) uint64 {
	floor := l.row.Lost
	if keep.Count == 0 {
		return l.end
	}
	if old := cutoff(keep.Age, l.now); old > floor {
		for i := range l.from(floor) {
			if i.Offset > old {
				break
			}
			floor = i.Offset
		}
	}
	if n := l.row.Count + uint64(len(l.fresh)); n <= uint64(keep.Count) {
		return floor
	}
	excess := -keep.Count
	for i := range l.from(floor) { // as many as may be shown
		if !expired(i.Expires, l.now) {
			excess++
		}
	}
	for i := range l.from(floor) {
		if excess <= 0 {
			break
		}
		if !expired(i.Expires, l.now) {
			floor, excess = i.Offset, excess-1
		}
	}
	return floor
}

// placed is a message's place, where the message itself may be in memory.
type placed struct {
	indexed
	entry *entry // nil: in the file
}

// from returns what is after an offset, oldest first.
func (l *look) from(offset uint64) func(yield func(placed) bool) {
	return func(yield func(placed) bool) {
		for i := range indexFrom(l.tx, l.row.ID, offset+1) { // there is no room 0
			if !yield(placed{indexed: i}) {
				return
			}
		}
		before := l.row.Newest // of the first one that the file does not have
		for _, n := range l.fresh {
			if n.offset > offset && !yield(placed{indexed{Offset: n.offset, Before: before, Expires: n.expires}, n}) {
				return
			}
			before = 0 // nothing is between them
		}
	}
}

// before returns what is before an offset and above the floor, newest first.
func (l *look) before(offset uint64) func(yield func(placed) bool) {
	return func(yield func(placed) bool) {
		for _, n := range slices.Backward(l.fresh) {
			if n.offset < offset && n.offset > l.floor && !yield(placed{indexed{Offset: n.offset, Expires: n.expires}, n}) {
				return
			}
		}
		if l.row.ID == 0 {
			return
		}
		c := l.tx.Bucket(bucketIndex).Cursor()
		k, v := lastBefore(c, number(l.row.ID, offset))
		for ; k != nil; k, v = c.Prev() {
			i, ok := readIndexed(k, v, l.row.ID)
			if !ok || i.Offset <= l.floor || !yield(placed{indexed: i}) {
				return
			}
		}
	}
}

// lastBefore moves a cursor to the last key before another one.
func lastBefore(c *bbolt.Cursor, key []byte) (k, v []byte) {
	if k, _ = c.Seek(key); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// message returns a message; an error if it is damaged.
func (l *look) message(p placed) (*hub.Message, error) {
	if p.entry != nil {
		return p.entry.message, nil
	}
	if l.log == nil {
		l.log = l.tx.Bucket(bucketLog)
	}
	binary.BigEndian.PutUint64(l.key[:], p.Offset)
	return readLogged(l.log.Get(l.key[:]), l.name, l.engine.info.Epoch, p.Offset)
}

func (l *look) at(offset uint64) hub.Position {
	return hub.Position{Epoch: l.engine.info.Epoch, Offset: offset}
}

// read answers a query.
func (l *look) read(q hub.Query) hub.Page {
	switch {
	case q.InvalidCursor, !q.After.IsZero():
		return l.forward(q)
	case !q.Before.IsZero():
		if q.Before.Epoch != l.engine.info.Epoch {
			return l.backward(0, 0, q.Limit)
		}
		return l.backward(q.Before.Offset, 0, q.Limit)
	case q.Last > 0:
		return l.backward(^uint64(0), 0, min(q.Limit, q.Last))
	case q.Age > 0:
		return l.backward(^uint64(0), q.Age, q.Limit)
	}
	return hub.Page{Start: l.at(l.end), Cursor: l.at(l.end)}
}

// backward returns the newest messages before an offset that are not older than age, unless that is 0.
func (l *look) backward(before uint64, age time.Duration, limit int) hub.Page {
	page := hub.Page{Start: l.at(l.end), Cursor: l.at(l.end)}
	size := 0
	for p := range l.before(before) {
		if expired(p.Expires, l.now) {
			continue
		}
		m, err := l.message(p)
		if err != nil {
			l.engine.damaged(err)
			continue
		}
		if size += len(m.Data); size > maxPage && len(page.Messages) > 0 {
			limit = 0 // there are more
		}
		if age > 0 && l.now.Sub(m.Time) > age || !page.Backward(m, limit, l.now) {
			break
		}
	}
	page.Turn()
	return page
}

// forward returns what comes after the query's cursor. Where something is missing the page ends, and the one
// that goes on from there begins with the gap.
func (l *look) forward(q hub.Query) hub.Page {
	start, gap := l.start(q)
	start, gap = l.pass(start, gap)
	page := hub.Page{Start: l.at(start), Gap: gap, Cursor: l.at(max(l.end, start))}
	loss := l.engine.info.lossAfter(start)
	size, known := 0, start
	for p := range l.from(start) {
		if p.Offset > loss.End {
			break
		}
		if p.Before <= known && expired(p.Expires, l.now) {
			known = p.Offset
			continue
		}
		m, err := l.message(p)
		if err != nil || p.Before > known {
			page.More, page.Cursor = true, l.at(known)
			return page
		}
		if size += len(m.Data); size > maxPage && len(page.Messages) > 0 {
			q.Limit = 0
		}
		if !page.Forward(m, q.Limit, l.now) {
			return page
		}
		known = p.Offset
	}
	switch {
	case known < l.row.Newest && l.row.Newest <= loss.End: // it is missing
		page.More, page.Cursor = true, l.at(known)
	case loss != nothing:
		page.More, page.Cursor = true, l.at(loss.End)
	}
	return page
}

// start returns where to begin to read, and the gap that is before it.
func (l *look) start(q hub.Query) (start uint64, gap *hub.Gap) {
	info := &l.engine.info
	if q.InvalidCursor || q.After.Epoch != info.Epoch || q.After.Offset > l.newest {
		return l.floor, &hub.Gap{Room: l.name, From: q.After, To: l.at(l.floor), Reason: message.GapEpoch}
	}
	start = q.After.Offset
	if r, ok := info.pastOf(start); ok {
		gap = l.join(gap, start, r.Begin, message.GapEpoch)
		start = r.Begin
	}
	if start < l.floor {
		gap = l.join(gap, start, l.floor, message.GapExpired)
		start = l.floor
	}
	return start, gap
}

// pass passes what is missing directly after start.
func (l *look) pass(start uint64, gap *hub.Gap) (uint64, *hub.Gap) {
	for {
		to, reason := l.missing(start)
		if to == start {
			return start, gap
		}
		gap = l.join(gap, start, to, reason)
		start = to
	}
}

// missing returns up to where something is missing directly after start, or start.
func (l *look) missing(start uint64) (to uint64, reason hub.GapReason) {
	loss := l.engine.info.lossAfter(start)
	known := start
	for p := range l.from(start) {
		if p.Offset > loss.End {
			break
		}
		if p.Before > known {
			l.engine.damaged(fmt.Errorf("%w: message %d of room %q is missing", errDamaged, p.Before, l.name))
			return p.Before, message.GapExpired
		}
		if expired(p.Expires, l.now) {
			known = p.Offset
			continue
		}
		if _, err := l.message(p); err != nil {
			l.engine.damaged(err)
			return p.Offset, message.GapExpired
		}
		return start, ""
	}
	if known < l.row.Newest && l.row.Newest <= loss.End && l.row.Newest > l.floor {
		l.engine.damaged(fmt.Errorf("%w: message %d of room %q is missing", errDamaged, l.row.Newest, l.name))
		return l.row.Newest, message.GapExpired
	}
	if loss != nothing {
		return loss.Begin, message.GapEpoch
	}
	return start, ""
}

// join returns the gap, longer by what is missing between two offsets.
func (l *look) join(gap *hub.Gap, from, to uint64, reason hub.GapReason) *hub.Gap {
	if gap == nil {
		gap = &hub.Gap{Room: l.name, From: l.at(from), Reason: reason}
	}
	gap.To = l.at(to)
	return gap
}
