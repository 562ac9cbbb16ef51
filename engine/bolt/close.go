package bolt

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"
)

// sync is the syncer: it brings the journals to the disk as often as the options say.
func (e *Engine) sync() {
	defer e.rest.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.ended:
			return
		case <-timer.C:
		}
		e.syncOnce()
		timer.Reset(cmp.Or(e.options.Load().Sync, followEvery))
	}
}

// syncOnce brings the journals to the disk, if anything was appended.
func (e *Engine) syncOnce() {
	defer e.survive(nil)
	if !e.unsync.Swap(false) {
		return
	}
	for _, j := range e.journals {
		if err := j.Sync(); err != nil {
			e.broken(err)
			return
		}
	}
}

// close ends the goroutines, brings what is left into the database, and notes that this is an end in order.
func (e *Engine) close() (err error) {
	e.keys.Close()
	e.values.Close()
	e.entering.Lock()
	e.shut = true
	e.entering.Unlock()
	close(e.stopping)
	if e.release == nil { // it is not open
		return nil
	}
	defer e.release()
	e.writing.Wait()
	close(e.ended)
	e.rest.Wait()
	err = e.finish()
	for i, j := range e.journals {
		err = errors.Join(err, j.Close())
		if err == nil {
			err = removeFile(journalPath(e.path, i))
		}
	}
	return errors.Join(err, e.closeDatabase())
}

// finish brings what is left into the database.
func (e *Engine) finish() (err error) {
	defer guard(&err)()
	if err := e.bringBehind(); err != nil {
		return err // it is in the journals
	}
	batch, err := e.cut()
	if err == nil && len(batch) > 0 {
		err = e.bring(batch, batch[0].generation)
	}
	if err != nil {
		return err
	}
	return e.update(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		p.Last = max(p.Last, e.last)
		p.Reserved, p.Floor = p.Last, max(p.Floor, e.unknown.Load())
		info := e.info
		info.Open = nil
		return errors.Join(info.write(tx), p.write(tx))
	})
}

// closeDatabase closes the database, unless a panic has left it so that it would wait for itself.
func (e *Engine) closeDatabase() error {
	done := make(chan error, 1)
	go func() { done <- e.db.Load().Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("the file cannot be closed")
	}
}

// claims are the files that are open in this process: the lock of the file does not say who waits for whom.
var claims = struct {
	sync.Mutex
	open map[string]chan struct{} // closed when it is given back
}{open: make(map[string]chan struct{})}

// claim waits until nobody else in this process has the file open, or ctx ends.
func claim(ctx context.Context, path string) (release func(), err error) {
	for {
		claims.Lock()
		other := claims.open[path]
		if other == nil {
			own := make(chan struct{})
			claims.open[path] = own
			claims.Unlock()
			return sync.OnceFunc(func() {
				claims.Lock()
				defer claims.Unlock()
				delete(claims.open, path)
				close(own)
			}), nil
		}
		claims.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, errors.New("another hub of this process has the file open: each hub needs a file of its own; to give a hub another name, stop Caddy first")
		}
	}
}
