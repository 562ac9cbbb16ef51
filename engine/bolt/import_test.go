package bolt

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// source makes messages as another log has had them: so many in each room, a millisecond apart from a time on.
type source struct {
	epoch string
	next  time.Time
}

func newSource(ago time.Duration) *source {
	return &source{"abroad", time.Now().Add(-ago).Truncate(time.Millisecond)}
}

func (s *source) room(name string, texts ...string) (all []*hub.Message) {
	for _, text := range texts {
		s.next = s.next.Add(time.Millisecond)
		all = append(all, &hub.Message{
			Room: name, Data: []byte(text), Time: s.next,
			Position: hub.Position{Epoch: s.epoch, Offset: micros(s.next) + 7},
		})
	}
	return all
}

// imports imports messages, and checks what becomes of all of them.
func imports(t testing.TB, e *Engine, want hub.Outcome, messages []*hub.Message) {
	t.Helper()
	for _, m := range messages {
		if m.Room == "" {
			t.Fatal("a room without a name")
		}
	}
	outcomes, err := e.Import(t.Context(), messages)
	if err != nil || len(outcomes) != len(messages) {
		t.Fatalf("%v, %v", outcomes, err)
	}
	for i, o := range outcomes {
		if o != want {
			t.Errorf("%q of room %s: outcome %d, want %d", messages[i].Data, messages[i].Room, o, want)
		}
	}
}

// sound closes an engine, checks its file, and opens it again.
func sound(t *testing.T, e *Engine) *Engine {
	t.Helper()
	closed(t, e)
	r, err := Check(t.Context(), e.path, func(int) {})
	if err != nil || len(r.Damage) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return opened(t, e.path, interval)
}

// everything returns the positions, times and texts of a room.
func everything(t testing.TB, e *Engine, room string) (all []string) {
	t.Helper()
	page, err := e.Read(t.Context(), room, hub.Query{Last: 1000, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Messages {
		all = append(all, described(m))
	}
	return all
}

func described(m *hub.Message) string {
	return fmt.Sprint(m.Position, " ", m.Time.UTC(), " ", m.Expires.UTC(), " ", string(m.Data))
}

func list(messages []*hub.Message) (all []string) {
	for _, m := range messages {
		all = append(all, described(m))
	}
	return all
}

// What is imported into an empty hub is what it was, and cursors of the log from which it comes are good. Since that
// may have had more, there is one gap, and then whatever comes.
func TestImportIntoAnEmptyHub(t *testing.T) {
	for name, ago := range map[string]time.Duration{"older than the file": time.Hour, "newer": 0} {
		t.Run(name, func(t *testing.T) {
			e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
			s := newSource(ago)
			a, b := s.room("a", texts(1, 5)...), s.room("b", texts(1, 3)...)
			a[1].Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
			imports(t, e, hub.OutcomeKept, slices.Concat(a[:2]))
			imports(t, e, hub.OutcomeKept, slices.Concat(a[2:], b))
			for range 2 {
				equal(t, "a", everything(t, e, "a"), list(a)...)
				equal(t, "b", everything(t, e, "b"), list(b)...)
				equal(t, "after a cursor", after(t, e, "a", a[1].Position), "3", "4", "5", "gap epoch")
				equal(t, "after the last cursor", after(t, e, "b", b[2].Position), "gap epoch")
				before := a[0].Position
				before.Offset -= 10
				equal(t, "after what was not imported", after(t, e, "a", before), append([]string{"gap expired"}, append(texts(1, 5), "gap epoch")...)...)
				equal(t, "another epoch", after(t, e, "a", hub.Position{Epoch: "other", Offset: 1}), append([]string{"gap epoch"}, append(texts(1, 5), "gap epoch")...)...)
				imports(t, e, hub.OutcomeKnown, slices.Concat(a, b))
				e = sound(t, e)
			}
			tail := use(t, e, "a", 100)
			next := publish(t, e, "a", "6")
			if next.Epoch != "abroad" || next.Offset <= a[4].Offset || next.Offset <= tail.Offset {
				t.Errorf("%v comes after %v and %v", next, a[4].Position, tail)
			}
			equal(t, "after the tail", after(t, e, "a", tail), "6")
			equal(t, "all", after(t, e, "a", a[3].Position), "5", "gap epoch", "6")
			e = opened(t, killed(t, e), interval)
			equal(t, "after the process's death", after(t, e, "a", a[3].Position), "5", "gap epoch", "6")
			imports(t, e, hub.OutcomeKnown, a)
			imports(t, e, hub.OutcomeFresh, s.room("a", "behind a message of its own"))
		})
	}
}

// In a hub with messages, an empty room gets the offsets, in the hub's epoch; others nothing.
func TestImportBesideMessages(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	begin := use(t, e, "own", 100)
	publish(t, e, "own", "1", "2")
	s := newSource(time.Hour)
	a := s.room("a", texts(1, 3)...)
	own := s.room("own", texts(1, 3)...)
	imports(t, e, hub.OutcomeKept, a)
	imports(t, e, hub.OutcomeFresh, own)
	for i := range a {
		a[i].Epoch = begin.Epoch
	}
	equal(t, "the empty room", everything(t, e, "a"), list(a)...)
	equal(t, "the other room", after(t, e, "own", begin), "1", "2")
	equal(t, "a cursor of the other epoch", after(t, e, "a", hub.Position{Epoch: "abroad", Offset: a[0].Offset}), "gap epoch", "1", "2", "3")

	back, err := e.Read(t.Context(), "own", hub.Query{Last: 9, Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	imports(t, e, hub.OutcomeKnown, back.Messages)
	e = sound(t, e)
	// A file of which nobody remembers the journals has holes between its runs: those of an import are none.
	hole := newSource(0)
	hole.next = time.Now()
	x := hole.room("x", "1", "2")
	e = sound(t, e)
	imports(t, e, hub.OutcomeKept, x)
	at := hub.Position{Epoch: begin.Epoch, Offset: x[0].Offset}
	equal(t, "between two runs", after(t, e, "x", at), "2")
	e = sound(t, e)
	equal(t, "between two runs, later", after(t, e, "x", at), "2")
}

// Offsets that cannot be taken as they are: the messages are to be published, and those of the room behind them.
func TestImportOfOtherOffsets(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	s := newSource(time.Hour)
	a := s.room("a", "1")
	imports(t, e, hub.OutcomeKept, a)
	for name, change := range map[string]func(m *hub.Message){
		"somebody's":           func(m *hub.Message) { m.Offset = a[0].Offset },
		"before its time":      func(m *hub.Message) { m.Offset = 5 },
		"far ahead":            func(m *hub.Message) { m.Offset = micros(time.Now()) + 2*maxAhead },
		"the greatest":         func(m *hub.Message) { m.Offset = ^uint64(0) },
		"not behind the other": func(m *hub.Message) { m.Room, m.Offset = "a", a[0].Offset-1; m.Epoch = "third" },
	} {
		m := s.room("b "+name, "1", "2")
		change(m[0])
		m[1].Room = m[0].Room
		t.Log(name)
		imports(t, e, hub.OutcomeFresh, m)
	}
	if _, err := e.Import(t.Context(), make([]*hub.Message, hub.MaxImport+1)); err == nil {
		t.Error("too many are taken at once")
	}
	sound(t, e)
}

// Retention applies at once, and what it lets go of is not imported again.
func TestImportIsTrimmed(t *testing.T) {
	governed(t, settings.History{Count: 3, Age: time.Hour}, interval, func(t *testing.T, e *Engine) {
		s := newSource(2 * time.Hour)
		old := s.room("old", texts(1, 3)...)
		s.next = time.Now().Add(-time.Minute)
		a := s.room("a", texts(1, 9)...)
		a[7].Expires = time.Now().Add(30 * time.Second)
		imports(t, e, hub.OutcomeKept, slices.Concat(old, a))
		if n := counts(t, e); n["log"] != 3 || n["index"] != 3 || n["expiries"] != 1 {
			t.Errorf("the file has %v", n)
		}
		equal(t, "from the beginning", after(t, e, "a", a[0].Position), "gap expired", "7", "8", "9", "gap epoch")
		imports(t, e, hub.OutcomeKnown, slices.Concat(old, a))
		advance(time.Minute)
		imports(t, e, hub.OutcomeKnown, slices.Concat(old, a))
		if n := counts(t, e); n["log"] != 2 || n["expiries"] != 0 {
			t.Errorf("when one has expired the file has %v", n)
		}
		equal(t, "the rest", after(t, e, "a", a[6].Position), "9", "gap epoch")
	})
}

// resets is a reader that notes where it has to read on.
type resets struct {
	mu sync.Mutex
	at []hub.Position
	in []string
}

func (r *resets) Deliver(m *hub.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in = append(r.in, string(m.Data))
}

func (r *resets) Reset(tail hub.Position, _ hub.GapReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, tail)
}

// Who reads a room finds what is imported, and is told where to look.
func TestImportUnderReaders(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	var a, other resets
	tail, stop, err := e.Subscribe(t.Context(), "a", &a)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	_, stopOther, err := e.Subscribe(t.Context(), "other", &other)
	if err != nil {
		t.Fatal(err)
	}
	defer stopOther()
	s := newSource(time.Hour)
	first := s.room("a", "1", "2")
	imports(t, e, hub.OutcomeKept, first)
	if len(a.at) != 1 || a.at[0].Epoch != "abroad" || a.at[0].Offset < tail.Offset || len(other.at) != 1 || other.at[0].Epoch != "abroad" {
		t.Errorf("with another epoch: %v, %v", a.at, other.at)
	}
	equal(t, "who has read none", after(t, e, "a", tail), "gap epoch", "1", "2", "gap epoch")
	imports(t, e, hub.OutcomeKept, s.room("a", "3"))
	if len(a.at) != 2 || len(other.at) != 1 || a.at[1] != a.at[0] {
		t.Errorf("later: %v, %v", a.at, other.at)
	}
	publish(t, e, "a", "4")
	equal(t, "delivered", a.in, "4")
	equal(t, "who has read one", after(t, e, "a", first[0].Position), "2", "3", "gap epoch", "4")
}

// What is newer than the end of an empty room comes to those who are there.
func TestImportBehindReaders(t *testing.T) {
	e := opened(t, filepath.Join(t.TempDir(), "rooms.db"), interval)
	publish(t, e, "other", "x")
	var a resets
	tail, stop, err := e.Subscribe(t.Context(), "a", &a)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s := newSource(0)
	imports(t, e, hub.OutcomeKept, s.room("a", "1", "2"))
	imports(t, e, hub.OutcomeKept, s.room("a", "3"))
	if len(a.at) != 2 || a.at[0].Offset <= tail.Offset || a.at[1].Offset <= a.at[0].Offset {
		t.Errorf("from %v on: %v", tail, a.at)
	}
	equal(t, "who was there", after(t, e, "a", tail), "1", "2", "3")
	equal(t, "who has read two", after(t, e, "a", a.at[0]), "3")
	publish(t, e, "a", "4")
	equal(t, "all", after(t, e, "a", tail), texts(1, 4)...)
}

// Whatever is published and read meanwhile, nothing is lost, and offsets rise.
func TestImportMeanwhile(t *testing.T) {
	e := New(filepath.Join(t.TempDir(), "rooms.db"), interval, slog.New(slog.DiscardHandler))
	if err := e.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, e) })
	use(t, e, "busy", unlimited)
	s := newSource(time.Hour)
	var all sync.WaitGroup
	stop := make(chan struct{})
	sent, got := 0, 0
	all.Go(func() {
		for ; ; sent++ {
			select {
			case <-stop:
				return
			default:
				publish(t, e, "busy", fmt.Sprint(sent))
			}
		}
	})
	all.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				got = len(everything(t, e, "a"))
				_, stop, err := e.Subscribe(t.Context(), "b", inbox{})
				if err != nil {
					t.Error(err)
					return
				}
				stop()
			}
		}
	})
	for range 20 {
		imports(t, e, hub.OutcomeKept, s.room("a", texts(1, 50)...))
	}
	close(stop)
	all.Wait()
	if n := len(everything(t, e, "a")); n != 1000 || got > n {
		t.Errorf("%d messages, and before %d", n, got)
	}
	e2 := opened(t, killed(t, e), interval)
	page, err := e2.Read(t.Context(), "busy", hub.Query{Last: sent + 1, Limit: sent + 1})
	if err != nil || len(page.Messages) != sent {
		t.Errorf("%d of %d messages are there; %v", len(page.Messages), sent, err)
	}
	for i, m := range page.Messages {
		if string(m.Data) != fmt.Sprint(i) {
			t.Fatalf("%q where %d should be", m.Data, i)
		}
	}
}
