package bolt

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
	"slices"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/engine/bolt/journal"
	"github.com/caddy-realtime/realtime/hub"
)

// What the file consists of, see the package's comment.

var (
	bucketMeta     = []byte("meta")
	bucketRooms    = []byte("rooms")
	bucketNames    = []byte("names")
	bucketLog      = []byte("log")
	bucketIndex    = []byte("index")
	bucketExpiries = []byte("expiries")
	bucketEmpty    = []byte("empty")
	bucketReceipts = []byte("receipts")
	bucketState    = []byte("state")

	buckets = [][]byte{
		bucketMeta, bucketRooms, bucketNames, bucketLog, bucketIndex,
		bucketExpiries, bucketEmpty, bucketReceipts, bucketState,
	}

	keyFile     = []byte("file")
	keyProgress = []byte("progress")
)

// format is the version of the layout.
const format = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is wrapped by what says that the file is not as it was written.
var errDamaged = errors.New("the file is damaged")

// number returns the big-endian bytes of numbers.
func number(ns ...uint64) []byte {
	b := make([]byte, 0, 24)
	for _, n := range ns {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// numbers does so for fields.
func numbers(fields []*uint64) []byte {
	b := make([]byte, 0, 8*len(fields)+4)
	for _, n := range fields {
		b = binary.BigEndian.AppendUint64(b, *n)
	}
	return b
}

// sealed returns b with its checksum behind it.
func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unsealed undoes sealed. What it returns shares memory with b.
func unsealed(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return nil, false
	}
	text, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	return text, crc32.Checksum(text, castagnoli) == sum
}

// fileInfo is what never or rarely changes of a file.
type fileInfo struct {
	Format  int        `json:"format"`
	ID      journal.ID `json:"id"`
	Epoch   string     `json:"epoch"`
	Birth   uint64     `json:"birth"` // below all offsets
	Created time.Time  `json:"created"`
	Runs    []run      `json:"runs,omitempty"`
	// Open is how the file was opened by who has not closed it; nil: it was closed in order.
	Open *opening `json:"open,omitempty"`
}

// opening says how a file was opened.
type opening struct {
	Boot   string `json:"boot,omitempty"` // of the machine; empty: unknown
	Always bool   `json:"always"`         // nothing was answered that was not on the disk
	Begun  bool   `json:"begun"`          // there is a journal
}

// run is one opening of the file: no offset between End, the newest one of the run before, and
// Begin, the oldest of this one, was ever kept. A cursor in between is of a past that is gone.
type run struct {
	End   uint64 `json:"end"`
	Begin uint64 `json:"begin"`
	Lossy bool   `json:"lossy,omitempty"` // messages may have been lost there
}

// nothing is the run that follows no loss.
var nothing = run{End: math.MaxUint64, Begin: math.MaxUint64}

// lossAfter returns the first run before which messages may have been lost after the offset.
func (i *fileInfo) lossAfter(offset uint64) run {
	for _, r := range i.Runs {
		if r.Lossy && r.End >= offset {
			return r
		}
	}
	return nothing
}

// lossyBegin returns the beginning of the last run before which messages may have been lost; 0: there is none.
func (i *fileInfo) lossyBegin() uint64 {
	for _, r := range slices.Backward(i.Runs) {
		if r.Lossy {
			return r.Begin
		}
	}
	return 0
}

// pastOf returns the run whose past, of which nothing was kept, has the offset.
func (i *fileInfo) pastOf(offset uint64) (run, bool) {
	for _, r := range i.Runs {
		if offset > r.End && offset < r.Begin {
			return r, true
		}
	}
	return run{}, false
}

// maxRuns is how many are known. Older ones become one.
const maxRuns = 64

func readInfo(tx *bbolt.Tx) (fileInfo, error) {
	var i fileInfo
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return i, fmt.Errorf("%w: it has no bucket %q", errDamaged, bucketMeta)
	}
	text, ok := unsealed(meta.Get(keyFile))
	if !ok || json.Unmarshal(text, &i) != nil {
		return i, fmt.Errorf("%w: its description cannot be read", errDamaged)
	}
	if i.Format > format {
		return i, fmt.Errorf("the file was written by a newer version (format %d, this one reads %d): update Caddy's module, or restore an older file", i.Format, format)
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return i, fmt.Errorf("%w: it has no bucket %q", errDamaged, name)
		}
	}
	return i, nil
}

func (i *fileInfo) write(tx *bbolt.Tx) error {
	for len(i.Runs) > maxRuns {
		old, next := i.Runs[0], i.Runs[1]
		i.Runs = slices.Replace(i.Runs, 0, 2, run{End: old.End, Begin: next.Begin, Lossy: old.Lossy || next.Lossy})
	}
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyFile, sealed(text))
}

// progress says how far the database has followed.
type progress struct {
	Applied  uint64 // the generation of the last journal that is in the database
	Last     uint64 // the newest offset
	Reserved uint64 // no offset above it has been given out
	Floor    uint64 // the newest offset of rooms that are not known any more
	Version  uint64 // the newest one of the state
	Rooms    uint64 // how many rows there are
}

// fields returns the numbers in the order in which they are written.
func (p *progress) fields() []*uint64 {
	return []*uint64{&p.Applied, &p.Last, &p.Reserved, &p.Floor, &p.Version, &p.Rooms}
}

func readProgress(tx *bbolt.Tx) (p progress, err error) {
	text, ok := unsealed(tx.Bucket(bucketMeta).Get(keyProgress))
	if !ok || len(text) != 8*len(p.fields()) {
		return p, fmt.Errorf("%w: it does not say how far it goes", errDamaged)
	}
	for i, n := range p.fields() {
		*n = binary.BigEndian.Uint64(text[8*i:])
	}
	return p, nil
}

func (p *progress) write(tx *bbolt.Tx) error {
	return tx.Bucket(bucketMeta).Put(keyProgress, sealed(numbers(p.fields())))
}

// row is what the file knows of a room.
type row struct {
	ID     uint64
	Count  uint64 // messages in the index
	Last   uint64 // the offset of the newest message that came to the room, kept or not
	Newest uint64 // the offset of the newest one that came to the index, or of one before it
	Lost   uint64 // the newest offset of those that are not kept any more
	Mortal uint64 // messages in the index that expire by themselves
}

func (r *row) fields() []*uint64 {
	return []*uint64{&r.ID, &r.Count, &r.Last, &r.Newest, &r.Lost, &r.Mortal}
}

// readRow returns the row of a room; the zero row if there is none.
func readRow(tx *bbolt.Tx, name string) (r row, err error) {
	if v := tx.Bucket(bucketRooms).Get([]byte(name)); v != nil && !r.decode(name, v) {
		return row{}, fmt.Errorf("%w: the row of room %q cannot be read", errDamaged, name)
	}
	return r, nil
}

// decode reads the value of a room.
func (r *row) decode(name string, v []byte) bool {
	end := 8 * len(r.fields())
	if len(v) != end+4 || rowSum(name, v[:end]) != binary.BigEndian.Uint32(v[end:]) {
		return false
	}
	for i, n := range r.fields() {
		*n = binary.BigEndian.Uint64(v[8*i:])
	}
	return true
}

func (r *row) write(tx *bbolt.Tx, name string) error {
	b := numbers(r.fields())
	return tx.Bucket(bucketRooms).Put([]byte(name), binary.BigEndian.AppendUint32(b, rowSum(name, b)))
}

func rowSum(name string, b []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, b)
}

// appendLogged appends what the log has of a message: encoded is the message without its room, epoch
// and offset.
func appendLogged(b []byte, room string, id, offset uint64, encoded []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, id)
	b = binary.BigEndian.AppendUint32(b, seal(room, offset, encoded))
	return append(b, encoded...)
}

// seal is the checksum of a message together with its place, so that no other room shows it.
func seal(room string, offset uint64, encoded []byte) uint32 {
	sum := crc32.Checksum([]byte(room), castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, number(offset)), castagnoli, encoded)
}

// readLogged returns the message of a value of the log. It keeps nothing of v.
func readLogged(v []byte, room string, epoch string, offset uint64) (*hub.Message, error) {
	if len(v) < 12 || seal(room, offset, v[12:]) != binary.BigEndian.Uint32(v[8:]) {
		return nil, fmt.Errorf("%w: message %d of room %q cannot be read", errDamaged, offset, room)
	}
	m := new(hub.Message)
	if err := m.UnmarshalBinary(v[12:]); err != nil {
		return nil, fmt.Errorf("message %d of room %q: %w", offset, room, err)
	}
	m.Room, m.Position = room, hub.Position{Epoch: epoch, Offset: offset}
	return m, nil
}

// indexed is one value of the index.
type indexed struct {
	Offset  uint64
	Before  uint64 // the message before it in the room
	Expires uint64 // in microseconds; 0: it does not
}

// readIndexed reads an entry of the room's index; ok is false for one of another room, and at the end.
func readIndexed(k, v []byte, id uint64) (i indexed, ok bool) {
	if len(k) != 16 || binary.BigEndian.Uint64(k) != id || len(v) < 8 {
		return i, false
	}
	i.Offset, i.Before = binary.BigEndian.Uint64(k[8:]), binary.BigEndian.Uint64(v)
	if len(v) >= 16 {
		i.Expires = binary.BigEndian.Uint64(v[8:])
	}
	return i, true
}

// indexFrom returns a room's index from an offset on, oldest first.
func indexFrom(tx *bbolt.Tx, id, offset uint64) iter.Seq[indexed] {
	return func(yield func(indexed) bool) {
		c := tx.Bucket(bucketIndex).Cursor()
		for k, v := c.Seek(number(id, offset)); k != nil; k, v = c.Next() {
			if i, ok := readIndexed(k, v, id); !ok || !yield(i) {
				return
			}
		}
	}
}

func (i *indexed) write(tx *bbolt.Tx, id uint64) error {
	v := number(i.Before)
	if i.Expires > 0 {
		v = number(i.Before, i.Expires)
	}
	return tx.Bucket(bucketIndex).Put(number(id, i.Offset), v)
}

// expired reports whether a message of that expiry has expired.
func expired(expires uint64, now time.Time) bool {
	return expires > 0 && expires <= micros(now)
}

// micros returns a time in microseconds since 1970; 0 for the zero time, and for one before that.
func micros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMicro(), 0))
}

// cutoff returns the newest offset that is older than age, which 0 makes endless: an offset is at least the
// time of its message.
func cutoff(age time.Duration, now time.Time) uint64 {
	if age <= 0 {
		return 0
	}
	return uint64(max(now.Add(-age).UnixMicro(), 0))
}

// unlimited is how much is kept of a room of which nobody has said anything.
const unlimited = math.MaxInt
