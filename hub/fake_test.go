package hub_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/receipts"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// errEngine is what a fake engine fails with.
var errEngine = errors.New("the engine is ill")

// fake is an engine that stores nothing and does what the test says. It delivers what
// is published at once, with the epoch and offset that are next.
type fake struct {
	publish   func(context.Context) error // before a message is delivered
	subscribe func(context.Context) error
	read      func(hub.Query) (hub.Page, error)
	readCtx   func(context.Context, hub.Query) (hub.Page, error) // in place of read
	forget    func()                                             // before a room is forgotten
	skew      time.Duration                                      // of its clock
	state     hub.Store
	keys      *receipts.Store[hub.Receipt]

	mu      sync.Mutex
	next    hub.Position
	readers map[string]hub.Reader

	panicking string // the method that panics next
}

// newFake returns a fake and a hub on it.
func newFake(t testing.TB, s *settings.Settings) (*fake, *hub.Hub) {
	t.Helper()
	e := &fake{
		next: hub.Position{Epoch: "e", Offset: 10}, readers: make(map[string]hub.Reader),
		state: hub.NewMemory().State(), keys: receipts.New[hub.Receipt](func() int64 { return receipts.MaxBytes }),
	}
	h, err := hub.New(s, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Check(); err != nil {
			t.Errorf("at the end: %v", err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return e, h
}

func (e *fake) Publish(ctx context.Context, d hub.Draft) (hub.Receipt, error) {
	if d.Scope == "" {
		return e.append(ctx, d.Message)
	}
	r, replayed, err := e.keys.Do(ctx, d.Scope, d.Print, func() (hub.Receipt, error) { return e.append(ctx, d.Message) })
	r.Replayed = replayed
	return r, err
}

func (e *fake) append(ctx context.Context, m *hub.Message) (hub.Receipt, error) {
	if e.publish != nil {
		if err := e.publish(ctx); err != nil {
			return hub.Receipt{}, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m.Time = time.Now().Add(e.skew)
	if !m.Signal {
		m.Position = e.next
		e.next.Offset++
	}
	if r := e.readers[m.Room]; r != nil {
		r.Deliver(m)
	}
	return hub.Receipt{Position: m.Position, Time: m.Time}, nil
}

func (e *fake) Subscribe(ctx context.Context, room string, r hub.Reader) (hub.Position, func(), error) {
	if e.subscribe != nil {
		if err := e.subscribe(ctx); err != nil {
			return hub.Position{}, nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readers[room] = r
	tail := e.next
	tail.Offset--
	return tail, func() {
		e.maybePanic("stop")
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.readers, room)
	}, nil
}

func (e *fake) Read(ctx context.Context, _ string, q hub.Query) (hub.Page, error) {
	if e.readCtx != nil {
		return e.readCtx(ctx, q)
	}
	if e.read != nil {
		return e.read(q)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	tail := e.next
	tail.Offset--
	return hub.Page{Start: tail, Cursor: tail}, nil
}

// reset loses what lies before tail, or begins anew.
func (e *fake) reset(room string, tail hub.Position, reason hub.GapReason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = tail
	e.next.Offset++
	e.readers[room].Reset(tail, reason)
}

// subscriptions returns the rooms that are subscribed to.
func (e *fake) subscriptions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.readers))
}

func (e *fake) Retain(string, settings.History) { e.maybePanic("retain") }

// panicIn makes the next call of a method panic.
func (e *fake) panicIn(method string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.panicking = method
}

// panics reports whether a panic is still to come.
func (e *fake) panics() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.panicking != ""
}

func (e *fake) maybePanic(method string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.panicking == method {
		e.panicking = ""
		panic("engine")
	}
}

func (e *fake) Forget(string, bool) bool {
	e.maybePanic("forget")
	if e.forget != nil {
		e.forget()
	}
	return true
}

func (e *fake) State() hub.Store { return e.state }

func (*fake) Health() hub.Health { return hub.Health{} }

func (e *fake) Close(context.Context) error {
	e.keys.Close()
	return nil
}

// An error of the engine is returned, and nothing is left behind.
func TestEngineFails(t *testing.T) {
	e, h := newFake(t, configured())
	ill := func(context.Context) error { return errEngine }
	s := connect(t, h, hub.Client{})

	e.publish = ill
	if _, err := s.Publish(t.Context(), hub.Publication{Room: "a"}); !errors.Is(err, errEngine) {
		t.Errorf("publishing: %v", err)
	}
	e.publish, e.subscribe = nil, ill
	if _, err := s.Publish(t.Context(), hub.Publication{Room: "b"}); !errors.Is(err, errEngine) {
		t.Errorf("making a room: %v", err)
	}
	if _, err := s.Subscribe(t.Context(), "b", hub.Start{}); !errors.Is(err, errEngine) {
		t.Errorf("joining: %v", err)
	}
	if n := h.Stats().Rooms; n != 1 {
		t.Errorf("%d rooms: one that could not be opened must go", n)
	}
	e.subscribe = nil
	e.read = func(hub.Query) (hub.Page, error) { return hub.Page{}, errEngine }
	if _, err := s.Subscribe(t.Context(), "b", hub.Start{}); !errors.Is(err, errEngine) || h.SubscriberCount("b") != 0 {
		t.Errorf("finding the place: %v, %d members", err, h.SubscriberCount("b"))
	}
	if _, err := h.Caller(hub.Client{}).Read(t.Context(), "b", hub.Query{Last: 1}); !errors.Is(err, errEngine) {
		t.Errorf("reading: %v", err)
	}
	e.read = nil
	join(t, s, "b", hub.Start{})
	publish(t, h, "b", "well again")
	equal(t, "told", drain(t, s), "well again")
}

// A session that is behind the window gets what the engine says. It waits, and never
// for ever with locks held.
func TestSessionBehindTheWindow(t *testing.T) {
	at := func(epoch string, offset uint64) hub.Position { return hub.Position{Epoch: epoch, Offset: offset} }
	old := at("e", 5)
	m := &hub.Message{Room: "r", Position: at("e", 7), Data: []byte("seven")}
	tests := []struct {
		name string
		page hub.Page
		err  error
		want []string // then "live" follows, if the page leads to the window
		live bool
	}{
		{"the rest", hub.Page{Messages: []*hub.Message{m}, Cursor: at("e", 9)}, nil, []string{"seven"}, true},
		{"overtaken", hub.Page{Gap: &hub.Gap{Room: "r", From: old, To: at("e", 9), Reason: message.GapExpired}}, nil, []string{"gap slow"}, true},
		{"the log began anew", hub.Page{Gap: &hub.Gap{Room: "r", From: old, To: at("e", 9), Reason: message.GapEpoch}}, nil, []string{"gap epoch"}, true},
		{"the log lags", hub.Page{Cursor: old}, nil, nil, false},
		{"the engine fails", hub.Page{}, errEngine, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, h := newFake(t, configured())
				s := connect(t, h, hub.Client{})
				e.read = func(hub.Query) (hub.Page, error) { return hub.Page{Start: old, Cursor: at("e", 9), More: true}, nil }
				join(t, s, "r", hub.Start{After: old})
				publish(t, h, "r", "live")
				e.read = func(hub.Query) (hub.Page, error) { return test.page, test.err }
				want := test.want
				if test.live {
					want = append(want, "live")
				}
				equal(t, "told", caughtUp(t, s), want...)
			})
		})
	}
}

// On an engine that keeps its logs elsewhere, a room is forgotten as soon as
// its window is empty.
func TestRoomsOfARemoteEngine(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
		e, h := newFake(t, configured(func(s *settings.Settings) { s.MaxRooms = 1 }))
		publish(t, h, "a", "1")
		publish(t, h, "b", "makes a go")
		equal(t, "subscriptions", e.subscriptions(), "b")
		advance(window)
		equal(t, "subscriptions", e.subscriptions())
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms", n)
		}
	})
}

// An engine may have stored what it has not delivered yet. A session that has read it
// from the log does not get it again.
func TestReadBeforeDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		old, first := hub.Position{Epoch: "e", Offset: 5}, e.next
		e.read = func(hub.Query) (hub.Page, error) { return hub.Page{Start: old, Cursor: first, More: true}, nil }
		s := member(t, h, "r", hub.Start{After: old})
		e.read = func(hub.Query) (hub.Page, error) {
			return hub.Page{Messages: []*hub.Message{{Room: "r", Position: first, Data: []byte("1")}}, Cursor: first}, nil
		}
		equal(t, "from the log", caughtUp(t, s), "1")
		publish(t, h, "r", "1", "2")
		equal(t, "from the window", caughtUp(t, s), "2")
	})
}

// A panic while sweeping costs that sweep, not the server, and leaves no lock
// behind.
func TestJanitorSurvivesAPanic(t *testing.T) {
	for _, where := range []string{"retain", "stop"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
				e, h := newFake(t, configured())
				publish(t, h, "r", "1")
				e.panicIn(where)
				advance(2 * window)
				if !h.Unlocked() {
					t.Fatal("the hub is locked for ever")
				}
				if n := h.Stats().Rooms; n != 0 || e.panics() {
					t.Errorf("%d rooms are left, still to panic: %v", n, e.panics())
				}
			})
		})
	}
}

// While the engine forgets a room, callers of other rooms do not wait. A caller that wants
// the room again gets another one afterwards.
func TestEngineForgetsSlowly(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
		e, h := newFake(t, configured(func(s *settings.Settings) { s.MaxRooms = 2 }))
		publish(t, h, "a", "1")
		publish(t, h, "b", "1")
		release := make(chan struct{})
		e.forget = func() { <-release }
		var all sync.WaitGroup
		answered := make(chan string, 2)
		for _, room := range []string{"c", "a"} { // a makes way for c
			all.Go(func() {
				if _, err := h.Caller(hub.Client{}).Publish(context.Background(), hub.Publication{Room: room}); err != nil {
					t.Error(err)
				}
				answered <- room
			})
			synctest.Wait()
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.Caller(hub.Client{}).Publish(impatient, hub.Publication{Room: "a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who does not want to wait: %v", err)
		}
		publish(t, h, "b", "2")
		if len(answered) != 0 || !slices.Equal(e.subscriptions(), []string{"b"}) {
			t.Errorf("%d are answered, %q subscribed", len(answered), e.subscriptions())
		}
		close(release)
		all.Wait()
		if got := e.subscriptions(); !slices.Contains(got, "a") || len(got) != 2 {
			t.Errorf("%q are subscribed", got)
		}
	})
}

// A room that the engine does not forget stays.
func TestEngineForgetPanics(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
		e, h := newFake(t, configured())
		publish(t, h, "a", "1")
		e.panicIn("forget")
		for e.panics() {
			advance(time.Second)
		}
		if n := h.Stats().Rooms; n != 1 {
			t.Fatalf("%d rooms", n)
		}
		publish(t, h, "a", "2")
		advance(time.Minute)
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms are left", n)
		}
	})
}
