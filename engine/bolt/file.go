package bolt

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-realtime/realtime/internal/durable"
)

// Opening and making the files.

const (
	// lockTime is how long to wait for the lock of another process.
	lockTime = time.Second
	// growBy is how much the database grows at a time, in bytes.
	growBy = 1 << 20
	// mapped is how much of the address space the database is given, in bytes: while it grows beyond that, reading
	// waits.
	mapped = 1 << 30
)

// journalPath returns the path of one of the two journals.
func journalPath(path string, i int) string { return fmt.Sprintf("%s.journal-%d", path, i) }

// openDatabase opens the database at path, and makes it if there is none. What cannot be a database of this
// package is refused: bbolt itself would begin anew in an empty file, and die of one that was cut off.
func openDatabase(path string) (db *bbolt.DB, err error) {
	defer guard(&err)()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name a file in it", path)
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty", errDamaged)
	}
	if err := checkLength(path, info.Size()); err != nil {
		return nil, err
	}
	return openFile(path, &bbolt.Options{Timeout: lockTime, InitialMmapSize: initialMap()})
}

// initialMap returns how much of the address space to give the database.
func initialMap() int {
	if runtime.GOOS == "windows" || ^uint(0)>>32 == 0 {
		return 0 // Windows would make the file that large
	}
	return mapped
}

// ErrInUse is wrapped by the errors for a file that somebody else has open.
var ErrInUse = errors.New("another process has the file open")

// openFile opens the database and says what is wrong in words.
func openFile(path string, o *bbolt.Options) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, o)
	switch {
	case err == nil:
		db.AllocSize = growBy
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w, or another hub: each hub needs a file of its own", ErrInUse)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil, err
}

// checkLength returns an error for a file that is shorter than its own pages say.
func checkLength(path string, size int64) (err error) {
	db, err := openFile(path, &bbolt.Options{ReadOnly: true, Timeout: lockTime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > size {
			return fmt.Errorf("%w: it is cut off at %d of %d bytes", errDamaged, size, tx.Size())
		}
		return nil
	})
}

// create makes an empty database, complete before it has its name.
func create(path string) (err error) {
	for i := range 2 {
		if _, err := os.Stat(journalPath(path, i)); err == nil {
			return fmt.Errorf("there is no file, but its journal %s: put the file back, or move the journal away to begin anew", journalPath(path, i))
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := removeFile(fresh); err != nil {
		return err
	}
	db, err := openFile(fresh, &bbolt.Options{Timeout: lockTime})
	if err != nil {
		return err
	}
	err = db.Update(fill)
	if err := errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return durable.Rename(fresh, path)
}

// removeFile removes a file, if it is there.
func removeFile(path string) error {
	err := os.Remove(path) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// fill makes everything that an empty database has.
func fill(tx *bbolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	now := time.Now()
	info := fileInfo{Format: format, Birth: micros(now), Created: now.UTC()}
	_, _ = rand.Read(info.ID[:]) // never fails
	epoch := make([]byte, 8)
	_, _ = rand.Read(epoch)
	info.Epoch = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(epoch))
	p := progress{Last: info.Birth, Reserved: info.Birth}
	return errors.Join(info.write(tx), p.write(tx))
}

// Open opens the file, or makes it, and brings what is in journals into the database. The errors say what to do. After one,
// nothing is open, and Open may be called again. If another engine in this process has the file open, it waits until ctx ends.
func (e *Engine) Open(ctx context.Context) error {
	release, err := claim(ctx, e.path)
	if err != nil {
		return fmt.Errorf("opening %s: %w", e.path, err)
	}
	if err := e.open(); err != nil {
		release()
		switch {
		case errors.Is(err, errDamaged):
			err = fmt.Errorf("%w: restore it from a backup, or move it away to begin anew", err)
		case isFull(err):
			err = fmt.Errorf("%w: make room on its disk; nothing that was acknowledged is lost", err)
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
			err = fmt.Errorf("%w: let the user that Caddy runs as write this file and its folder", err)
		}
		return fmt.Errorf("opening %s: %w", e.path, err)
	}
	e.release = release
	e.writing.Add(1)
	go e.write()
	e.rest.Add(3)
	go e.follow()
	go e.sync()
	counted := make(chan struct{})
	go e.count(counted)
	select {
	case <-counted:
	case <-time.After(countTime):
	}
	return nil
}

// countTime is how long Open waits for the rows to be counted. That goes on afterwards, if there are many.
const countTime = 500 * time.Millisecond

// count looks whether all rows are there. Where a row is missing, or is another room's, nobody knows which room has lost
// what it had: each without a row gets a gap.
func (e *Engine) count(done chan struct{}) {
	defer e.rest.Done()
	defer close(done)
	err := e.view(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		rows := uint64(0)
		c := tx.Bucket(bucketRooms).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			var r row
			if rows++; !r.decode(string(k), v) {
				return fmt.Errorf("%w: a room's row cannot be read", errDamaged)
			}
			if rows%1000 == 0 && e.isEnding() {
				return nil
			}
		}
		if rows != p.Rooms {
			return fmt.Errorf("%w: it has %d rooms, and should have %d", errDamaged, rows, p.Rooms)
		}
		return nil
	})
	if err != nil {
		e.unknown.Store(e.newest.Load())
		e.damaged(err)
	}
}

// isEnding reports whether the engine is being closed.
func (e *Engine) isEnding() bool {
	select {
	case <-e.ended:
		return true
	default:
		return false
	}
}

// open does so for a file that nobody else in this process has open.
func (e *Engine) open() (err error) {
	db, err := openDatabase(e.path)
	if err != nil {
		return err
	}
	e.db.Store(db)
	defer func() {
		if err == nil {
			return
		}
		for i, j := range e.journals {
			if j != nil {
				err = errors.Join(err, j.Close())
				e.journals[i] = nil
			}
		}
		err = errors.Join(err, e.closeDatabase())
	}()
	var p progress
	if err := e.view(func(tx *bbolt.Tx) (err error) {
		if e.info, err = readInfo(tx); err != nil {
			return err
		}
		p, err = readProgress(tx)
		return err
	}); err != nil {
		return err
	}
	lossy, err := e.recover(&p)
	if err != nil {
		return err
	}
	if err := e.start(p, lossy); err != nil {
		return err
	}
	e.compactIfFree()
	return e.restore()
}
