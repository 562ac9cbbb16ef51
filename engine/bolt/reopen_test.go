package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/engine/bolt/journal"
	"github.com/caddy-realtime/realtime/hub"
)

var interval = Options{Sync: 100 * time.Millisecond}

// After an end in order everything is there, and nobody who has read all gets a gap.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "rooms.db")
	e := opened(t, path, interval)
	begin := use(t, e, "r", 100)
	empty := use(t, e, "empty", 100)
	first := publish(t, e, "r", "1")
	last := publish(t, e, "r", "2", "3")
	closed(t, e)
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("after an end in order there are %q", left)
	}

	e = opened(t, path, interval)
	equal(t, "all", after(t, e, "r", begin), texts(1, 3)...)
	equal(t, "the rest", after(t, e, "r", first), texts(2, 3)...)
	equal(t, "nothing", after(t, e, "r", last))
	equal(t, "an empty room", after(t, e, "empty", empty))
	if tail := use(t, e, "r", 100); tail != last {
		t.Errorf("the room ends at %v, want %v", tail, last)
	}
	if next := publish(t, e, "r", "4"); next.Epoch != last.Epoch || next.Offset <= last.Offset {
		t.Errorf("%v after %v", next, last)
	}
}

// What an idempotency key was answered, and the state, outlive the process.
func TestReceiptsAndStateSurvive(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Engine) string{
		"in order": func(t *testing.T, e *Engine) string { closed(t, e); return e.path },
		"killed":   func(t *testing.T, e *Engine) string { return killed(t, e) },
	} {
		t.Run(name, func(t *testing.T) {
			e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
			use(t, e, "r", 1)
			draft := func(text string, print byte) hub.Draft {
				return hub.Draft{Message: &hub.Message{Room: "r", Data: []byte(text)}, Scope: "a key", Print: [16]byte{print}}
			}
			first, err := e.Publish(t.Context(), draft("1", 1))
			if err != nil {
				t.Fatal(err)
			}
			publish(t, e, "r", "2", "3") // the room does not keep the first any more
			version, err := e.State().Set(t.Context(), "name", []byte("value"), 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			e = opened(t, end(t, e), interval)
			if r, err := e.Publish(t.Context(), draft("1", 1)); r.Position != first.Position || !r.Replayed || err != nil {
				t.Errorf("%+v, %v; want that of %v", r, err, first.Position)
			}
			if _, err := e.Publish(t.Context(), draft("1", 2)); !errors.Is(err, hub.ErrKeyReused) {
				t.Errorf("another message under the key: %v", err)
			}
			if b, v, err := e.State().Get(t.Context(), "name"); string(b) != "value" || v != version || err != nil {
				t.Errorf("%q of version %d, %v", b, v, err)
			}
		})
	}
}

// After the death of the process nothing that was answered is missing, and nobody gets a gap: be it only in the
// journal, or in both, or cut off within what was being written.
func TestKilled(t *testing.T) {
	for _, test := range []struct {
		name string
		boot func(testing.TB)
		sync time.Duration
		gap  bool
	}{
		{"same boot", func(testing.TB) {}, time.Minute, false},
		{"same boot, always", func(testing.TB) {}, 0, false},
		{"another boot", otherBoot, time.Minute, true},
		{"another boot, always", otherBoot, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			still(t, func(t *testing.T) {
				e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), Options{Sync: test.sync})
				begin := use(t, e, "r", 100)
				unused := use(t, e, "unused", 100)
				publish(t, e, "r", texts(1, 3)...)
				followed(t, e)
				last := publish(t, e, "r", texts(4, 6)...)
				path := killed(t, e)
				test.boot(t)
				e = opened(t, path, Options{Sync: test.sync})
				publish(t, e, "r", "7")
				publish(t, e, "unused", "8")
				want, rest, others := texts(1, 7), texts(7, 7), texts(8, 8)
				if test.gap {
					want = append(append(texts(1, 6), "gap epoch"), "7")
					rest, others = append([]string{"gap epoch"}, rest...), append([]string{"gap epoch"}, others...)
				}
				equal(t, "all", after(t, e, "r", begin), want...)
				equal(t, "the rest", after(t, e, "r", last), rest...)
				equal(t, "another room", after(t, e, "unused", unused), others...)
			})
		})
	}
}

// A loss of power in the middle of a transaction, some of whose pages are on the disk already, leaves the database as it was
// before that. The journal has the rest.
func TestPowerLossInATransaction(t *testing.T) {
	still(t, func(t *testing.T) {
		e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), Options{})
		begin := use(t, e, "r", 1000)
		for i := range 20 {
			publish(t, e, "r", texts(10*i, 10*i+9)...)
			followed(t, e)
		}
		publish(t, e, "r", texts(200, 299)...)
		before := killed(t, e)
		followed(t, e)
		later, err := os.ReadFile(killed(t, e))
		if err != nil {
			t.Fatal(err)
		}
		otherBoot(t)
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 20 {
			path := filepath.Join(t.TempDir(), "rooms.db")
			for _, suffix := range []string{"", ".journal-0", ".journal-1"} {
				copyFile(t, before+suffix, path+suffix)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, make([]byte, max(0, len(later)-len(b)))...)
			for at := 2 * 4096; at+4096 <= len(later); at += 4096 { // the last page written says that the others are
				if rnd.IntN(2) == 0 {
					copy(b[at:at+4096], later[at:])
				}
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			again := opened(t, path, Options{})
			equal(t, "read", after(t, again, "r", begin), texts(0, 299)...)
			closed(t, again)
		}
	})
}

// A journal that is cut off within its last frame has everything before that. It was not answered.
func TestTornJournal(t *testing.T) {
	still(t, func(t *testing.T) {
		e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
		begin := use(t, e, "r", 100)
		publish(t, e, "r", "1", "2")
		before := e.journals[e.generation%2].Size()
		publish(t, e, "r", "3")
		whole := e.journals[e.generation%2].Size()
		path := killed(t, e)
		for size := before; size < whole; size++ {
			torn := filepath.Join(t.TempDir(), "rooms.db")
			for _, suffix := range []string{"", ".journal-0", ".journal-1"} {
				copyFile(t, path+suffix, torn+suffix)
			}
			if err := os.Truncate(journalPath(torn, int(e.generation%2)), size); err != nil {
				t.Fatal(err)
			}
			again := opened(t, torn, interval)
			use(t, again, "r", 100)
			publish(t, again, "r", "4")
			equal(t, "read", after(t, again, "r", begin), "1", "2", "4")
			closed(t, again)
		}
	})
}

// A journal that is damaged before its end loses what follows, and everybody gets a gap.
func TestDamagedJournal(t *testing.T) {
	for _, test := range []struct {
		name string
		at   int64 // from the beginning of the second frame
		want []string
	}{
		{"in a head", 5, []string{"1", "gap epoch", "9"}},
		{"in a payload", 40, []string{"1", "gap epoch", "9"}},
		{"in the header", -1, []string{"gap epoch", "9"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			still(t, func(t *testing.T) {
				e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
				begin := use(t, e, "r", 100)
				publish(t, e, "r", "1")
				at := e.journals[e.generation%2].Size() + test.at
				publish(t, e, "r", "2")
				publish(t, e, "r", "3")
				path, slot := killed(t, e), int(e.generation%2)
				if test.at < 0 {
					at = 3
				}
				b, err := os.ReadFile(journalPath(path, slot))
				if err == nil {
					b[at] ^= 0xff
					err = os.WriteFile(journalPath(path, slot), b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				e = opened(t, path, interval)
				publish(t, e, "r", "9")
				equal(t, "read", after(t, e, "r", begin), test.want...)
			})
		})
	}
}

// A backup that is restored ends earlier than what clients have seen: they get a gap, whatever journals are still there.
func TestRestoredBackup(t *testing.T) {
	for name, journals := range map[string]bool{"alone": false, "with the journals of later": true} {
		t.Run(name, func(t *testing.T) {
			still(t, func(t *testing.T) {
				e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
				use(t, e, "r", 100)
				early := publish(t, e, "r", "1")
				followed(t, e)
				backup := killed(t, e)
				for range 3 {
					publish(t, e, "r", "2")
					followed(t, e)
				}
				late := publish(t, e, "r", "3")
				now := killed(t, e)
				for i := range 2 {
					if journals {
						copyFile(t, journalPath(now, i), journalPath(backup, i))
					} else if err := os.Remove(journalPath(backup, i)); err != nil {
						t.Fatal(err)
					}
				}
				e = opened(t, backup, interval)
				next := publish(t, e, "r", "9")
				if next.Offset <= late.Offset {
					t.Errorf("%v was given before %v", next, late)
				}
				equal(t, "who has seen later", after(t, e, "r", late), "gap epoch", "9")
				equal(t, "who has not", after(t, e, "r", early), "gap epoch", "9")
			})
		})
	}
}

// The death of the process in the middle of a start loses nothing.
func TestKilledWhileStarting(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 100)
	publish(t, e, "r", texts(1, 3)...)
	path := killed(t, e)
	for name, steps := range map[string]func(e *Engine, p *progress) error{
		"after bringing the journal into the database": func(e *Engine, p *progress) error {
			_, err := e.recover(p)
			return err
		},
		"before the new journal is there": func(e *Engine, p *progress) error {
			lossy, err := e.recover(p)
			broken := errors.New("killed")
			e.path += "/nowhere" // which stops it between the two transactions
			if err = errors.Join(err, e.start(*p, lossy)); err == nil {
				return broken
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			half := filepath.Join(t.TempDir(), "rooms.db")
			for _, suffix := range []string{"", ".journal-0", ".journal-1"} {
				copyFile(t, path+suffix, half+suffix)
			}
			dying := New(half, interval, slog.New(slog.DiscardHandler))
			db, err := openDatabase(half)
			if err != nil {
				t.Fatal(err)
			}
			dying.db.Store(db)
			var p progress
			err = dying.view(func(tx *bbolt.Tx) (err error) {
				if dying.info, err = readInfo(tx); err == nil {
					p, err = readProgress(tx)
				}
				return err
			})
			if err = errors.Join(err, steps(dying, &p), db.Close()); err != nil {
				t.Fatal(err)
			}
			again := opened(t, half, interval)
			use(t, again, "r", 100)
			publish(t, again, "r", "4")
			equal(t, "read", after(t, again, "r", begin), texts(1, 4)...)
		})
	}
}

// A clock that is set back gives no offset again.
func TestClockSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	var late hub.Position
	synctest.Test(t, func(t *testing.T) {
		advance(time.Hour)
		e := New(path, interval, slog.New(slog.DiscardHandler))
		if err := e.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		late = publish(t, e, "r", "1")
		closed(t, e)
	})
	synctest.Test(t, func(t *testing.T) { // an hour earlier
		e := New(path, interval, slog.New(slog.DiscardHandler))
		if err := e.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer closed(t, e)
		if next := publish(t, e, "r", "2"); next.Offset <= late.Offset {
			t.Errorf("%v after %v", next, late)
		}
	})
}

// Whatever bytes of a journal's entries are, reading them ends.
func FuzzEntries(f *testing.F) {
	r := &room{name: "r"}
	b, err := (&hub.Message{Data: []byte("1")}).AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []*entry{
		{room: r, offset: 1},
		{room: r, offset: 2, encoded: b},
		{room: r, offset: 3, encoded: b, receipt: &receipt{time: 5}},
	} {
		f.Add(appendEntry(nil, n))
	}
	f.Add(binary.AppendUvarint([]byte("\x0012345678"), 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := New("", interval, slog.New(slog.DiscardHandler))
		entries, err := e.readEntries(journal.Contents{Frames: [][]byte{b}})
		if err != nil {
			return
		}
		var again []byte
		for _, n := range entries {
			again = appendEntry(again, n)
		}
		if len(again) > len(b) { // lengths may be written in more bytes than need be
			t.Errorf("%q is read as %q", b, again)
		}
	})
}

// Whoever publishes while the engine is closed gets an answer, and what was acknowledged is there.
func TestCloseWhilePublishing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	e := New(path, interval, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := hub.Position{Epoch: e.info.Epoch, Offset: e.info.Birth}
	var all sync.WaitGroup
	var acknowledged atomic.Int64
	started := make(chan struct{}, 16)
	for range 16 {
		all.Go(func() {
			for n := 0; ; n++ {
				_, err := e.Publish(context.Background(), hub.Draft{Message: &hub.Message{Room: "r", Data: []byte("x")}})
				if err != nil {
					if !errors.Is(err, hub.ErrUnavailable) {
						t.Error(err)
					}
					return
				}
				acknowledged.Add(1)
				if n == 100 {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	closed(t, e)
	all.Wait()
	e = opened(t, path, interval)
	if n := len(after(t, e, "r", begin)); int64(n) != acknowledged.Load() {
		t.Errorf("%d messages are there, %d were acknowledged", n, acknowledged.Load())
	}
}
