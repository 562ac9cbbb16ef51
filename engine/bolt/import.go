package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

const (
	// maxAhead is how far the offset of an imported message may be ahead of the clock, in microseconds: offsets go
	// on from there.
	maxAhead = uint64(time.Minute / time.Microsecond)
)

// bucketImports has, by the number of a room, up to which offset of which epoch it was imported. A file in which nothing
// was ever imported has no such bucket.
var bucketImports = []byte("imports")

// Import implements [hub.Importer]. It takes at most [hub.MaxImport] messages at a time. While it writes them, publishing and reading
// wait.
func (e *Engine) Import(ctx context.Context, messages []*hub.Message) (outcomes []hub.Outcome, err error) {
	if len(messages) > hub.MaxImport {
		return nil, fmt.Errorf("%d messages are too many at once: at most %d are allowed", len(messages), hub.MaxImport)
	}
	release, err := e.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	err = e.maintain(ctx, func() error {
		return e.onWriter(func() error {
			outcomes, err = e.takeIn(messages)
			return err
		})
	})
	return outcomes, err
}

// takeIn imports messages. The writer runs it while the follower waits, so it has what is theirs.
func (e *Engine) takeIn(messages []*hub.Message) ([]hub.Outcome, error) {
	var err error
	if e.behind, err = e.cut(); err == nil {
		err = e.bringBehind() // so that the rows are up to date
	}
	if err != nil {
		return nil, full(err)
	}
	in := intake{engine: e, now: time.Now(), info: e.info, last: e.last, rooms: make(map[string]*imported)}
	in.info.Runs = slices.Clone(e.info.Runs)
	if err := in.write(messages); err != nil {
		return nil, full(err)
	}
	in.tell()
	return in.outcomes, nil
}

// intake is an import that is under way.
type intake struct {
	engine   *Engine
	now      time.Time
	info     fileInfo // as it will be
	adopted  bool     // with another epoch
	last     uint64   // the newest offset
	progress progress
	rooms    map[string]*imported
	order    []*imported
	outcomes []hub.Outcome
}

// imported is a room of an import.
type imported struct {
	change
	known mark
	begun bool // something of it is written
	anew  bool // whatever follows has to be published
}

// mark says up to where a room was imported.
type mark struct {
	upTo  uint64
	epoch string // empty: never
}

// write writes the messages in one transaction, and puts in force what comes of it. Readers must not see one without the
// other.
func (in *intake) write(messages []*hub.Message) (err error) {
	e := in.engine
	defer guard(&err)()
	e.changes.Lock()
	defer e.changes.Unlock()
	e.swap.Lock()
	defer e.swap.Unlock()
	err = e.db.Load().Update(func(tx *bbolt.Tx) error { return in.apply(tx, messages) })
	if err != nil {
		return err
	}
	e.info.Epoch, e.info.Runs = in.info.Epoch, in.info.Runs
	e.last = in.last
	e.newest.Store(e.last)
	return nil
}

// apply brings the messages into a transaction.
func (in *intake) apply(tx *bbolt.Tx, messages []*hub.Message) (err error) {
	if in.progress, err = readProgress(tx); err != nil {
		return err
	}
	marks, err := tx.CreateBucketIfNotExists(bucketImports)
	if err != nil {
		return err
	}
	if tx.Bucket(bucketNames).Sequence() == 0 && len(messages) > 0 && in.plausible(messages[0]) {
		in.adopt(messages[0].Epoch)
	}
	tx.Bucket(bucketLog).FillPercent, tx.Bucket(bucketIndex).FillPercent = 0.9, 0.9 // most of them come in order
	for _, m := range messages {
		outcome, err := in.one(tx, m)
		if err != nil {
			return err
		}
		in.outcomes = append(in.outcomes, outcome)
	}
	for _, r := range in.order {
		if !r.begun {
			continue
		}
		if err := trim(tx, &r.row, r.keep, in.now); err != nil {
			return err
		}
		if err := r.row.save(tx, r.name); err != nil {
			return err
		}
		if err := marks.Put(number(r.row.ID), r.known.encode()); err != nil {
			return err
		}
	}
	in.progress.Last = max(in.progress.Last, in.last)
	if err := in.info.write(tx); err != nil {
		return err
	}
	return in.progress.write(tx)
}

// adopt takes over an epoch, since no room has ever had one: cursors of the log from which they come go
// on to be good. What that log had beside them is missing here, so each room has a gap behind them.
func (in *intake) adopt(epoch string) {
	if epoch == in.info.Epoch {
		return
	}
	in.last = max(in.last, micros(in.now)+maxAhead) // above all that will be imported
	in.info.Epoch, in.adopted = epoch, true
	in.info.Runs = append(in.info.Runs, run{End: in.last, Begin: in.last + 1, Lossy: true})
	in.last++
}

// plausible reports whether the offset of a message may be one of this engine: about its time.
func (in *intake) plausible(m *hub.Message) bool {
	return m.Epoch != "" && m.Offset >= micros(m.Time) && m.Offset <= micros(in.now)+maxAhead
}

// one imports a message, if it can have its offset.
func (in *intake) one(tx *bbolt.Tx, m *hub.Message) (hub.Outcome, error) {
	r := in.room(tx, m.Room)
	switch own := r.row.ID != 0 && r.known.epoch != m.Epoch; {
	case r.anew: // otherwise they would change places
		return hub.OutcomeFresh, nil
	case !own && m.Epoch == r.known.epoch && m.Offset <= r.known.upTo:
		return hub.OutcomeKnown, nil
	case own && m.Epoch == in.info.Epoch && m.Offset <= r.row.Last:
		return hub.OutcomeKnown, nil
	case own, !in.plausible(m), !in.free(tx, m.Offset), m.Offset <= max(r.row.Last, r.row.Lost):
		r.anew = true
		return hub.OutcomeFresh, nil
	}
	return hub.OutcomeKept, in.keep(tx, r, m)
}

// room returns what is known of a room.
func (in *intake) room(tx *bbolt.Tx, name string) *imported {
	r := in.rooms[name]
	if r != nil {
		return r
	}
	e := in.engine
	r = &imported{change: change{engine: e, tx: tx, name: name, now: in.now, keep: e.retention(name, e.lookUp(name))}}
	if r.row = e.rowOf(tx, name, in.progress); r.row.ID != 0 {
		r.known = readMark(tx.Bucket(bucketImports).Get(number(r.row.ID)))
	}
	in.rooms[name] = r
	in.order = append(in.order, r)
	return r
}

// free reports whether an offset is nobody's, and readers do not pass over it.
func (in *intake) free(tx *bbolt.Tx, offset uint64) bool {
	for _, r := range in.info.Runs {
		if r.Lossy && offset > r.End && offset <= r.Begin {
			return false
		}
	}
	return tx.Bucket(bucketLog).Get(number(offset)) == nil
}

// keep writes a message.
func (in *intake) keep(tx *bbolt.Tx, r *imported, m *hub.Message) error {
	if !r.begun {
		made := r.row.ID == 0
		if err := r.open(&in.progress); err != nil {
			return err
		}
		if r.begun = true; made && m.Epoch == in.info.Epoch { // cursors are good, and what was before it is not here
			r.row.Lost = max(r.row.Lost, m.Offset-1)
		}
	}
	encoded, err := encodeBare(m)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if err := r.row.add(tx, m.Offset, micros(m.Expires)); err != nil {
		return err
	}
	if err := tx.Bucket(bucketLog).Put(number(m.Offset), appendLogged(nil, r.name, r.row.ID, m.Offset, encoded)); err != nil {
		return err
	}
	r.row.Last = m.Offset
	r.known = mark{m.Offset, m.Epoch}
	in.last = max(in.last, m.Offset)
	in.info.keepAt(m.Offset)
	return nil
}

// keepAt notes that something is kept at an offset: a cursor up to there is not of a past that is gone.
func (i *fileInfo) keepAt(offset uint64) {
	for n := range i.Runs {
		if r := &i.Runs[n]; offset > r.End && offset < r.Begin {
			r.End = offset
		}
	}
}

// encodeBare encodes a message without its place.
func encodeBare(m *hub.Message) ([]byte, error) {
	room, at := m.Room, m.Position
	m.Room, m.Position = "", hub.Position{}
	encoded, err := m.AppendBinary(nil)
	m.Room, m.Position = room, at
	return encoded, err
}

// encode returns the mark as the file has it.
func (k mark) encode() []byte { return sealed(append(number(k.upTo), k.epoch...)) }

// readMark undoes encode; the zero mark if there is none.
func readMark(v []byte) mark {
	text, ok := unsealed(v)
	if !ok || len(text) < 8 {
		return mark{}
	}
	return mark{binary.BigEndian.Uint64(text), string(text[8:])}
}

// tell has those who read the rooms look into the log, where they find what they have not seen.
func (in *intake) tell() {
	e := in.engine
	e.mu.RLock()
	var used []*room
	for name, r := range e.rooms {
		if known := in.rooms[name]; in.adopted || known != nil && known.begun {
			used = append(used, r)
		}
	}
	e.mu.RUnlock()
	for _, r := range used {
		known := row{}
		if of := in.rooms[r.name]; of != nil {
			known = of.row
		}
		r.reset(hub.Position{Epoch: e.info.Epoch, Offset: e.end(known, in.progress)})
	}
}

// reset has the room's readers begin anew at its end, which is at least tail.
func (r *room) reset(tail hub.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tail.Offset = max(tail.Offset, r.last)
	for _, to := range r.readers {
		to.Reset(tail, message.GapEpoch)
	}
}
