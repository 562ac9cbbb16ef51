package bolt

import (
	"context"
	"slices"

	bbolt "go.etcd.io/bbolt"
)

// Rooms implements [hub.Lister].
func (e *Engine) Rooms(ctx context.Context, after string, limit int) ([]string, error) {
	// First those in memory: whatever has left it when the transaction begins is in the database.
	names := e.freshRooms(after)
	err := e.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketRooms).Cursor()
		k, v := c.Seek([]byte(after))
		for n := 0; k != nil && n < limit; k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := string(k)
			var r row
			if name == after || r.decode(name, v) && r.Count == 0 {
				continue
			}
			names = append(names, name)
			n++
		}
		return nil
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, e.failed(err)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(limit, len(names))], nil
}

// freshRooms returns the rooms behind a name that have messages which the database may not have.
func (e *Engine) freshRooms(after string) (names []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for name, r := range e.rooms {
		if name <= after {
			continue
		}
		r.mu.Lock()
		if len(r.fresh) > 0 {
			names = append(names, name)
		}
		r.mu.Unlock()
	}
	return names
}
