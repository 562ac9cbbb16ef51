package bolt

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// counts returns how many keys each bucket has.
func counts(t *testing.T, e *Engine) map[string]int {
	t.Helper()
	n := make(map[string]int)
	err := e.view(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			c := tx.Bucket(name).Cursor()
			for k, _ := c.First(); k != nil; k, _ = c.Next() {
				n[string(name)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

// governed runs a test on an engine, in a bubble, with what every room keeps.
func governed(t *testing.T, keep settings.History, o Options, test func(t *testing.T, e *Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := New(filepath.Join(t.TempDir(), "rooms.db"), o, slog.New(slog.DiscardHandler))
		e.Govern(func(string) settings.History { return keep })
		if err := e.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer closed(t, e)
		test(t, e)
	})
}

// What is too much or too old leaves the file, in rooms that nobody uses, too, and under a configuration that came later.
func TestUnusedRoomsAreTidied(t *testing.T) {
	was := emptyFor
	t.Cleanup(func() { emptyFor = was })
	emptyFor = 5 * time.Minute
	governed(t, settings.History{Count: 10, Age: time.Minute}, interval, func(t *testing.T, e *Engine) {
		begin := publish(t, e, "r0", "0")
		for i := range 30 {
			publish(t, e, fmt.Sprint("r", i%3), texts(1, 20)...)
		}
		advance(2 * time.Second)
		if n := counts(t, e); n["log"] != 30 || n["index"] != 30 || n["rooms"] != 3 {
			t.Errorf("with 10 of each room: %v", n)
		}
		if len(e.rooms) != 0 {
			t.Errorf("%d rooms are in memory", len(e.rooms))
		}
		e.Govern(func(string) settings.History { return settings.History{Count: 4, Age: time.Minute} })
		advance(2 * time.Second)
		if n := counts(t, e); n["log"] != 12 || n["index"] != 12 {
			t.Errorf("with 4 of each room: %v", n)
		}
		equal(t, "what is left", after(t, e, "r0", begin), append([]string{"gap expired"}, texts(17, 20)...)...)
		advance(time.Minute)
		if n := counts(t, e); n["log"] != 0 || n["index"] != 0 || n["rooms"] != 3 || n["empty"] != 3 {
			t.Errorf("when all are too old: %v", n)
		}
		equal(t, "nothing is left", after(t, e, "r0", begin), "gap expired")
		advance(emptyFor)
		if n := counts(t, e); n["rooms"] != 0 || n["names"] != 0 || n["empty"] != 0 {
			t.Errorf("when they are empty for long: %v", n)
		}
		equal(t, "the room is not known any more", after(t, e, "r0", begin), "gap expired")
		tail := use(t, e, "r0", 10)
		equal(t, "from now on", after(t, e, "r0", tail))
	})
}

// A message that has expired by itself leaves the file, is no gap, and takes no other's place.
func TestExpired(t *testing.T) {
	governed(t, settings.History{Count: 3}, interval, func(t *testing.T, e *Engine) {
		begin := use(t, e, "r", 3)
		send := func(text string, ttl time.Duration) {
			t.Helper()
			m := &hub.Message{Room: "r", Data: []byte(text)}
			if ttl > 0 {
				m.Expires = time.Now().Add(ttl)
			}
			if _, err := e.Publish(t.Context(), hub.Draft{Message: m}); err != nil {
				t.Fatal(err)
			}
		}
		send("1", 0)
		send("short", 10*time.Second)
		send("2", 0)
		advance(2 * time.Second)
		equal(t, "before", after(t, e, "r", begin), "1", "short", "2")
		advance(8 * time.Second)
		equal(t, "at its end", after(t, e, "r", begin), "1", "2")
		send("3", 0)
		equal(t, "with another one", after(t, e, "r", begin), "1", "2", "3")
		advance(3 * time.Second)
		equal(t, "afterwards", after(t, e, "r", begin), "1", "2", "3")
		if n := counts(t, e); n["log"] != 3 || n["expiries"] != 0 {
			t.Errorf("%v", n)
		}
	})
}

// Above the option size the oldest messages of all rooms go, and their rooms have a gap.
func TestSize(t *testing.T) {
	const size = 4 << 20
	governed(t, settings.History{Count: unlimited}, Options{Sync: time.Minute, Size: size}, func(t *testing.T, e *Engine) {
		old := use(t, e, "old", unlimited)
		publish(t, e, "old", "comment")
		begin := use(t, e, "busy", unlimited)
		text := strings.Repeat("x", 1000)
		for range 40 {
			for range 200 {
				publish(t, e, "busy", text)
			}
			advance(time.Second)
		}
		advance(time.Second)
		if used, _, err := e.usage(); used > size || used < size/2 || err != nil {
			t.Errorf("%d bytes are in use of %d, %v", used, size, err)
		}
		equal(t, "the oldest", after(t, e, "old", old), "gap expired")
		got := after(t, e, "busy", begin)
		if got[0] != "gap expired" || len(got) < 1000 || len(got) > 5000 {
			t.Errorf("%d messages are left, first %q", len(got), got[0])
		}
	})
}

// Idempotency keys that are forgotten leave the file.
func TestReceiptsLeave(t *testing.T) {
	governed(t, settings.History{Count: 3}, interval, func(t *testing.T, e *Engine) {
		for i := range 10 {
			d := hub.Draft{Message: &hub.Message{Room: "r", Data: []byte("x")}, Scope: fmt.Sprint(i)}
			if _, err := e.Publish(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		advance(2 * time.Second)
		if n := counts(t, e)["receipts"]; n != 10 {
			t.Errorf("%d receipts", n)
		}
		advance(7 * time.Minute)
		if n := counts(t, e)["receipts"]; n != 0 {
			t.Errorf("%d receipts are left", n)
		}
	})
}
