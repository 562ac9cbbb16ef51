package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/engine/bolt/journal"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/receipts"
	"github.com/caddy-realtime/realtime/hub/values"
	"github.com/caddy-realtime/realtime/internal/durable"
)

// What opening a file does with what the end before has left.

// bootFile says which start of the machine this is, on Linux. It is a variable for tests.
var bootFile = "/proc/sys/kernel/random/boot_id"

// boot returns which start of the machine this is; empty if that cannot be known.
func boot() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// recover brings the journals into the database, which p describes. lossy says that what was answered may be
// missing. After an end in order there is nothing to do.
func (e *Engine) recover(p *progress) (lossy bool, err error) {
	was := e.info.Open
	if was == nil || !was.Begun { // nothing has been published since
		return false, nil
	}
	var contents [2]journal.Contents
	for i := range contents {
		if contents[i], err = journal.Read(journalPath(e.path, i), e.info.ID); err != nil && !errors.Is(err, journal.ErrNone) {
			return false, err
		}
	}
	sameBoot := was.Boot != "" && was.Boot == boot()
	lossy = !sameBoot && !was.Always
	why, count := "the machine was not shut down in order", 0
	next := p.Applied + 1
	for ; contents[next%2].Generation == next; next++ {
		c := contents[next%2]
		if next > p.Applied+1 && c.After != contents[(next-1)%2].Sum {
			lossy, why = true, "the end of its journal is missing or damaged"
			break
		}
		entries, err := e.readEntries(c)
		if err == nil {
			err = e.applyAll(entries)
		}
		if err != nil {
			return false, fmt.Errorf("bringing the journal into the file: %w", err)
		}
		count += len(entries)
		if c.Damaged {
			lossy, why = true, "its journal is damaged"
		}
	}
	if next == p.Applied+1 && !lossy { // the one that was written is always there
		lossy, why = true, "its journal is missing or damaged"
	}
	if lossy {
		e.log.Error("messages may be lost, so every room has a gap", "file", e.path, "reason", why, "recovered", count)
	} else {
		e.log.Info("the file was not closed in order, and nothing is lost", "file", e.path, "recovered", count)
	}
	if err := e.view(func(tx *bbolt.Tx) (err error) { *p, err = readProgress(tx); return err }); err != nil {
		return false, err
	}
	p.Applied = next - 1
	return lossy, nil
}

// applyAll brings the entries of one journal into the database, some at a time. The journal still counts: who begins again after
// a death in the middle of it finds what is there already.
func (e *Engine) applyAll(entries []*entry) error {
	for len(entries) > 0 {
		part := entries[:min(len(entries), trimAtOnce)]
		entries = entries[len(part):]
		err := e.update(func(tx *bbolt.Tx) error {
			if part = newer(tx, part); len(part) == 0 {
				return nil
			}
			return e.apply(tx, part, 0, time.Now())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newer returns the entries that the database does not have yet.
func newer(tx *bbolt.Tx, entries []*entry) []*entry {
	p, err := readProgress(tx)
	for err == nil && len(entries) > 0 && entries[0].offset <= p.Last {
		entries = entries[1:]
	}
	return entries
}

// errEntry is returned for a frame with a good checksum that nothing here has written.
var errEntry = fmt.Errorf("%w: its journal has an entry that cannot be read", errDamaged)

// readEntries returns the entries of a journal.
func (e *Engine) readEntries(c journal.Contents) (entries []*entry, err error) {
	rooms := make(map[string]*room)
	for _, b := range c.Frames {
		for len(b) > 0 {
			n, name, rest, ok := readEntry(b)
			if !ok {
				return nil, errEntry
			}
			if rooms[name] == nil {
				rooms[name] = &room{name: name}
			}
			n.room, n.generation = rooms[name], c.Generation
			entries, b = append(entries, n), rest
		}
	}
	return entries, nil
}

// readEntry reads what appendEntry has written.
func readEntry(b []byte) (n *entry, room string, rest []byte, ok bool) {
	if len(b) < 9 {
		return nil, "", nil, false
	}
	kind := b[0]
	n = &entry{offset: binary.BigEndian.Uint64(b[1:])}
	name, b, ok := readText(b[9:])
	if !ok {
		return nil, "", nil, false
	}
	if kind&entryReceipt != 0 {
		if len(b) < 40 {
			return nil, "", nil, false
		}
		r := &receipt{time: binary.BigEndian.Uint64(b[32:])}
		copy(r.scope[:], b)
		copy(r.print[:], b[16:])
		n.receipt, b = r, b[40:]
	}
	if kind&entryMessage != 0 {
		if n.encoded, b, ok = readText(b); !ok {
			return nil, "", nil, false
		}
		var m hub.Message
		if m.UnmarshalBinary(n.encoded) != nil {
			return nil, "", nil, false
		}
		n.expires = micros(m.Expires)
	}
	return n, string(name), b, true
}

// readText reads bytes after their length.
func readText(b []byte) (text, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	return b[used : used+int(n)], b[used+int(n):], true
}

// start begins a run: it notes that the file is open, and where offsets go on.
func (e *Engine) start(p progress, lossy bool) error {
	end := p.Last
	e.last = max(end, micros(time.Now()))
	if lossy {
		e.last = max(e.last, p.Reserved)
	}
	if e.last > end {
		e.info.Runs = append(e.info.Runs, run{End: end, Begin: e.last, Lossy: lossy})
	}
	p.Reserved, p.Last = e.last+ahead, e.last
	e.reserve(p.Reserved)
	e.generation = p.Applied + 1
	e.always.Store(e.options.Load().Sync == 0)
	e.info.Open = &opening{Boot: boot(), Always: e.always.Load()}
	e.newest.Store(e.last)
	e.removed.Store(p.Applied)
	// The journals count until this is done, and the new one after the next transaction.
	if err := e.update(func(tx *bbolt.Tx) error { return errors.Join(e.info.write(tx), p.write(tx)) }); err != nil {
		return err
	}
	for i := range e.journals {
		j, err := journal.Open(journalPath(e.path, i))
		if err != nil {
			return err
		}
		e.journals[i] = j
	}
	current := e.journals[e.generation%2]
	if err := errors.Join(current.Begin(e.info.ID, e.generation, 0), current.Sync(), durable.SyncFolder(filepath.Dir(e.path))); err != nil {
		return fmt.Errorf("making the journal: %w", full(err))
	}
	return e.mark(opening{Boot: boot(), Always: e.always.Load(), Begun: true})
}

// mark notes how the file is open.
func (e *Engine) mark(o opening) error {
	e.info.Open = &o
	return e.update(e.info.write)
}

// restore brings receipts and the state into memory.
func (e *Engine) restore() error {
	now := time.Now()
	return e.view(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		c := tx.Bucket(bucketReceipts).Cursor()
		for k, v := c.Seek(number(cutoff(receipts.Lifetime, now))); len(k) == 8; k, v = c.Next() {
			r, ok := readReceipt(v)
			age := now.Sub(time.UnixMicro(int64(r.time)))
			if !ok || age >= receipts.Lifetime {
				continue
			}
			position := hub.Position{Epoch: e.info.Epoch, Offset: binary.BigEndian.Uint64(k)}
			e.keys.Restore(string(r.scope[:]), r.print, hub.Receipt{Position: position, Time: time.UnixMicro(int64(r.time))}, max(age, 0))
		}
		var all []values.Stored
		c = tx.Bucket(bucketState).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			s, ok := readValue(k, v)
			if !ok {
				return fmt.Errorf("%w: the value %q of the state cannot be read", errDamaged, k)
			}
			all = append(all, s)
		}
		e.values.Restore(p.Version, all...)
		return nil
	})
}
