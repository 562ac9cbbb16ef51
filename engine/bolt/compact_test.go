package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
)

// A compaction changes nothing but the size of the file, while messages are published and read.
func TestCompact(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", unlimited)
	busy := use(t, e, "busy", unlimited)
	publish(t, e, "r", texts(1, 3)...)
	for range 3000 {
		publish(t, e, "big", strings.Repeat("x", 1000))
	}
	use(t, e, "big", 1)
	followed(t, e)
	stop := make(chan struct{})
	var all sync.WaitGroup
	sent := 0
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				sent++
				publish(t, e, "busy", fmt.Sprint(sent))
				if got := after(t, e, "r", begin); len(got) != 3 {
					t.Errorf("%q can be read", got)
					return
				}
			}
		}
	})
	for range 3 {
		if _, _, err := e.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
	before, size, err := e.Compact(t.Context())
	info, _ := os.Stat(e.path)
	if err != nil || size > before || info.Size() > size+2*growBy {
		t.Errorf("%d bytes, before %d, the file has %d; %v", size, before, info.Size(), err)
	}
	equal(t, "what was published meanwhile", after(t, e, "busy", busy), texts(1, sent)...)
	publish(t, e, "r", "4")
	path := killed(t, e)
	e = opened(t, path, interval)
	equal(t, "all", after(t, e, "r", begin), texts(1, 4)...)
	equal(t, "all of the other", after(t, e, "busy", busy), texts(1, sent)...)
}

// What is left of a compaction that was killed does no harm.
func TestKilledWhileCompacting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	e := opened(t, path, interval)
	begin := use(t, e, "r", 10)
	publish(t, e, "r", "1")
	half := killed(t, e)
	if err := os.WriteFile(half+".compact", []byte("half of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	e = opened(t, half, interval)
	equal(t, "read", after(t, e, "r", begin), "1")
	if _, _, err := e.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	equal(t, "read", after(t, e, "r", begin), "1")
}

// A large file of which half is free is compacted at its start.
func TestCompactedAtItsStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	e := opened(t, path, interval)
	use(t, e, "r", unlimited)
	text := strings.Repeat("x", 60_000)
	for range 600 {
		publish(t, e, "r", text)
	}
	followed(t, e)
	use(t, e, "r", 10)
	closed(t, e)
	before, _ := os.Stat(path)
	e = opened(t, path, interval)
	use(t, e, "r", 10)
	for e.removed.Load() == 0 || counts(t, e)["log"] > 10 {
		publish(t, e, "r", "x")
		followed(t, e)
	}
	closed(t, e)
	opened(t, path, interval)
	if after, _ := os.Stat(path); before.Size() < compactAt || after.Size() > 4<<20 {
		t.Errorf("the file had %d bytes, and has %d", before.Size(), after.Size())
	}
}

// A backup that is put in place of the file has all that it had then, and a gap.
func TestBackup(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 10)
	publish(t, e, "r", "1", "2")
	var copied bytes.Buffer
	if err := e.Backup(t.Context(), &copied); err != nil {
		t.Fatal(err)
	}
	later := publish(t, e, "r", "3")
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	e = opened(t, path, interval)
	next := publish(t, e, "r", "4")
	if next.Offset <= later.Offset {
		t.Errorf("%v comes after %v", next, later)
	}
	equal(t, "from the beginning", after(t, e, "r", begin), "1", "2", "gap epoch", "4")
	equal(t, "who has seen later", after(t, e, "r", later), "gap epoch", "4")
}

// After an erasure nothing of a user is in any file. The others' messages keep their offsets, and nobody gets a gap.
func TestErase(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 100)
	send := func(user, text string) hub.Position {
		t.Helper()
		r, err := e.Publish(t.Context(), hub.Draft{Message: &hub.Message{
			Room: "r", Data: []byte(text), From: &hub.User{ID: user, Name: "Name of " + user},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Position
	}
	send("anna", "1")
	send("berta", "secret 1")
	followed(t, e)
	last := send("anna", "2")
	send("berta", "secret 2")
	for _, of := range []struct {
		user string
		n    int
	}{{"berta", 2}, {"berta", 0}, {"nobody", 0}} {
		if n, err := e.Erase(t.Context(), of.user); n != of.n || err != nil {
			t.Errorf("%s: %d messages, %v; want %d", of.user, n, err, of.n)
		}
	}
	equal(t, "read", after(t, e, "r", begin), "1", "2")
	equal(t, "after the last one", after(t, e, "r", last))
	files, err := filepath.Glob(e.path + "*")
	if err != nil || len(files) != 3 {
		t.Errorf("%q, %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		for _, text := range []string{"secret", "berta"} {
			if err != nil || bytes.Contains(b, []byte(text)) {
				t.Errorf("%s has %q, %v", f, text, err)
			}
		}
	}
	send("anna", "3")
	path := killed(t, e)
	e = opened(t, path, interval)
	equal(t, "after the process's death", after(t, e, "r", begin), "1", "2", "3")
}

// A task of an engine that is closed fails, and holds nothing up.
func TestTasksOfAClosedEngine(t *testing.T) {
	e := New(filepath.Join(t.TempDir(), "rooms.db"), interval, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed(t, e)
	if _, _, err := e.Compact(context.Background()); err == nil {
		t.Error("it is compacted")
	}
	if _, err := e.Erase(context.Background(), "x"); err == nil {
		t.Error("it is erased")
	}
	if err := e.Backup(context.Background(), new(bytes.Buffer)); err == nil {
		t.Error("it is copied")
	}
}

// What a task cannot bring into the database is brought there later: the journals have it no longer than that.
func TestTaskThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rooms.db")
	e := opened(t, path, interval)
	begin := use(t, e, "r", 10)
	publish(t, e, "r", "1")
	followed(t, e)
	whole := e.db.Load()
	broken, err := openFile(killed(t, e), &bbolt.Options{ReadOnly: true, Timeout: lockTime})
	if err != nil {
		t.Fatal(err)
	}
	err = e.maintain(t.Context(), func() error {
		publish(t, e, "r", "2", "3")
		e.db.Store(broken)
		defer e.db.Store(whole)
		return e.scrub()
	})
	if err == nil {
		t.Error("a database that cannot be written is scrubbed")
	}
	if err := broken.Close(); err != nil {
		t.Error(err)
	}
	publish(t, e, "r", "4")
	for range 2 {
		if err := e.maintain(t.Context(), func() error { return nil }); err != nil {
			t.Error(err)
		}
	}
	equal(t, "read", after(t, e, "r", begin), texts(1, 4)...)
	if n := counts(t, e)["log"]; n != 4 {
		t.Errorf("the database has %d messages", n)
	}
}

// What would wait for a slow backup with a lock held waits before it: publishing and reading go on.
func TestSlowBackup(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 100)
	publish(t, e, "r", "1")
	slow := &slowWriter{entered: make(chan struct{}), leave: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		if err := e.Backup(t.Context(), slow); err != nil {
			t.Error(err)
		}
	})
	<-slow.entered
	s := newSource(time.Hour)
	others := []func(context.Context) error{
		func(ctx context.Context) error { _, _, err := e.Compact(ctx); return err },
		func(ctx context.Context) error { _, err := e.Erase(ctx, "nobody"); return err },
		func(ctx context.Context) error { _, err := e.Import(ctx, s.room("a", "1")); return err },
	}
	for _, other := range others {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := other(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("beside a backup: %v", err)
		}
		all.Go(func() {
			if err := other(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 20 {
		publish(t, e, "r", fmt.Sprint(i+2))
		followed(t, e)
	}
	equal(t, "read meanwhile", after(t, e, "r", begin), texts(1, 21)...)
	close(slow.leave)
	all.Wait()
}

// slowWriter is a writer whose first call takes until leave is closed.
type slowWriter struct {
	entered, leave chan struct{}
	once           sync.Once
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.once.Do(func() {
		close(w.entered)
		<-w.leave
	})
	return len(b), nil
}

// A panic in what the writer or the follower is asked to do is that one's error. Both go on.
func TestTaskPanics(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "r", 10)
	bad := func() error { panic("bad") }
	for name, err := range map[string]error{"writer": e.onWriter(bad), "follower": e.maintain(t.Context(), bad)} {
		if err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("the %s's error is %v", name, err)
		}
	}
	publish(t, e, "r", "1")
	followed(t, e)
	equal(t, "read", after(t, e, "r", begin), "1")
}
