package bolt

import (
	"bytes"
	"encoding/binary"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub/values"
)

// What the engine keeps beside the logs: few values that seldom change, each change in a transaction of its own.

// storeValue stores a change of a value.
func (e *Engine) storeValue(s values.Stored) error {
	return e.update(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		p.Version = s.Version
		if err := p.write(tx); err != nil {
			return err
		}
		if len(s.Bytes) == 0 {
			return tx.Bucket(bucketState).Delete([]byte(s.Name))
		}
		b := append(number(s.Version, micros(s.Expires)), s.Bytes...)
		return tx.Bucket(bucketState).Put([]byte(s.Name), sealed(b))
	})
}

// readValue reads what storeValue has written. It keeps nothing of k and v.
func readValue(k, v []byte) (s values.Stored, ok bool) {
	b, ok := unsealed(v)
	if !ok || len(b) < 16 {
		return s, false
	}
	s = values.Stored{Name: string(k), Version: binary.BigEndian.Uint64(b), Bytes: bytes.Clone(b[16:])}
	if expires := binary.BigEndian.Uint64(b[8:]); expires > 0 {
		s.Expires = time.UnixMicro(int64(expires))
	}
	return s, true
}

// sweepState takes out the values whose time is over.
func sweepState(tx *bbolt.Tx, now time.Time) error {
	var dead [][]byte
	b := tx.Bucket(bucketState)
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if s, ok := readValue(k, v); ok && !s.Expires.IsZero() && !now.Before(s.Expires) {
			dead = append(dead, bytes.Clone(k))
		}
	}
	for _, k := range dead {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
