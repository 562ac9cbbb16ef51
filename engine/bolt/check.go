package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// Report is what Check has found in a file.
type Report struct {
	Format   int
	Created  time.Time
	Epoch    string
	Rooms    int
	Messages int
	Bytes    int64    // of the file that are in use
	Clean    bool     // it was closed in order; otherwise its journals belong to it
	Damage   []string // what is damaged, at most 100
	More     int      // how much more is
}

// maxDamage is how many of them a report has.
const maxDamage = 100

func (r *Report) add(format string, args ...any) {
	if len(r.Damage) == maxDamage {
		r.More++
		return
	}
	r.Damage = append(r.Damage, fmt.Sprintf(format, args...))
}

// Check reads everything in a database that nobody has open, and changes nothing. progress is told now and then how many
// messages it has read. The error is for a file that cannot be opened, such as [ErrInUse]; what is damaged in one that can be is in the report.
func Check(ctx context.Context, path string, progress func(messages int)) (r Report, err error) {
	defer guard(&err)()
	info, err := os.Stat(path)
	if err != nil {
		return r, err
	}
	if info.Size() == 0 {
		return r, fmt.Errorf("%w: it is empty", errDamaged)
	}
	if err := checkLength(path, info.Size()); err != nil {
		return r, err
	}
	db, err := openFile(path, &bbolt.Options{ReadOnly: true, Timeout: lockTime, PreLoadFreelist: true})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	c := checking{ctx: ctx, report: &r, progress: progress}
	err = db.View(func(tx *bbolt.Tx) error {
		i, err := readInfo(tx)
		if err != nil {
			return err
		}
		r.Format, r.Epoch, r.Created, r.Clean = i.Format, i.Epoch, i.Created, i.Open == nil
		r.Bytes = tx.Size() - int64(db.Stats().FreePageN)*int64(db.Info().PageSize)
		for err := range tx.Check() {
			r.add("a page: %v", err)
		}
		if len(r.Damage) > 0 {
			return nil // whatever follows might not end
		}
		return c.all(tx, i.Epoch)
	})
	return r, err
}

// checking is a Check that is under way.
type checking struct {
	ctx      context.Context
	report   *Report
	progress func(int)
	indexed  int
}

// all reads all rooms, and looks whether the log has anything else.
func (c *checking) all(tx *bbolt.Tx, epoch string) error {
	p, err := readProgress(tx)
	if err != nil {
		return err
	}
	rooms := tx.Bucket(bucketRooms).Cursor()
	for k, v := rooms.First(); k != nil; k, v = rooms.Next() {
		c.report.Rooms++
		var r row
		if !r.decode(string(k), v) {
			c.report.add("the row of room %q cannot be read", k)
			continue
		}
		if name := tx.Bucket(bucketNames).Get(number(r.ID)); string(name) != string(k) {
			c.report.add("room %q has the number %d, which belongs to %q", k, r.ID, name)
		}
		if err := c.room(tx, epoch, string(k), r); err != nil {
			return err
		}
	}
	if uint64(c.report.Rooms) != p.Rooms {
		c.report.add("there are %d rooms, and should be %d", c.report.Rooms, p.Rooms)
	}
	strays := -c.indexed
	log := tx.Bucket(bucketLog).Cursor()
	for k, _ := log.First(); k != nil; k, _ = log.Next() {
		strays++
	}
	if strays > 0 {
		c.report.add("%d messages belong to no room", strays)
	}
	return nil
}

// room reads all messages of a room.
func (c *checking) room(tx *bbolt.Tx, epoch, name string, r row) error {
	before, count := r.Lost, uint64(0)
	for i := range indexFrom(tx, r.ID, 0) {
		if i.Before > before {
			c.report.add("message %d of room %q is missing", i.Before, name)
		}
		before = i.Offset
		count++
		value := tx.Bucket(bucketLog).Get(number(i.Offset))
		if value != nil {
			c.indexed++
		}
		if _, err := readLogged(value, name, epoch, i.Offset); err != nil {
			c.report.add("%v", err)
		}
		if c.report.Messages++; c.report.Messages%10_000 == 0 {
			c.progress(c.report.Messages)
			if err := c.ctx.Err(); err != nil {
				return err
			}
		}
	}
	if count != r.Count || r.Newest > before {
		c.report.add("room %q has %d messages up to %d, and should have %d up to %d", name, count, before, r.Count, r.Newest)
	}
	return nil
}
