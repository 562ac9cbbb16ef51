package bolt

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// opened returns an engine that is open, and closed at the end of the test.
func opened(t testing.TB, path string, o Options) *Engine {
	t.Helper()
	e := New(path, o, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, e) })
	return e
}

func closed(t testing.TB, e *Engine) {
	t.Helper()
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// inbox is a reader that keeps nothing.
type inbox struct{}

func (inbox) Deliver(*hub.Message)              {}
func (inbox) Reset(hub.Position, hub.GapReason) {}

// use subscribes to a room, keeps so many messages of it, and returns where it ends.
func use(t testing.TB, e *Engine, room string, keep int) hub.Position {
	t.Helper()
	tail, stop, err := e.Subscribe(t.Context(), room, inbox{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	e.Retain(room, settings.History{Count: keep})
	return tail
}

func publish(t testing.TB, e *Engine, room string, texts ...string) (last hub.Position) {
	t.Helper()
	for _, text := range texts {
		r, err := e.Publish(t.Context(), hub.Draft{Message: &hub.Message{Room: room, Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		last = r.Position
	}
	return last
}

// after returns what a reader at a position gets: the texts, and each gap.
func after(t testing.TB, e *Engine, room string, p hub.Position) (got []string) {
	t.Helper()
	limit := 3 // several pages
	for n := range 1000 {
		if n > 100 {
			limit = 1000
		}
		page, err := e.Read(t.Context(), room, hub.Query{After: p, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if page.Gap != nil {
			got = append(got, "gap "+string(page.Gap.Reason))
		}
		for _, m := range page.Messages {
			got = append(got, string(m.Data))
		}
		if !page.More {
			return got
		}
		p = page.Cursor
	}
	t.Fatal("the log does not end")
	return nil
}

func equal(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// followed waits until the database has everything.
func followed(t testing.TB, e *Engine) {
	t.Helper()
	for e.waiting.Load() > 0 {
		notify(e.hurry)
	}
}

// killed returns the path of a copy of the files as the death of the process would leave them now.
func killed(t testing.TB, e *Engine) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rooms.db")
	done := make(chan struct{})
	e.control <- func() { // nothing is written meanwhile, and no journal begun
		defer close(done)
		err := e.db.Load().View(func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) })
		if err != nil {
			t.Error(err)
		}
		for i := range 2 {
			copyFile(t, journalPath(e.path, i), journalPath(path, i))
		}
	}
	<-done
	return path
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

// otherBoot makes this another start of the machine, until the next call or the end of the test.
func otherBoot(t testing.TB) {
	t.Helper()
	was := bootFile
	t.Cleanup(func() { bootFile = was })
	bootFile = filepath.Join(t.TempDir(), "boot")
	if err := os.WriteFile(bootFile, []byte(bootFile), 0o600); err != nil {
		t.Fatal(err)
	}
}

// texts returns the numbers from one to another.
func texts(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// advance lets so much time pass in a bubble.
func advance(d time.Duration) { <-time.After(d) }

// still runs a test in a bubble, where the follower does nothing by itself.
func still(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
