package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// The promises about what an engine keeps beside its logs, and about itself.

func (t *suite) forget() {
	tail, in := t.opened("r")
	in.stop()
	m := t.send("r", count(1, 3)...)
	for _, room := range []string{"r", "unknown"} {
		t.Forget(room, false)
	}
	equal(t, "not forced", described(t.page("r", hub.Query{After: tail, Limit: 9})), count(1, 3)...)
	if !t.Forget("r", true) {
		t.Error("the room is not forgotten, although that was forced")
	}
	// The log is gone, or it outlives the process: in no case is anything missed in silence.
	for i, after := range []hub.Position{tail, m[0].Position, m[2].Position} {
		p := t.page("r", hub.Query{After: after, Limit: 9})
		if missing := []int{3, 2, 0}[i]; len(p.Messages) != missing && p.Gap == nil && missing > 0 {
			t.Errorf("after %v: %q, and no gap", after, described(p))
		}
	}
	_, in = t.opened("r")
	t.send("r", "4")
	equal(t, "delivered afterwards", texts(in.wait(t, 1)), "4")
}

// set changes a value of the engine's state.
func (t *suite) set(name, value string, version uint64, ttl time.Duration) uint64 {
	t.Helper()
	version, err := t.State().Set(t.Context(), name, []byte(value), version, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func (t *suite) stateVersions() {
	get := func(name, want string, version uint64) {
		t.Helper()
		if value, v, err := t.State().Get(t.Context(), name); string(value) != want || v != version || err != nil {
			t.Errorf("%s is %q of version %d, %v; want %q of version %d", name, value, v, err, want, version)
		}
	}
	get("a", "", 0)
	first := t.set("a", "1", 0, 0)
	second := t.set("a", "2", first, 0)
	if first == 0 || second == first {
		t.Errorf("the versions are %d and %d", first, second)
	}
	for _, version := range []uint64{0, first} {
		if _, err := t.State().Set(t.Context(), "a", []byte("3"), version, 0); !errors.Is(err, hub.ErrVersion) {
			t.Errorf("changing version %d of %d: %v", version, second, err)
		}
	}
	get("a", "2", second)
	get("b", "", 0)
	t.set("a", "", second, 0)
	get("a", "", 0)
	if third := t.set("a", "4", 0, 0); third == first || third == second {
		t.Error("a version is given twice")
	}
}

func (t *suite) stateTTL() {
	const ttl = 50 * time.Millisecond
	t.set("short", "1", 0, ttl)
	t.set("long", "1", 0, time.Hour)
	renewed := t.set("renewed", "1", 0, ttl)
	t.set("renewed", "2", renewed, 0)
	seen := t.watch("short")
	seen.wait(t, "short=")
	for name, want := range map[string]string{"short": "", "long": "1", "renewed": "2"} {
		if value, _, err := t.State().Get(t.Context(), name); string(value) != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, value, err, want)
		}
	}
}

func (t *suite) stateWatch() {
	a := t.set("in/a", "1", 0, 0)
	t.set("out/a", "1", 0, 0)
	seen := t.watch("in/")
	seen.wait(t, "in/a=1")
	t.set("in/b", "1", 0, 0)
	seen.wait(t, "in/b=1")
	t.set("out/b", "1", 0, 0)
	a = t.set("in/a", "2", a, 0)
	seen.wait(t, "in/a=2")
	t.set("in/a", "", a, 0)
	seen.wait(t, "in/a=")
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for change := range seen.changes {
		if change[:3] != "in/" {
			t.Errorf("%q was not watched", change)
		}
	}
}

// watched collects the changes of watched values.
type watched struct {
	mu      sync.Mutex
	changes map[string]bool
}

// watch watches until the end of the test.
func (t *suite) watch(prefix string) *watched {
	w := &watched{changes: make(map[string]bool)}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := t.State().Watch(ctx, prefix, func(name string, value []byte) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes[fmt.Sprintf("%s=%s", name, value)] = true
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ends with %v", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return w
}

// wait waits for a change.
func (w *watched) wait(t *suite, change string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; <-time.After(time.Millisecond) {
		w.mu.Lock()
		seen := w.changes[change]
		w.mu.Unlock()
		if seen {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not seen", change)
		}
	}
}

func (t *suite) health() {
	t.opened("r")
	t.send("r", "1")
	if h := t.Health(); h.Err != nil || h.Queue != 0 {
		t.Errorf("%+v", h)
	}
}
