package hub_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// closedEngine is an engine that has to be opened. It fails the test if anything else comes first.
type closedEngine struct {
	store hub.Store // in place of the fake's; nil: that
	*fake
	t     *testing.T
	open  func(context.Context) error // nil: it succeeds
	keep  func(string) settings.History
	calls []string
}

func (e *closedEngine) Govern(keep func(string) settings.History) {
	e.calls, e.keep = append(e.calls, "govern"), keep
}

func (e *closedEngine) Open(ctx context.Context) error {
	e.calls = append(e.calls, "open")
	if e.open != nil {
		return e.open(ctx)
	}
	return nil
}

func (e *closedEngine) State() hub.Store {
	if !slices.Contains(e.calls, "open") {
		e.t.Error("the state of an engine that is not open was asked for")
	}
	if e.store != nil {
		return e.store
	}
	return e.fake.State()
}

func (e *closedEngine) Close(ctx context.Context) error {
	e.calls = append(e.calls, "close")
	return e.fake.Close(ctx)
}

func newClosed(t *testing.T) (*closedEngine, *hub.Hub) {
	t.Helper()
	f, _ := newFake(t, settings.Defaults())
	e := &closedEngine{fake: f, t: t}
	h, err := hub.New(settings.Defaults(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e, h
}

func (e *closedEngine) called(want ...string) {
	e.t.Helper()
	if !slices.Equal(e.calls, want) {
		e.t.Errorf("the engine was told %q, want %q", e.calls, want)
	}
}

// A hub touches nothing of an engine that has to be opened before it is told to. It opens it once.
func TestOpen(t *testing.T) {
	e, h := newClosed(t)
	s := settings.Defaults()
	s.Rooms = []settings.RoomRule{{Pattern: "long*", History: &settings.History{Count: 7}}}
	if err := h.Configure(s); err != nil {
		t.Fatal(err)
	}
	h.Authorize(hub.Open{})
	h.SetLogger(slog.New(slog.DiscardHandler))
	e.called()
	for range 2 {
		if err := h.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e.called("govern", "open")
	if got := e.keep("long/one").Count; got != 7 {
		t.Errorf("of a room nobody has used %d messages are kept, want those of the settings in force", got)
	}
	if err := h.Configure(settings.Defaults()); err != nil {
		t.Fatal(err)
	}
	if got := e.keep("long/one"); got != settings.Defaults().Policy("long/one").History {
		t.Errorf("after another configuration it keeps %+v", got)
	}
	if h.NewConn(nil) == "" || h.Subkey("x") == [32]byte{} {
		t.Error("there is no secret")
	}
	session, err := h.Connect(hub.Client{}, make(hub.WakeChan, 1))
	if err != nil {
		t.Fatal(err)
	}
	join(t, session, "r", hub.Start{})
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	e.called("govern", "open", "close")
}

// A hub that was never opened ends without touching its engine, and opens no more.
func TestCloseOfAHubThatIsNotOpen(t *testing.T) {
	e, h := newClosed(t)
	h.StopAccepting()
	h.Drain(t.Context(), 0)
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.Open(t.Context()); !errors.Is(err, hub.ErrDraining) {
		t.Errorf("opening it later: %v", err)
	}
	e.called()
}

// An engine that cannot be opened is closed all the same, for it may hold something.
func TestOpenFails(t *testing.T) {
	e, h := newClosed(t)
	e.open = func(context.Context) error { return errEngine }
	for range 2 {
		if err := h.Open(t.Context()); !errors.Is(err, errEngine) {
			t.Errorf("opening: %v", err)
		}
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	e.called("govern", "open", "close")
}

// What cannot be read from the engine's state keeps a hub from being opened.
func TestOpenWithoutState(t *testing.T) {
	e, h := newClosed(t)
	e.store = sickStore{}
	if err := h.Open(t.Context()); !errors.Is(err, errEngine) {
		t.Errorf("opening: %v", err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	e.called("govern", "open", "close")
}

type sickStore struct{ hub.Store }

func (sickStore) Get(context.Context, string) ([]byte, uint64, error) { return nil, 0, errEngine }

// Close does not wait for a lock that Open waits for.
func TestCloseEndsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newClosed(t)
		e.open = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		opened := make(chan error, 1)
		go func() { opened <- h.Open(t.Context()) }()
		synctest.Wait()
		begin := time.Now()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-opened; !errors.Is(err, context.Canceled) {
			t.Errorf("opening: %v", err)
		}
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("it took %v", waited)
		}
		e.called("govern", "open", "close")
	})
}
