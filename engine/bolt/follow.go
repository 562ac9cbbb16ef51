package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub/settings"
)

// The follower: it brings what is in a journal into the database.

// followEvery is how often the follower looks after the database.
const followEvery = time.Second

// follow is the follower. It ends when ended is closed.
func (e *Engine) follow() {
	defer e.rest.Done()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.ended:
			return
		case t := <-e.tasks:
			e.followOnce()
			e.run(t)
			continue
		case <-e.hurry:
		case <-tick.C:
		}
		e.followOnce()
	}
}

// followOnce brings what has gathered into the database, or what was left from before, and tidies it.
func (e *Engine) followOnce() {
	defer e.survive(nil)
	if e.behind == nil { // the other journal is free
		batch, err := e.takeBatch()
		if err != nil {
			e.ill(follower, fmt.Errorf("beginning a journal: %w", err))
			return
		}
		e.behind = batch
	}
	if len(e.behind) > 0 {
		if err := e.bringBehind(); err != nil {
			e.ill(follower, fmt.Errorf("writing the database: %w", err))
			return
		}
		notify(e.followed)
	}
	if err := e.adjust(); err != nil {
		e.ill(follower, fmt.Errorf("changing the option sync: %w", err))
		return
	}
	if err := e.tidy(); err != nil {
		e.ill(follower, fmt.Errorf("tidying the database: %w", err))
		return
	}
	e.ill(follower, nil)
}

// bringBehind brings what is behind into the database. What it cannot stays behind.
func (e *Engine) bringBehind() error {
	if len(e.behind) > 0 {
		if err := e.bring(e.behind, e.behind[0].generation); err != nil {
			return err
		}
	}
	e.behind = nil
	return nil
}

// adjust puts in force what has changed of the option sync. The file never says always when it is not.
func (e *Engine) adjust() error {
	always := e.options.Load().Sync == 0
	if always == e.always.Load() {
		return nil
	}
	o := *e.info.Open
	o.Always = always
	if always {
		e.always.Store(true)
		for _, j := range e.journals { // what precedes must be there, too
			if err := j.Sync(); err != nil {
				e.broken(fmt.Errorf("syncing the journal: %w", err))
				return err
			}
		}
		return e.mark(o)
	}
	if err := e.mark(o); err != nil {
		return err
	}
	e.always.Store(false)
	return nil
}

// takeBatch has the writer begin a new journal, and returns what is in the one before.
func (e *Engine) takeBatch() (batch []*entry, err error) {
	err = e.onWriter(func() (err error) { batch, err = e.cut(); return err })
	if errors.Is(err, errClosed) {
		return nil, nil // close does it
	}
	return batch, err
}

// onWriter has the writer run something, which has what is the writer's own, and waits for it. It returns errClosed if the
// writer has ended.
func (e *Engine) onWriter(do func() error) error {
	done := make(chan error, 1)
	select {
	case e.control <- func() { done <- e.safely(do) }:
		return <-done
	case <-e.ended:
		return errClosed
	}
}

// cut begins a new journal and returns what is in the one before; nothing if that is empty. The writer runs it, or whoever
// runs alone.
func (e *Engine) cut() ([]*entry, error) {
	if len(e.batch) == 0 {
		return nil, nil
	}
	return e.begin(e.generation + 1)
}

// begin begins the journal of a generation, and returns what is in the one before.
func (e *Engine) begin(generation uint64) ([]*entry, error) {
	next := e.journals[generation%2]
	if err := next.Begin(e.info.ID, generation, e.journals[e.generation%2].Sum()); err != nil {
		return nil, err
	}
	if e.always.Load() {
		if err := next.Sync(); err != nil {
			e.broken(fmt.Errorf("syncing the journal: %w", err))
			return nil, err
		}
	}
	e.generation = generation
	cut := e.batch
	e.batch = make([]*entry, 0, len(cut))
	return cut, nil
}

// bring brings entries, which are those of the journal of a generation, into the database, and lets go of them.
func (e *Engine) bring(entries []*entry, generation uint64) error {
	now := time.Now()
	var p progress
	if err := e.update(func(tx *bbolt.Tx) (err error) {
		if err = e.apply(tx, entries, generation, now); err == nil {
			p, err = readProgress(tx)
		}
		return err
	}); err != nil {
		return err
	}
	e.reserve(p.Reserved)
	e.removed.Store(generation)
	size := int64(0)
	for _, n := range entries {
		size += n.size
		n.room.applied(generation)
		if n.room.pins.Load() == 0 && n.room.idle(generation) {
			e.drop(n.room)
		}
	}
	e.waiting.Add(-size)
	return nil
}

// applied lets go of what is in the database.
func (r *room) applied(generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := 0
	for i < len(r.fresh) && r.fresh[i].generation <= generation {
		i++
	}
	r.fresh = slices.Delete(r.fresh, 0, i)
}

// update runs f in a transaction that writes, and is on the disk when it returns nil.
func (e *Engine) update(f func(*bbolt.Tx) error) (err error) {
	defer guard(&err)()
	e.changes.Lock()
	defer e.changes.Unlock()
	return e.db.Load().Update(f)
}

// apply brings entries into a transaction, oldest first, and notes that the journals up to a generation are in it.
func (e *Engine) apply(tx *bbolt.Tx, entries []*entry, generation uint64, now time.Time) error {
	p, err := readProgress(tx)
	if err != nil {
		return err
	}
	rooms, order := make(map[string]*change), []*change(nil)
	for _, n := range entries {
		c := rooms[n.room.name]
		if c == nil {
			c = &change{engine: e, tx: tx, name: n.room.name, now: now, keep: e.retention(n.room.name, n.room)}
			rooms[c.name] = c
			order = append(order, c)
		}
		c.entries = append(c.entries, n)
	}
	for _, c := range order {
		if err := c.index(&p); err != nil {
			return err
		}
	}
	if err := writeLog(tx, entries, rooms); err != nil {
		return err
	}
	for _, c := range order {
		if err := trim(tx, &c.row, c.keep, now); err != nil {
			return err
		}
		if err := c.row.save(tx, c.name); err != nil {
			return err
		}
	}
	p.Applied = max(p.Applied, generation)
	if p.Reserved < micros(now)+ahead/2 { // so that the writer seldom has to
		p.Reserved = micros(now) + ahead
	}
	if len(entries) > 0 {
		p.Last = max(p.Last, entries[len(entries)-1].offset)
	}
	return p.write(tx)
}

// change is what a transaction brings to one room.
type change struct {
	engine  *Engine
	tx      *bbolt.Tx
	name    string
	now     time.Time
	keep    settings.History
	row     row
	entries []*entry
}

// index brings the room's index up to date. It marks the entries that are kept.
func (c *change) index(p *progress) error {
	if err := c.open(p); err != nil {
		return err
	}
	// Of what is too much already nothing need be written, nor of what has expired.
	live, first := 0, len(c.entries)
	for ; first > 0; first-- {
		n := c.entries[first-1]
		if n.encoded != nil && expired(n.expires, c.now) {
			continue
		}
		if n.encoded == nil || live >= c.keep.Count {
			c.row.Lost = max(c.row.Lost, n.offset)
			c.keep.Count = live // what is older is lost, too
			break
		}
		live, n.kept = live+1, true
	}
	for _, n := range c.entries[first:] {
		if !n.kept {
			continue
		}
		if err := c.row.add(c.tx, n.offset, n.expires); err != nil {
			return err
		}
	}
	c.row.Last = max(c.row.Last, c.entries[len(c.entries)-1].offset)
	return nil
}

// open reads the room's row, or makes one.
func (c *change) open(p *progress) error {
	c.row = c.engine.rowOf(c.tx, c.name, *p)
	if c.row.ID != 0 {
		if c.row.Count > 0 {
			return nil
		}
		return c.tx.Bucket(bucketEmpty).Delete(number(c.row.Last, c.row.ID))
	}
	ids := c.tx.Bucket(bucketNames)
	id, err := ids.NextSequence()
	if err != nil {
		return err
	}
	c.row.ID = id
	if c.tx.Bucket(bucketRooms).Get([]byte(c.name)) == nil { // otherwise this one replaces a damaged one
		p.Rooms++
	}
	return ids.Put(number(id), []byte(c.name))
}

// add brings a message into the room's index. The log gets it beside that.
func (r *row) add(tx *bbolt.Tx, offset, expires uint64) error {
	i := indexed{Offset: offset, Before: max(r.Newest, r.Lost), Expires: expires}
	if err := i.write(tx, r.ID); err != nil {
		return err
	}
	r.Newest = offset
	r.Count++
	if expires == 0 {
		return nil
	}
	r.Mortal++
	return tx.Bucket(bucketExpiries).Put(number(expires, offset), number(r.ID))
}

// writeLog writes the messages that are kept, and the receipts. The log grows at its end, so its pages become full.
func writeLog(tx *bbolt.Tx, entries []*entry, rooms map[string]*change) error {
	log, keys := tx.Bucket(bucketLog), tx.Bucket(bucketReceipts)
	log.FillPercent, keys.FillPercent = 1, 1
	for _, n := range entries {
		if n.kept {
			id := rooms[n.room.name].row.ID
			if err := log.Put(number(n.offset), appendLogged(nil, n.room.name, id, n.offset, n.encoded)); err != nil {
				return err
			}
		}
		if n.receipt == nil {
			continue
		}
		if err := keys.Put(number(n.offset), n.receipt.encode()); err != nil {
			return err
		}
	}
	return nil
}

// encode returns a receipt as the file has it.
func (r *receipt) encode() []byte {
	return sealed(binary.BigEndian.AppendUint64(append(append([]byte(nil), r.scope[:]...), r.print[:]...), r.time))
}

// readReceipt undoes encode.
func readReceipt(v []byte) (r receipt, ok bool) {
	text, ok := unsealed(v)
	if !ok || len(text) != 40 {
		return r, false
	}
	copy(r.scope[:], text)
	copy(r.print[:], text[16:])
	r.time = binary.BigEndian.Uint64(text[32:])
	return r, true
}
