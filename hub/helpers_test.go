package hub_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// deaf is a Waker that nobody listens to.
type deaf struct{}

func (deaf) Wake() {}

// configured returns the defaults without rates, changed by change.
func configured(change ...func(*settings.Settings)) *settings.Settings {
	s := settings.Defaults()
	s.Rate = limit.Unlimited
	for _, f := range change {
		f(s)
	}
	return s
}

// keeping returns a change of settings: what every room keeps.
func keeping(count int, age time.Duration) func(*settings.Settings) {
	return func(s *settings.Settings) { s.History = settings.History{Count: count, Age: age} }
}

// newHub returns a hub that is checked and closed at the end of the test.
func newHub(t testing.TB, s *settings.Settings) *hub.Hub {
	t.Helper()
	return newHubOn(t, hub.NewMemory(), s)
}

// newHubOn does so with another engine.
func newHubOn(t testing.TB, e hub.Engine, s *settings.Settings) *hub.Hub {
	t.Helper()
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
	return h
}

// bubble runs f with a hub in a bubble of fake time.
func bubble(t *testing.T, s *settings.Settings, f func(*testing.T, *hub.Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newHub(t, s)) })
}

// inBubble returns a test that runs in a bubble of fake time.
func inBubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

// advance lets time pass in a bubble, and everybody finish what is due.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func connect(t testing.TB, h *hub.Hub, c hub.Client) *hub.Session {
	t.Helper()
	s, err := h.Connect(c, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func join(t testing.TB, s *hub.Session, room string, start hub.Start) hub.Joined {
	t.Helper()
	j, err := s.Subscribe(t.Context(), room, start)
	if err != nil {
		t.Fatalf("joining %s: %v", room, err)
	}
	return j
}

// member returns a new session that has joined the room.
func member(t testing.TB, h *hub.Hub, room string, start hub.Start) *hub.Session {
	t.Helper()
	s := connect(t, h, hub.Client{})
	join(t, s, room, start)
	return s
}

// publish publishes the texts, and returns the receipt of the last.
func publish(t testing.TB, h *hub.Hub, room string, texts ...string) (r hub.Receipt) {
	t.Helper()
	for _, text := range texts {
		r = send(t, h, hub.Publication{Room: room, Data: []byte(text)})
	}
	return r
}

func send(t testing.TB, h *hub.Hub, p hub.Publication) hub.Receipt {
	t.Helper()
	r, err := h.Caller(hub.Client{}).Publish(t.Context(), p)
	if err != nil {
		t.Fatalf("publishing in %s: %v", p.Room, err)
	}
	return r
}

// count returns the texts "from" to "to".
func count(from, to int) (texts []string) {
	for i := from; i <= to; i++ {
		texts = append(texts, fmt.Sprint(i))
	}
	return texts
}

// drain reads, with a small buffer, all that the session has to tell. Messages
// become their data, gaps "gap " and their reason, notices "notice " and text.
func drain(t testing.TB, s *hub.Session) (told []string) {
	t.Helper()
	buf := make([]hub.Item, 0, 7)
	for range 10_000 {
		items, more := s.Next(buf[:0])
		for _, item := range items {
			told = append(told, describe(item))
		}
		if !more {
			return told
		}
	}
	t.Fatal("there is no end to what the session has to tell")
	return nil
}

// caughtUp reads, in a bubble, all that the session has to tell, pages included that the engine has to be
// asked for.
func caughtUp(t testing.TB, s *hub.Session) (told []string) {
	t.Helper()
	for {
		more := drain(t, s)
		synctest.Wait()
		rest := drain(t, s)
		told = append(append(told, more...), rest...)
		if len(more)+len(rest) == 0 {
			return told
		}
	}
}

func describe(item hub.Item) string {
	switch {
	case item.Gap != nil:
		return "gap " + string(item.Gap.Reason)
	case item.Message != nil:
		return string(item.Message.Data)
	default:
		return "notice " + string(item.Notice)
	}
}

// read returns a page as drain would.
func read(t testing.TB, h *hub.Hub, room string, q hub.Query) []string {
	t.Helper()
	return told(page(t, h, room, q))
}

func page(t testing.TB, h *hub.Hub, room string, q hub.Query) hub.Page {
	t.Helper()
	p, err := h.Caller(hub.Client{}).Read(t.Context(), room, q)
	if err != nil {
		t.Fatalf("reading %s: %v", room, err)
	}
	return p
}

func told(p hub.Page) (told []string) {
	if p.Gap != nil {
		told = append(told, describe(hub.Item{Gap: p.Gap}))
	}
	for _, m := range p.Messages {
		told = append(told, string(m.Data))
	}
	return told
}

// history returns all that the room's log keeps.
func history(t testing.TB, h *hub.Hub, room string) []string {
	t.Helper()
	return read(t, h, room, hub.Query{Last: settings.Off, Limit: settings.Off})
}

func equal(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// limited checks that err is a limit's refusal, and returns it.
func limited(t testing.TB, err, sentinel error, option string) *limit.Error {
	t.Helper()
	var e *limit.Error
	if !errors.As(err, &e) || !errors.Is(err, sentinel) || e.Limit != option {
		t.Fatalf("error %v, want %v by %s", err, sentinel, option)
	}
	return e
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// tail returns where the room ends.
func tail(t testing.TB, h *hub.Hub, room string) hub.Position {
	t.Helper()
	return page(t, h, room, hub.Query{}).Cursor
}
