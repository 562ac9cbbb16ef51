package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/internal/durable"
)

// What replaces or copies the whole database while the engine is in use.

const (
	// compactAt is the size of a file, in bytes, from which it is compacted at its start, if half of it is free.
	compactAt = 16 << 20
	// compactStep is how much of a compaction is one transaction, in bytes.
	compactStep = 1 << 20
)

// task is something for the follower to do when the database has everything that was published, so that nothing changes
// meanwhile but the state.
type task struct {
	do   func() error
	done chan error // of capacity 1
}

// alone waits until nothing else copies or replaces the database, or changes much of it: these would hold up one
// another, and with that all readers.
func (e *Engine) alone(ctx context.Context) (release func(), err error) {
	select {
	case e.exclusive <- struct{}{}:
		return func() { <-e.exclusive }, nil
	case <-e.stopping:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// maintain has the follower do something. It returns its error, or that of ctx if it has not begun.
func (e *Engine) maintain(ctx context.Context, do func() error) error {
	t := task{do, make(chan error, 1)}
	select {
	case e.tasks <- t:
		return <-t.done
	case <-e.stopping:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run does a task, unless something could not be brought into the database.
func (e *Engine) run(t task) {
	if len(e.behind) > 0 {
		t.done <- full(e.Health().Err)
		return
	}
	t.done <- e.safely(t.do)
}

// Compact writes the database anew without what is free, and returns its size in bytes before and afterwards. What is published meanwhile waits in the
// journal, and is delivered and answered. It needs as much of the disk as is in use.
func (e *Engine) Compact(ctx context.Context) (before, after int64, err error) {
	release, err := e.alone(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer release()
	err = e.maintain(ctx, func() error {
		before, after, err = e.compact()
		return err
	})
	return before, after, err
}

// compact does so on the follower, or before it runs.
func (e *Engine) compact() (before, after int64, err error) {
	defer guard(&err)()
	e.changes.Lock()
	defer e.changes.Unlock()
	fresh := e.path + ".compact"
	if err := removeFile(fresh); err != nil {
		return 0, 0, err
	}
	old := e.db.Load()
	db, err := openFile(fresh, &bbolt.Options{Timeout: lockTime, InitialMmapSize: initialMap(), NoSync: true})
	if err != nil {
		return 0, 0, err
	}
	if err = bbolt.Compact(db, old, compactStep); err == nil {
		db.NoSync = false
		err = db.Sync()
	}
	if err == nil {
		before, after = sizeOf(old), sizeOf(db)
	}
	if err == nil {
		err = durable.Rename(fresh, e.path) // which has its lock already
	}
	if err != nil {
		return 0, 0, errors.Join(full(err), db.Close(), removeFile(fresh))
	}
	e.swap.Lock() // when nobody reads the old one any more
	defer e.swap.Unlock()
	e.db.Store(db)
	return before, after, old.Close()
}

// sizeOf returns how many bytes a database has that is open.
func sizeOf(db *bbolt.DB) (size int64) {
	_ = db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil }) // which fails only if it is closed
	return size
}

// compactIfFree compacts a large file of which half is free. If that fails, nothing has changed.
func (e *Engine) compactIfFree() {
	if used, size, err := e.usage(); err != nil || size < compactAt || used > size/2 {
		return
	}
	if before, after, err := e.compact(); err != nil {
		e.log.Warn("the file stays as large as it is", "file", e.path, "error", err)
	} else {
		e.log.Info("the file is compacted", "file", e.path, "before", before, "after", after)
	}
}

// Backup writes a copy of the database to w, with everything that was published before the call. The engine is in use
// meanwhile; Compact, Erase and Import wait. A copy that is put in place of the file has a gap in every room, since what came after it is missing.
func (e *Engine) Backup(ctx context.Context, w io.Writer) (err error) {
	release, err := e.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := e.maintain(ctx, func() error { return nil }); err != nil {
		return err
	}
	return e.view(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(contextWriter{ctx, w})
		return err
	})
}

// contextWriter is a writer that fails when the context has ended.
type contextWriter struct {
	ctx context.Context
	io.Writer
}

func (w contextWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(b)
}

// Erase takes every message of a user out of all rooms, for good: it compacts the database then, and empties the journals, so
// that nothing is left in the files. Other messages keep their offsets, and nobody gets a gap. It returns how many messages
// there were.
func (e *Engine) Erase(ctx context.Context, user string) (erased int, err error) {
	release, err := e.alone(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	err = e.maintain(ctx, func() error {
		for from := uint64(0); ; {
			n, next, err := e.eraseSome(user, from)
			if erased += n; err != nil {
				return err
			}
			if from = next; from == 0 {
				break
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%w: some messages are left, and the file has not been compacted", err)
			}
		}
		if _, _, err := e.compact(); err != nil {
			return fmt.Errorf("compacting the file, which still has what was erased in free pages: %w", err)
		}
		return e.scrub()
	})
	return erased, err
}

// eraseSome looks at some messages from an offset on, and returns where to go on; 0: at the end.
func (e *Engine) eraseSome(user string, from uint64) (erased int, next uint64, err error) {
	err = e.update(func(tx *bbolt.Tx) error {
		var dead []place
		seen := 0
		c := tx.Bucket(bucketLog).Cursor()
		for k, v := c.Seek(number(from)); len(k) == 8; k, v = c.Next() {
			if seen++; seen > trimAtOnce {
				next = binary.BigEndian.Uint64(k)
				break
			}
			p, ok := readPlace(tx, k, v)
			if !ok {
				continue // check lists it
			}
			m, err := readLogged(v, p.name, e.info.Epoch, p.offset)
			if err == nil && m.IsFrom(user) {
				dead = append(dead, p)
			}
		}
		for _, p := range dead {
			if err := expireIn(tx, p.name, p.offset); err != nil {
				return err
			}
		}
		erased = len(dead)
		return nil
	})
	return erased, next, err
}

// scrub empties both journals, which the database has.
func (e *Engine) scrub() error {
	for range e.journals {
		var batch []*entry
		var before uint64
		err := e.onWriter(func() (err error) {
			before = e.generation
			if err = e.journals[(before+1)%2].Clear(); err == nil {
				batch, err = e.begin(before + 1)
			}
			return err
		})
		if err == nil {
			err = e.bring(batch, before)
		}
		if err != nil {
			e.behind = batch // the follower tries again
			return err
		}
	}
	return nil
}
