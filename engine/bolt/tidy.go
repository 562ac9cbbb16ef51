package bolt

import (
	"encoding/binary"
	"errors"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub/receipts"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// What the follower takes out of the database: what is too old or too much, in rooms that nobody uses, too.

const (
	// tidyAtOnce is at how many rooms the follower looks each time.
	tidyAtOnce = 1000
	// trimAtOnce is how many messages a transaction takes out of a room at most, and of the whole log: what is freed
	// makes the next ones larger.
	trimAtOnce = 10_000
)

// emptyFor is how long a room without messages is remembered. It is a variable for tests.
var emptyFor = 7 * 24 * time.Hour

// trim takes what is over the retention out of a room. If that is much, some of it stays for the next time.
func trim(tx *bbolt.Tx, r *row, keep settings.History, now time.Time) error {
	if r.Count == 0 || r.Count <= uint64(keep.Count) && keep.Age == 0 {
		return nil
	}
	if r.Count > uint64(keep.Count) && r.Mortal > 0 {
		if err := trimExpired(tx, r, now); err != nil {
			return err
		}
	}
	old := cutoff(keep.Age, now)
	var dead []indexed
	excess := int(r.Count) - keep.Count
	for i := range indexFrom(tx, r.ID, 0) {
		if len(dead) >= excess && i.Offset > old || len(dead) == trimAtOnce {
			break
		}
		dead = append(dead, i)
	}
	for _, i := range dead {
		if !expired(i.Expires, now) {
			r.Lost = max(r.Lost, i.Offset)
		}
		if err := r.remove(tx, i); err != nil {
			return err
		}
	}
	return nil
}

// trimExpired takes the messages out of a room that have expired.
func trimExpired(tx *bbolt.Tx, r *row, now time.Time) error {
	var dead []indexed
	for i := range indexFrom(tx, r.ID, 0) {
		if expired(i.Expires, now) {
			dead = append(dead, i)
		}
	}
	for _, i := range dead {
		if err := r.expire(tx, i.Offset); err != nil {
			return err
		}
	}
	return nil
}

// expireIn takes a message that has expired out of a room, whose row it reads and saves.
func expireIn(tx *bbolt.Tx, room string, offset uint64) error {
	r, err := readRow(tx, room)
	if err != nil || r.Count == 0 {
		return err
	}
	if err := r.expire(tx, offset); err != nil {
		return err
	}
	return r.save(tx, room)
}

// expire takes a message out of a room that has expired, which is no loss: the one after it follows the one before it.
func (r *row) expire(tx *bbolt.Tx, offset uint64) error {
	c := tx.Bucket(bucketIndex).Cursor()
	k, v := c.Seek(number(r.ID, offset))
	i, ok := readIndexed(k, v, r.ID)
	if !ok || i.Offset != offset {
		return nil
	}
	k, v = c.Next()
	if next, ok := readIndexed(k, v, r.ID); ok {
		next.Before = i.Before
		if err := next.write(tx, r.ID); err != nil {
			return err
		}
	} else if r.Newest == i.Offset {
		r.Newest = i.Before
	}
	return r.remove(tx, i)
}

// remove takes a message out of the room and the log.
func (r *row) remove(tx *bbolt.Tx, i indexed) error {
	if err := tx.Bucket(bucketIndex).Delete(number(r.ID, i.Offset)); err != nil {
		return err
	}
	if err := tx.Bucket(bucketLog).Delete(number(i.Offset)); err != nil {
		return err
	}
	r.Count--
	if i.Expires == 0 {
		return nil
	}
	r.Mortal--
	return tx.Bucket(bucketExpiries).Delete(number(i.Expires, i.Offset))
}

// save writes the row of a room, which may be empty now.
func (r *row) save(tx *bbolt.Tx, name string) error {
	if r.Count == 0 {
		if err := tx.Bucket(bucketEmpty).Put(number(r.Last, r.ID), nil); err != nil {
			return err
		}
	}
	return r.write(tx, name)
}

// tidy looks at some rooms, and at what has expired, and takes out what is too much.
func (e *Engine) tidy() error {
	now := time.Now()
	names, err := e.untidy(now)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		if err := e.update(func(tx *bbolt.Tx) error { return e.tidyRooms(tx, names, now) }); err != nil {
			return err
		}
	}
	due := false
	if err := e.view(func(tx *bbolt.Tx) error { due = isDue(tx, now); return nil }); err != nil {
		return err
	}
	if due {
		if err := e.update(func(tx *bbolt.Tx) error { return e.sweep(tx, now) }); err != nil {
			return err
		}
	}
	return e.shrink(now)
}

// untidy returns the next rooms that have too much, and those in use whose retention has changed.
func (e *Engine) untidy(now time.Time) (names []string, err error) {
	e.mu.RLock()
	for name, r := range e.rooms {
		r.mu.Lock()
		if r.changed {
			r.changed = false
			names = append(names, name)
		}
		r.mu.Unlock()
	}
	e.mu.RUnlock()
	err = e.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRooms).Cursor()
		k, _ := c.Seek(e.tidied)
		for n := 0; k != nil && n < tidyAtOnce; k, _ = c.Next() {
			n++
			name := string(k)
			if r, err := readRow(tx, name); err == nil && r.untidy(tx, e.retention(name, e.lookUp(name)), now) {
				names = append(names, name)
			}
		}
		e.tidied = append(e.tidied[:0], k...) // from the beginning after the last one
		return nil
	})
	return names, err
}

// untidy reports whether the room has too much.
func (r *row) untidy(tx *bbolt.Tx, keep settings.History, now time.Time) bool {
	if r.Count == 0 || keep.Age == 0 {
		return r.Count > uint64(keep.Count)
	}
	k, v := tx.Bucket(bucketIndex).Cursor().Seek(number(r.ID, 0))
	i, ok := readIndexed(k, v, r.ID)
	return ok && i.Offset <= cutoff(keep.Age, now) || r.Count > uint64(keep.Count)
}

// tidyRooms takes what is too much out of rooms. What is left then is found the next time.
func (e *Engine) tidyRooms(tx *bbolt.Tx, names []string, now time.Time) error {
	most := trimAtOnce
	for _, name := range names {
		r, err := readRow(tx, name)
		if err != nil || r.Count == 0 {
			continue // what is damaged is replaced when something comes
		}
		was := r.Count
		if err := trim(tx, &r, e.retention(name, e.lookUp(name)), now); err != nil {
			return err
		}
		if r.Count == was {
			continue
		}
		if err := r.save(tx, name); err != nil {
			return err
		}
		if most -= int(was - r.Count); most < 0 {
			return nil
		}
	}
	return nil
}

// isDue reports whether something is for sweep.
func isDue(tx *bbolt.Tx, now time.Time) bool {
	first := func(bucket []byte) uint64 {
		k, _ := tx.Bucket(bucket).Cursor().First()
		if len(k) < 8 {
			return ^uint64(0)
		}
		return binary.BigEndian.Uint64(k)
	}
	return first(bucketExpiries) <= micros(now) ||
		first(bucketReceipts) <= cutoff(receipts.Lifetime+time.Minute, now) || // not for each of them
		first(bucketEmpty) <= cutoff(emptyFor, now)
}

// sweep takes out what has expired: messages, receipts, rooms that are empty for long, and values of the state.
func (e *Engine) sweep(tx *bbolt.Tx, now time.Time) error {
	if err := e.sweepMessages(tx, now); err != nil {
		return err
	}
	for _, k := range keysUpTo(tx.Bucket(bucketReceipts), cutoff(receipts.Lifetime, now)) {
		if err := tx.Bucket(bucketReceipts).Delete(k); err != nil {
			return err
		}
	}
	if err := sweepState(tx, now); err != nil {
		return err
	}
	return e.sweepEmpty(tx, keysUpTo(tx.Bucket(bucketEmpty), cutoff(emptyFor, now)))
}

// keysUpTo returns the first keys of a bucket that begin with a number up to last, not all if they are many.
func keysUpTo(b *bbolt.Bucket, last uint64) (keys [][]byte) {
	c := b.Cursor()
	for k, _ := c.First(); len(k) >= 8 && binary.BigEndian.Uint64(k) <= last && len(keys) < trimAtOnce; k, _ = c.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	return keys
}

// sweepMessages takes out the messages that have expired by themselves.
func (e *Engine) sweepMessages(tx *bbolt.Tx, now time.Time) error {
	expiries, names := tx.Bucket(bucketExpiries), tx.Bucket(bucketNames)
	for _, k := range keysUpTo(expiries, micros(now)) {
		name := string(names.Get(expiries.Get(k)))
		if err := expiries.Delete(k); err != nil {
			return err
		}
		if err := expireIn(tx, name, binary.BigEndian.Uint64(k[8:])); err != nil && !errors.Is(err, errDamaged) {
			return err
		}
	}
	return nil
}

// sweepEmpty forgets rooms of the bucket empty. A cursor that is older than what they had may have missed something, in
// whatever room that is not known.
func (e *Engine) sweepEmpty(tx *bbolt.Tx, keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	p, err := readProgress(tx)
	if err != nil {
		return err
	}
	names := tx.Bucket(bucketNames)
	for _, k := range keys {
		if err := tx.Bucket(bucketEmpty).Delete(k); err != nil {
			return err
		}
		id := k[8:]
		name := append([]byte(nil), names.Get(id)...)
		r, err := readRow(tx, string(name))
		if err != nil || len(name) == 0 || r.Count > 0 || r.ID != binary.BigEndian.Uint64(id) {
			continue
		}
		if err := names.Delete(id); err != nil {
			return err
		}
		if marks := tx.Bucket(bucketImports); marks != nil {
			if err := marks.Delete(id); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketRooms).Delete(name); err != nil {
			return err
		}
		p.Floor, p.Rooms = max(p.Floor, r.Last), p.Rooms-1
	}
	return p.write(tx)
}

// shrink takes the oldest messages out of the database while it is larger than the option size.
func (e *Engine) shrink(now time.Time) error {
	for {
		size := e.options.Load().Size
		if size == 0 {
			return nil
		}
		used, _, err := e.usage()
		if err != nil || used <= size {
			return err
		}
		if err := e.update(func(tx *bbolt.Tx) error { return e.dropOldest(tx, used-size, now) }); err != nil {
			return err
		}
		left, _, err := e.usage()
		if err != nil || left >= used {
			return err // what is left are rooms without messages, and the state
		}
	}
}

// usage returns how many bytes of the database are in use, and how many it has.
func (e *Engine) usage() (used, size int64, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		stats := tx.DB().Stats()
		size = tx.Size()
		used = size - int64(stats.FreePageN+stats.PendingPageN)*int64(tx.DB().Info().PageSize)
		return nil
	})
	return used, size, err
}

// place is where a message of the log belongs.
type place struct {
	offset, id uint64
	name       string // of the room; empty: there is none
}

// readPlace reads an entry of the log. ok is false if that is damaged, or a stray of a room whose row was damaged.
func readPlace(tx *bbolt.Tx, k, v []byte) (p place, ok bool) {
	if len(k) != 8 {
		return p, false
	}
	p.offset = binary.BigEndian.Uint64(k)
	if len(v) < 8 {
		return p, false
	}
	p.id = binary.BigEndian.Uint64(v)
	p.name = string(tx.Bucket(bucketNames).Get(number(p.id)))
	return p, p.name != ""
}

// dropOldest takes about so many bytes of the oldest messages out of the database, whatever their rooms keep; of
// the rooms without messages, if there are none.
func (e *Engine) dropOldest(tx *bbolt.Tx, bytes int64, now time.Time) error {
	var dead []place
	c := tx.Bucket(bucketLog).Cursor()
	for k, v := c.First(); k != nil && bytes > 0 && len(dead) < trimAtOnce; k, v = c.Next() {
		bytes -= int64(len(v)) + 64
		p, _ := readPlace(tx, k, v)
		dead = append(dead, p)
	}
	if len(dead) == 0 {
		return e.sweepEmpty(tx, keysUpTo(tx.Bucket(bucketEmpty), ^uint64(0)))
	}
	for _, d := range dead {
		if err := dropOne(tx, d, now); err != nil {
			return err
		}
	}
	return nil
}

// dropOne takes a message out of the log, and its room if that has it.
func dropOne(tx *bbolt.Tx, d place, now time.Time) error {
	r, err := readRow(tx, d.name)
	k, v := tx.Bucket(bucketIndex).Cursor().Seek(number(d.id, d.offset))
	i, ok := readIndexed(k, v, d.id)
	if err != nil || r.ID != d.id || !ok || i.Offset != d.offset {
		return tx.Bucket(bucketLog).Delete(number(d.offset))
	}
	if !expired(i.Expires, now) {
		r.Lost = max(r.Lost, i.Offset)
	}
	if err := r.remove(tx, i); err != nil {
		return err
	}
	return r.save(tx, d.name)
}
