// Package enginetest tests what a [hub.Engine] promises. A package with an engine calls
// it in a test:
//
//	func TestEngine(t *testing.T) {
//		enginetest.Run(t, func(t testing.TB) hub.Engine { return open(t, t.TempDir()) })
//	}
package enginetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Run tests each promise on an empty engine of its own, which newEngine makes and Run
// closes. An engine needs its own tests for what is not in the interface, such as
// surviving the process.
func Run(t *testing.T, newEngine func(t testing.TB) hub.Engine) {
	t.Helper()
	for _, promise := range []struct {
		name string
		test func(*suite)
	}{
		{"Publish returns when the engine has the message", (*suite).publishStores},
		{"A draft with a scope is stored once", (*suite).storedOnce},
		{"A draft with a scope is stored once however many publish it at the same time", (*suite).storedOnceAtOnce},
		{"Positions of one room rise in the order of delivery and reading", (*suite).positionsRise},
		{"Every reader gets every message after the tail once in order", (*suite).everyReader},
		{"Signals come in between", (*suite).signals},
		{"A reader is called by one goroutine at a time", (*suite).deliverAlone},
		{"Stop ends the delivery", (*suite).stop},
		{"Stop waits for a call that is under way", (*suite).stopWaits},
		{"Read answers queries", (*suite).queries},
		{"Read never misses a message without saying so", (*suite).readSaysSo},
		{"Read makes nothing", (*suite).readMakesNothing},
		{"Retain lets go of what is over it", (*suite).retain},
		{"Retain does nothing for an unknown room", (*suite).retainUnknown},
		{"Forget loses no message unless it is forced", (*suite).forget},
		{"Rooms lists the rooms with messages by their names", (*suite).rooms},
		{"Import keeps offsets and times in rooms without messages of their own", (*suite).imports},
		{"Erase takes a user's messages out without a gap", (*suite).erases},
		{"State changes a value only if it has the version", (*suite).stateVersions},
		{"State removes a value when its time is over", (*suite).stateTTL},
		{"Watch gives the values and then each change", (*suite).stateWatch},
		{"Health is good", (*suite).health},
		{"All methods are safe for concurrent use", (*suite).concurrent},
	} {
		t.Run(promise.name, func(t *testing.T) {
			e := newEngine(t)
			t.Cleanup(func() {
				if err := e.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
			promise.test(&suite{t, e})
		})
	}
}

// suite is one promise's test.
type suite struct {
	*testing.T
	hub.Engine
}

// opened subscribes to the room, keeps 1000 messages of it, and returns where
// it begins and what is delivered.
func (t *suite) opened(room string) (hub.Position, *inbox) {
	t.Helper()
	in := new(inbox)
	tail, stop, err := t.Subscribe(t.Context(), room, in)
	if err != nil {
		t.Fatal(err)
	}
	in.stop = sync.OnceFunc(stop)
	t.Cleanup(in.stop)
	t.Retain(room, settings.History{Count: 1000})
	return tail, in
}

// send publishes texts; one that ends in "!" is a signal.
func (t *suite) send(room string, texts ...string) (receipts []hub.Receipt) {
	t.Helper()
	for _, text := range texts {
		r, err := t.Publish(t.Context(), draft(room, text))
		if err != nil || r.Replayed {
			t.Fatalf("%+v, %v", r, err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// draft returns a draft of a text without a scope.
func draft(room, text string) hub.Draft {
	return hub.Draft{Message: &hub.Message{Room: room, Data: []byte(text), Signal: strings.HasSuffix(text, "!")}}
}

func (t *suite) page(room string, q hub.Query) hub.Page {
	t.Helper()
	p, err := t.Read(t.Context(), room, q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// inbox collects what an engine delivers, in other goroutines perhaps.
type inbox struct {
	stop func()
	busy atomic.Int32

	mu       sync.Mutex
	messages []*hub.Message
	overlap  bool
}

func (in *inbox) Deliver(m *hub.Message) {
	if in.busy.Add(1) > 1 {
		in.mu.Lock()
		in.overlap = true
		in.mu.Unlock()
	}
	in.mu.Lock()
	in.messages = append(in.messages, m)
	in.mu.Unlock()
	in.busy.Add(-1)
}

func (in *inbox) Reset(hub.Position, hub.GapReason) {}

// wait returns what was delivered, as soon as it is n messages.
func (in *inbox) wait(t *suite, n int) []*hub.Message {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		in.mu.Lock()
		got := slices.Clone(in.messages)
		in.mu.Unlock()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are delivered, want %d", len(got), n)
		}
		<-time.After(time.Millisecond)
	}
}

func texts(messages []*hub.Message) (texts []string) {
	for _, m := range messages {
		texts = append(texts, string(m.Data))
	}
	return texts
}

func (t *suite) publishStores() {
	_, in := t.opened("r")
	before := time.Now()
	receipts := t.send("r", count(1, 3)...)
	for i, m := range in.wait(t, 3) {
		if r := receipts[i]; m.Position != r.Position || !m.Time.Equal(r.Time) {
			t.Errorf("message %d: the receipt has %v at %v, delivered was %v at %v", i, r.Position, r.Time, m.Position, m.Time)
		}
		if m.IsZero() || m.Offset == 0 || m.Time.Before(before.Add(-time.Second)) || m.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("message %d: %v at %v", i, m.Position, m.Time)
		}
		if p, err := message.ParsePosition(m.String()); err != nil || p != m.Position {
			t.Errorf("%v is no cursor: %v", m.Position, err)
		}
	}
	equal(t, "read", described(t.page("r", hub.Query{Last: 9, Limit: 9})), count(1, 3)...)
}

func (t *suite) positionsRise() {
	tail, in := t.opened("r")
	t.opened("s")
	for i := range 50 {
		t.send("r", fmt.Sprint(i))
		t.send("s", "other")
	}
	for name, messages := range map[string][]*hub.Message{"delivered": in.wait(t, 50), "read": t.page("r", hub.Query{After: tail, Limit: 99}).Messages} {
		last := tail
		for _, m := range messages {
			if m.Epoch != last.Epoch || m.Offset <= last.Offset {
				t.Errorf("%s: %v after %v", name, m.Position, last)
			}
			last = m.Position
		}
		if len(messages) != 50 {
			t.Errorf("%s: %d messages", name, len(messages))
		}
	}
}

func (t *suite) everyReader() {
	_, first := t.opened("r")
	t.send("r", "1", "2")
	tail, second := t.opened("r")
	_, other := t.opened("s")
	t.send("r", "3", "4")
	t.send("s", "x")
	equal(t, "the first", texts(first.wait(t, 4)), count(1, 4)...)
	equal(t, "the second", texts(second.wait(t, 2)), "3", "4")
	equal(t, "another room", texts(other.wait(t, 1)), "x")
	equal(t, "after the tail", described(t.page("r", hub.Query{After: tail, Limit: 9})), "3", "4")
}

func (t *suite) signals() {
	tail, in := t.opened("r")
	for i, r := range t.send("r", "1", "a!", "b!", "2", "c!") {
		if m := in.wait(t, i+1)[i]; m.Signal != r.IsZero() || m.Position != r.Position || r.Time.IsZero() {
			t.Errorf("%q: %v at %v", m.Data, r.Position, r.Time)
		}
	}
	equal(t, "delivered", texts(in.wait(t, 5)), "1", "a!", "b!", "2", "c!")
	for _, q := range []hub.Query{{After: tail}, {InvalidCursor: true}, {Last: 9}, {Age: time.Hour}} {
		q.Limit = 9
		equal(t, "read", texts(t.page("r", q).Messages), "1", "2")
	}
}

func (t *suite) deliverAlone() {
	_, in := t.opened("r")
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 100 {
				_, _ = t.Publish(t.Context(), hub.Draft{Message: &hub.Message{Room: "r", Data: fmt.Append(nil, i, n), Signal: n%3 == 0}})
			}
		})
	}
	all.Wait()
	in.wait(t, 400)
	if in.overlap {
		t.Error("two goroutines delivered at once")
	}
}

func (t *suite) stop() {
	_, stopped := t.opened("r")
	_, other := t.opened("r")
	t.send("r", "1")
	stopped.wait(t, 1)
	stopped.stop()
	t.send("r", "2")
	equal(t, "the other", texts(other.wait(t, 2)), "1", "2")
	equal(t, "the stopped", texts(stopped.wait(t, 1)), "1")
}

func (t *suite) stopWaits() {
	r := &slow{entered: make(chan struct{}), leave: make(chan struct{})}
	_, stop, err := t.Subscribe(t.Context(), "r", r)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { _, _ = t.Publish(t.Context(), draft("r", "")) })
	<-r.entered
	all.Go(func() {
		stop()
		if !r.left.Load() {
			t.Error("stop has returned while the reader was called")
		}
	})
	<-time.After(10 * time.Millisecond) // for a stop that does not wait
	close(r.leave)
	all.Wait()
}

// slow is a reader that stays in its first call until leave is closed.
type slow struct {
	entered, leave chan struct{}
	left           atomic.Bool
}

func (r *slow) Deliver(*hub.Message) {
	close(r.entered)
	<-r.leave
	r.left.Store(true)
}

func (r *slow) Reset(hub.Position, hub.GapReason) {}

func (t *suite) queries() {
	tail, _ := t.opened("r")
	m := t.send("r", count(1, 5)...)
	at := func(i int) hub.Position { return m[i-1].Position }
	future := hub.Position{Epoch: tail.Epoch, Offset: at(5).Offset + 1e12}
	tests := []struct {
		name string
		q    hub.Query
		want []string
		more bool
	}{
		{"none is the tail", hub.Query{Limit: 9}, nil, false},
		{"after the tail of the beginning", hub.Query{After: tail, Limit: 9}, count(1, 5), false},
		{"after the second", hub.Query{After: at(2), Limit: 9}, count(3, 5), false},
		{"as many as there are", hub.Query{After: at(2), Limit: 3}, count(3, 5), false},
		{"fewer than there are", hub.Query{After: at(2), Limit: 2}, count(3, 4), true},
		{"no messages", hub.Query{After: at(2)}, nil, true},
		{"after the last", hub.Query{After: at(5), Limit: 9}, nil, false},
		{"no messages after the last", hub.Query{After: at(5)}, nil, false},
		{"foreign", hub.Query{InvalidCursor: true, Limit: 2}, append([]string{"gap epoch"}, count(1, 2)...), true},
		{"foreign decides", hub.Query{InvalidCursor: true, After: at(4), Limit: 9}, append([]string{"gap epoch"}, count(1, 5)...), false},
		{"of another epoch", hub.Query{After: hub.Position{Epoch: "-", Offset: 1}, Limit: 9}, append([]string{"gap epoch"}, count(1, 5)...), false},
		{"in the future", hub.Query{After: future, Limit: 9}, append([]string{"gap epoch"}, count(1, 5)...), false},
		{"before the last", hub.Query{Before: at(5), Limit: 2}, count(3, 4), true},
		{"before, all of them", hub.Query{Before: at(5), Limit: 4}, count(1, 4), false},
		{"before the first", hub.Query{Before: at(1), Limit: 9}, nil, false},
		{"before a cursor of another epoch", hub.Query{Before: hub.Position{Epoch: "-", Offset: 1}, Limit: 9}, nil, false},
		{"after decides over before", hub.Query{After: at(4), Before: at(2), Limit: 9}, count(5, 5), false},
		{"last", hub.Query{Last: 2, Limit: 9}, count(4, 5), true},
		{"last, limited", hub.Query{Last: 4, Limit: 1}, count(5, 5), true},
		{"last, all of them", hub.Query{Last: 9, Limit: 9}, count(1, 5), false},
		{"age", hub.Query{Age: time.Hour, Limit: 9}, count(1, 5), false},
		{"age, limited", hub.Query{Age: time.Hour, Limit: 2}, count(4, 5), true},
		{"last decides over age", hub.Query{Last: 1, Age: time.Hour, Limit: 9}, count(5, 5), true},
	}
	for _, test := range tests {
		p := t.page("r", test.q)
		equal(t, test.name, described(p), test.want...)
		if p.More != test.more {
			t.Errorf("%s: more is %v", test.name, p.More)
		}
		if len(p.Messages) == 0 {
			continue
		}
		// Both ends of a page are cursors, and honest ones.
		equal(t, test.name+", again from its start", described(t.page("r", hub.Query{After: p.Start, Limit: len(p.Messages)})), texts(p.Messages)...)
		after := m[len(m)-1].Position
		if test.more && test.q.Before.IsZero() && test.q.Last == 0 && test.q.Age == 0 {
			after = p.Messages[len(p.Messages)-1].Position
		}
		equal(t, test.name+", on from its cursor", described(t.page("r", hub.Query{After: p.Cursor, Limit: 9})), described(t.page("r", hub.Query{After: after, Limit: 9}))...)
	}
}

func (t *suite) readSaysSo() {
	tail, _ := t.opened("r")
	t.Retain("r", settings.History{Count: 7})
	rnd := rand.New(rand.NewPCG(1, 2))
	published := 0
	at := tail
	read := 0 // the last number that was read or lost with notice
	for range 300 {
		for range rnd.IntN(6) {
			published++
			t.send("r", fmt.Sprint(published))
		}
		p := t.page("r", hub.Query{After: at, Limit: 1 + rnd.IntN(4)})
		if g := p.Gap; g != nil {
			if g.From != at || g.Reason != message.GapExpired || g.Room != "r" || p.Start != g.To || published-7 <= read {
				t.Fatalf("gap %+v after %d of %d", g, read, published)
			}
			read = published - 7
		}
		for _, m := range p.Messages {
			read++
			if string(m.Data) != fmt.Sprint(read) {
				t.Fatalf("%s comes where %d should", m.Data, read)
			}
		}
		if at = p.Cursor; p.More != (read < published) {
			t.Fatalf("more is %v after %d of %d", p.More, read, published)
		}
	}
}

func (t *suite) readMakesNothing() {
	for _, q := range []hub.Query{{}, {InvalidCursor: true}, {Last: 3}, {Age: time.Hour}} {
		q.Limit = 9
		if p := t.page("nobody", q); len(p.Messages) > 0 || p.More || p.Cursor.IsZero() || (p.Gap != nil) != q.InvalidCursor {
			t.Errorf("%+v: %+v", q, p)
		}
	}
}

func (t *suite) retain() {
	tail, _ := t.opened("r")
	m := t.send("r", count(1, 9)...)
	for _, keep := range []int{5, 2, 0} {
		t.Retain("r", settings.History{Count: keep})
		equal(t, "kept", described(t.page("r", hub.Query{Last: 99, Limit: 99})), count(10-keep, 9)...)
		p := t.page("r", hub.Query{After: tail, Limit: 99})
		equal(t, "after a gap", described(p), append([]string{"gap expired"}, count(10-keep, 9)...)...)
		if to := m[8-keep].Position; p.Gap.From != tail || p.Gap.To.Offset < to.Offset {
			t.Errorf("gap %+v, want one to %v", p.Gap, to)
		}
		if p := t.page("r", hub.Query{After: m[8-keep].Position, Limit: 99}); p.Gap != nil {
			t.Errorf("nothing is missing after %v, and there is the gap %+v", m[8-keep].Position, p.Gap)
		}
	}
	t.Retain("r", settings.History{Count: 9, Age: time.Nanosecond})
	t.send("r", "10")
	<-time.After(time.Millisecond)
	equal(t, "too old", described(t.page("r", hub.Query{Last: 99, Limit: 99})))
}

func (t *suite) retainUnknown() {
	t.Retain("r", settings.History{Count: 9})
	t.readMakesNothing()
}

func (t *suite) concurrent() {
	tail, in := t.opened("r")
	t.Retain("r", settings.History{Count: 20})
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for n := range 100 {
				_, _ = t.Publish(t.Context(), draft("r", fmt.Sprint(n)))
				_, _ = t.Publish(t.Context(), draft(fmt.Sprint("r", n%3), fmt.Sprint(n)))
			}
		})
		all.Go(func() {
			at := tail
			for range 100 {
				p, err := t.Read(t.Context(), "r", hub.Query{After: at, Limit: 5})
				if err != nil || p.Cursor.Offset < at.Offset {
					t.Errorf("reading after %v: %v, %v", at, p.Cursor, err)
				}
				at = p.Cursor
			}
		})
		all.Go(func() {
			for n := range 100 {
				_, stop, err := t.Subscribe(t.Context(), fmt.Sprint("r", i), new(inbox))
				if err != nil {
					t.Error(err)
					return
				}
				t.Retain(fmt.Sprint("r", i), settings.History{Count: n % 5})
				stop()
			}
		})
	}
	all.Wait()
	if got := in.wait(t, 300); len(got) != 300 {
		t.Errorf("%d messages are delivered", len(got))
	}
}

// described returns a page as text: its gap, and its messages' data.
func described(p hub.Page) (all []string) {
	if p.Gap != nil {
		all = append(all, "gap "+string(p.Gap.Reason))
	}
	return append(all, texts(p.Messages)...)
}

// count returns the numbers as text.
func count(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func equal(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
