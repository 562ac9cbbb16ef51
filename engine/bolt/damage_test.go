package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
)

// filled makes a file with many rooms, each message saying which room it is for, and returns the path, and a cursor
// before all of them.
func filled(t *testing.T) (path string, begin hub.Position) {
	t.Helper()
	e := New(filepath.Join(t.TempDir(), "filled.db"), interval, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin = use(t, e, "begin", 1)
	for i := range 400 {
		room := fmt.Sprint("room", i%40)
		publish(t, e, room, fmt.Sprint(room, " ", i, strings.Repeat(".", 100)))
		if i%100 == 50 {
			followed(t, e)
		}
	}
	closed(t, e)
	return e.path, begin
}

// used returns the part of a file that is in use.
func used(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		b = b[:tx.Size()]
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll reads all rooms of a file that may be damaged, and publishes in them. It checks that what is shown is right, and
// that what is missing is in a gap, if the file is opened at all.
func readAll(t *testing.T, path string, begin hub.Position) (opened bool, gaps int) {
	t.Helper()
	e := New(path, interval, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		return false, 0
	}
	// It may not be possible to write it, so an error says nothing.
	defer func() { _ = e.Close(context.Background()) }()
	for i := range 40 {
		room := fmt.Sprint("room", i)
		_, _ = e.Publish(t.Context(), hub.Draft{Message: &hub.Message{Room: room, Data: fmt.Appendf(nil, "%s new", room)}})
		seen, gap, at := 0, false, begin
		for n := 0; ; n++ {
			page, err := e.Read(t.Context(), room, hub.Query{After: at, Limit: 5})
			if err != nil {
				gap = true // the reader knows
				break
			}
			gap = gap || page.Gap != nil
			for _, m := range page.Messages {
				if seen++; !strings.HasPrefix(string(m.Data), room+" ") {
					t.Fatalf("%s shows %q", room, m.Data)
				}
			}
			if at = page.Cursor; !page.More {
				break
			}
			if n > 100 {
				t.Fatalf("the log of %s does not end", room)
			}
		}
		if gap {
			gaps++
		} else if seen < 10 {
			t.Errorf("%s shows %d messages, and no gap", room, seen)
		}
	}
	return true, gaps
}

// A file that is damaged somewhere is refused, or shows what is right, with gaps where something is missing. It ends no
// process.
func TestDamagedFile(t *testing.T) {
	path, begin := filled(t)
	whole := used(t, path)
	if ok, gaps := readAll(t, path, begin); !ok || gaps > 0 {
		t.Fatalf("opened: %v, %d gaps, without any damage", ok, gaps)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, damage := range map[string]func(b []byte) []byte{
		"cut off": func(b []byte) []byte { return b[:rnd.IntN(len(b))] },
		"64 bytes overwritten": func(b []byte) []byte {
			at := rnd.IntN(len(b) - 64)
			for i := range 64 {
				b[at+i] = byte(rnd.Uint32())
			}
			return b
		},
		"a page of zeros": func(b []byte) []byte {
			at := rnd.IntN(len(b)/4096) * 4096
			clear(b[at : at+4096])
			return b
		},
		"one bit": func(b []byte) []byte {
			b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			refused, gaps, fine := 0, 0, 0
			for range 100 {
				at := filepath.Join(t.TempDir(), "damaged.db")
				if err := os.WriteFile(at, damage(append([]byte(nil), whole...)), 0o600); err != nil {
					t.Fatal(err)
				}
				switch ok, n := readAll(t, at, begin); {
				case !ok:
					refused++
				case n > 0:
					gaps++
				default:
					fine++
				}
			}
			t.Logf("%d refused, %d with gaps, %d whole", refused, gaps, fine)
			if name == "cut off" && refused < 90 {
				t.Errorf("only %d of 100 were refused", refused)
			}
		})
	}
}

// One message that is damaged is a gap of one message. The others are there, and the next ones, too.
func TestDamagedMessage(t *testing.T) {
	for name, damage := range map[string]func(tx *bbolt.Tx, offset uint64) error{
		"its text": func(tx *bbolt.Tx, offset uint64) error {
			v := append([]byte(nil), tx.Bucket(bucketLog).Get(number(offset))...)
			v[len(v)-6] ^= 1
			return tx.Bucket(bucketLog).Put(number(offset), v)
		},
		"it is not in the log": func(tx *bbolt.Tx, offset uint64) error { return tx.Bucket(bucketLog).Delete(number(offset)) },
		"it is not in the index": func(tx *bbolt.Tx, offset uint64) error {
			return tx.Bucket(bucketIndex).Delete(number(1, offset))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
			begin := use(t, e, "r", 100)
			publish(t, e, "r", "1", "2")
			bad := publish(t, e, "r", "3")
			publish(t, e, "r", "4")
			followed(t, e)
			if err := e.update(func(tx *bbolt.Tx) error { return damage(tx, bad.Offset) }); err != nil {
				t.Fatal(err)
			}
			publish(t, e, "r", "5")
			equal(t, "read", after(t, e, "r", begin), "1", "2", "gap expired", "4", "5")
			equal(t, "who has it", after(t, e, "r", bad), "4", "5")
		})
	}
}

// A room whose row is damaged has lost what it had, and goes on.
func TestDamagedRow(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 100)
	publish(t, e, "r", "1", "2")
	followed(t, e)
	if err := e.update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketRooms).Put([]byte("r"), []byte("x")) }); err != nil {
		t.Fatal(err)
	}
	equal(t, "before", after(t, e, "r", begin), "gap expired")
	publish(t, e, "r", "3")
	followed(t, e)
	publish(t, e, "r", "4")
	equal(t, "afterwards", after(t, e, "r", begin), "gap expired", "3", "4")
	if h := e.Health(); h.Err != nil {
		t.Errorf("the engine is not well: %v", h.Err)
	}
}

// A full disk refuses what is published, and nothing else. When there is place again, publishing goes on.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	e := opened(t, filepath.Join(dir, "rooms.db"), Options{Sync: time.Millisecond})
	begin := use(t, e, "r", 1000)
	ballast := filepath.Join(dir, "ballast")
	text, sent := strings.Repeat("x", 64<<10), 0
	fill := func() (err error) {
		for range 1000 {
			if _, err = e.Publish(t.Context(), hub.Draft{Message: &hub.Message{Room: "r", Data: []byte(text)}}); err != nil {
				return err
			}
			sent++
		}
		return nil
	}
	publish(t, e, "r", "first")
	followed(t, e)
	free := int64(16<<20) - 9<<20
	if err := os.WriteFile(ballast, make([]byte, free), 0o600); err != nil {
		t.Fatal(err)
	}
	err := fill()
	if !errors.Is(err, hub.ErrStorageFull) {
		t.Fatalf("%d messages of %d bytes are on 16 MiB, %v", sent, len(text), err)
	}
	if h := e.Health(); h.Err == nil {
		t.Error("the engine says that it is well")
	}
	if got := after(t, e, "r", begin); len(got) != sent+1 || got[0] != "first" {
		t.Errorf("%d messages can be read, %d were acknowledged", len(got), sent+1)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for ctx := t.Context(); ; notify(e.hurry) {
		_, err := e.Publish(ctx, hub.Draft{Message: &hub.Message{Room: "r", Data: []byte("last")}})
		if err == nil {
			break
		}
		if !errors.Is(err, hub.ErrStorageFull) {
			t.Fatal(err)
		}
	}
	got := after(t, e, "r", begin)
	if len(got) != sent+2 || got[len(got)-1] != "last" {
		t.Errorf("%d messages can be read, %d were acknowledged", len(got), sent+2)
	}
}

// On a disk that is full nothing can be opened that was not closed in order. The error says so, and everything is there when
// there is place again.
func TestOpenOnAFullDisk(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 1000)
	text := strings.Repeat("x", 60_000)
	for range 40 {
		publish(t, e, "r", text)
	}
	from := killed(t, e)
	dir := smallDisk(t, 16<<20)
	path, ballast := filepath.Join(dir, "rooms.db"), filepath.Join(dir, "ballast")
	for _, suffix := range []string{"", ".journal-0", ".journal-1"} {
		copyFile(t, from+suffix, path+suffix)
	}
	for n := int64(16 << 20); n > 1024; n /= 2 { // until there is no place
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write(make([]byte, n))
		_ = f.Close()
	}
	again := New(path, interval, slog.New(slog.DiscardHandler))
	if err := again.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "make room on its disk") {
		t.Fatalf("%v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer closed(t, again)
	if got := after(t, again, "r", begin); len(got) != 40 {
		t.Errorf("%d messages are there", len(got))
	}
}
