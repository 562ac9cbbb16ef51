package hub_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

func TestNoEcho(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
			quiet, loud := connect(t, h, hub.Client{NoEcho: true}), connect(t, h, hub.Client{})
			join(t, quiet, "r", hub.Start{})
			join(t, loud, "r", hub.Start{})
			for _, s := range []*hub.Session{quiet, loud} {
				name := map[*hub.Session]string{quiet: "quiet", loud: "loud"}[s]
				for _, signal := range []bool{false, true} {
					if _, err := s.Publish(t.Context(), hub.Publication{Room: "r", Data: []byte(name), Signal: signal}); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := []string{"loud", "loud"}
			if late {
				// From the log, which has no signals.
				publish(t, h, "r", count(1, 64)...)
				advance(time.Minute)
				publish(t, h, "r", "65")
				want = append([]string{"loud"}, count(1, 65)...)
			}
			equal(t, "its own left out", drain(t, quiet), want...)
			if !late {
				equal(t, "everything", drain(t, loud), "quiet", "quiet", "loud") // its own signal is not for it
			}
		})
	}
}

func TestSignals(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		signal := func(text string) {
			t.Helper()
			r := send(t, h, hub.Publication{Room: "r", Data: []byte(text), Signal: true})
			if !r.IsZero() || !r.Time.Equal(time.Now()) {
				t.Errorf("receipt %+v", r)
			}
		}
		s := member(t, h, "r", hub.Start{})
		before := tail(t, h, "r")
		signal("s1")
		publish(t, h, "r", "1")
		signal("s2")
		equal(t, "live, in order", drain(t, s), "s1", "1", "s2")
		equal(t, "not in history", history(t, h, "r"), "1")
		equal(t, "not in pages", read(t, h, "r", hub.Query{After: before, Limit: 9}), "1")
		later := member(t, h, "r", hub.Start{After: before})
		signal("s3")
		equal(t, "not replayed", drain(t, later), "1", "s3")
		for range 100 {
			signal("lost")
		}
		advance(time.Minute)
		signal("last")
		if got := drain(t, s); len(got) != 64 || got[63] != "last" {
			t.Errorf("loss of signals is no gap: %d, %q", len(got), got)
		}
	})
}

// Nobody waits for a session that never calls Next.
func TestSlowSessionSlowsNobody(t *testing.T) {
	bubble(t, configured(keeping(10, 0)), func(t *testing.T, h *hub.Hub) {
		slow, quick := member(t, h, "r", hub.Start{}), member(t, h, "r", hub.Start{})
		start := time.Now()
		for i := range 1000 {
			text := count(i, i)
			publish(t, h, "r", text...)
			equal(t, "quick", drain(t, quick), text...)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("somebody waited %v", d)
		}
		advance(time.Minute)
		publish(t, h, "r", "last")
		equal(t, "quick", drain(t, quick), "last")
		equal(t, "slow", drain(t, slow)[:2], "gap slow", "937")
	})
}

func TestNotices(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		wake := make(hub.WakeChan, 1)
		s, err := h.Connect(hub.Client{}, wake)
		if err != nil {
			t.Fatal(err)
		}
		join(t, s, "r", hub.Start{})
		publish(t, h, "r", "1")
		<-wake
		s.Notify([]byte("a"))
		<-wake
		s.Notify([]byte("b"))
		items, more := s.Next(make([]hub.Item, 0, 1))
		if len(items) != 1 || !more || describe(items[0]) != "notice a" {
			t.Errorf("%v, more %v", items, more)
		}
		equal(t, "notices first", drain(t, s), "notice b", "1")
		if sent, _ := s.Counts(); sent != 1 {
			t.Errorf("%d messages counted", sent)
		}

		s.Notify(make([]byte, 4<<10-1))
		s.Notify([]byte("x"))
		if s.Ended() != 0 {
			t.Fatalf("ended at 4 KiB: %v", s.Ended())
		}
		s.Notify([]byte("x"))
		if s.Ended() != hub.CauseSlow || h.Stats().Endings[hub.CauseSlow] != 1 {
			t.Errorf("ended %v, %+v", s.Ended(), h.Stats())
		}
		if got := drain(t, s); len(got) != 2 || got[1] != "notice x" {
			t.Errorf("%d items after the end, want the two notices that waited", len(got))
		}
		s.Notify([]byte("x"))
		equal(t, "nothing comes after the end", drain(t, s))
	})
}

// A room with much to tell starves no other.
func TestNextTakesTurns(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		for _, room := range []string{"a", "b", "c"} {
			join(t, s, room, hub.Start{})
			publish(t, h, room, room, room, room)
		}
		var first []string
		for range 3 {
			items, more := s.Next(make([]hub.Item, 0, 2))
			if !more || len(items) != 2 {
				t.Fatalf("%d items, more %v", len(items), more)
			}
			first = append(first, describe(items[0]))
		}
		equal(t, "who begins", first, "a", "b", "c")
		equal(t, "the rest", drain(t, s), "a", "b", "c")
		buf := append(make([]hub.Item, 0, 3), hub.Item{Notice: []byte("mine")})
		publish(t, h, "a", "x")
		items, more := s.Next(buf)
		if len(items) != 2 || more || describe(items[0]) != "notice mine" {
			t.Errorf("Next does not append: %v, more %v", items, more)
		}
	})
}

func TestJoinAgain(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		wake := make(hub.WakeChan, 1)
		s, err := h.Connect(hub.Client{}, wake)
		if err != nil {
			t.Fatal(err)
		}
		join(t, s, "r", hub.Start{})
		publish(t, h, "r", "1", "2")
		equal(t, "told", drain(t, s), "1", "2")
		select {
		case <-wake:
		default:
		}
		join(t, s, "r", hub.Start{Last: 1})
		select {
		case <-wake:
		default:
			t.Error("nobody says that there is something to read again")
		}
		equal(t, "told again", drain(t, s), "2")
		if n := h.SubscriberCount("r"); n != 1 {
			t.Errorf("%d members", n)
		}
		s.Unsubscribe("r")
		s.Unsubscribe("r")
		if n := h.SubscriberCount("r"); n != 0 {
			t.Errorf("%d members after leaving", n)
		}
		publish(t, h, "r", "3")
		equal(t, "after leaving", drain(t, s))
	})
}

func TestEnd(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{Address: addr("192.0.2.1")})
		join(t, s, "a", hub.Start{})
		join(t, s, "b", hub.Start{})
		publish(t, h, "a", "1")
		s.Notify([]byte("x"))
		if s.Ended() != 0 {
			t.Errorf("ended %v", s.Ended())
		}
		s.End(hub.CauseGone)
		s.End(hub.CauseSlow)
		if s.Ended() != hub.CauseGone {
			t.Errorf("ended %v: the first cause does not win", s.Ended())
		}
		st := h.Stats()
		if st.Sessions != 0 || len(st.Endings) != 1 || st.Endings[hub.CauseGone] != 1 {
			t.Errorf("%+v", st)
		}
		if h.SubscriberCount("a")+h.SubscriberCount("b") != 0 {
			t.Error("it is still a member")
		}
		equal(t, "what waited is told after the end, and no message", drain(t, s), "notice x")
		equal(t, "and once only", drain(t, s))
		if _, err := s.Subscribe(t.Context(), "c", hub.Start{}); !errors.Is(err, hub.ErrEnded) {
			t.Errorf("joining: %v", err)
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a"}); !errors.Is(err, hub.ErrEnded) {
			t.Errorf("publishing: %v", err)
		}
		if n := h.Stats().Rooms; n != 2 {
			t.Errorf("%d rooms: a session that has ended makes none", n)
		}
	})
}

func TestEndFromManySides(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		for range 50 {
			s := connect(t, h, hub.Client{Address: addr("192.0.2.1")})
			join(t, s, "r", hub.Start{})
			publish(t, h, "r", "1")
			var all sync.WaitGroup
			for _, c := range hub.Causes() {
				all.Go(func() { s.End(c) })
			}
			all.Go(func() { s.Next(make([]hub.Item, 0, 4)) })
			all.Go(func() { s.Notify([]byte("x")) })
			all.Go(func() { _, _ = s.Subscribe(t.Context(), "other", hub.Start{}) })
			all.Wait()
		}
		total := uint64(0)
		for _, n := range h.Stats().Endings {
			total += n
		}
		if total != 50 || h.Stats().Sessions != 0 {
			t.Errorf("%d endings, %+v", total, h.Stats())
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		wake := make(hub.WakeChan, 1)
		s, err := h.Connect(hub.Client{}, wake)
		if err != nil {
			t.Fatal(err)
		}
		join(t, s, "r", hub.Start{})
		publish(t, h, "r", "1")
		<-wake
		for range 2 {
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		<-wake
		if s.Ended() != hub.CauseStopping || len(h.Sessions()) != 0 || h.Stats().Bytes != 0 {
			t.Errorf("ended %v, %+v", s.Ended(), h.Stats())
		}
		if err := h.Caller(hub.Client{}).CanConnect(); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("admitting: %v", err)
		}
		if _, err := h.Connect(hub.Client{}, deaf{}); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("connecting: %v", err)
		}
		for _, room := range []string{"r", "new"} {
			if _, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: room}); !errors.Is(err, hub.ErrDraining) {
				t.Errorf("publishing in %s: %v", room, err)
			}
		}
	})
}

// A hub may be closed in the middle of everything.
func TestCloseMeanwhile(t *testing.T) {
	for range 20 {
		h, err := hub.New(configured(), hub.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, room := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				for {
					s, err := h.Connect(hub.Client{}, deaf{})
					if err != nil {
						return
					}
					_, _ = s.Subscribe(context.Background(), room, hub.Start{})
					_, _ = s.Publish(context.Background(), hub.Publication{Room: room + s.ID()})
				}
			})
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		all.Wait()
		if n := h.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions outlive the hub", n)
		}
	}
}

func TestSessionTellsWhoItIs(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		ann := &hub.User{ID: "u1", Name: "Ann"}
		s := connect(t, h, hub.Client{User: ann})
		if len(s.ID()) != 44 || !h.Owns(s.ID(), ann) || h.Owns(s.ID(), nil) || s.Client().ID != s.ID() || s.Client().User != ann || !s.Since().Equal(time.Now()) {
			t.Errorf("%+v since %v", s.Client(), s.Since())
		}
		join(t, s, "r", hub.Start{})
		p := hub.Publication{Room: "r", Event: "order", Kind: message.Text, Type: "text/plain", Data: []byte("hi"), Key: "k", TTL: time.Minute}
		for range 2 { // the second time it is the first answer again
			if _, err := s.Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		items, _ := s.Next(make([]hub.Item, 0, 9))
		if len(items) != 1 {
			t.Fatalf("%d items", len(items))
		}
		m := items[0].Message
		if m.From != ann || m.Publisher == "" || strings.Contains(s.ID(), m.Publisher) || m.Room != "r" || m.Event != "order" || m.Kind != message.Text ||
			m.Type != "text/plain" || string(m.Data) != "hi" || m.Key != "k" || !m.Expires.Equal(m.Time.Add(time.Minute)) {
			t.Errorf("%+v", m)
		}
		if sent, published := s.Counts(); sent != 1 || published != 1 {
			t.Errorf("%d sent, %d published", sent, published)
		}
	})
}

func TestCursor(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		if at := s.Cursor("r"); !at.IsZero() {
			t.Errorf("at %v in a room where it is not", at)
		}
		begin := join(t, s, "r", hub.Start{}).Cursor
		first, second := publish(t, h, "r", "1"), publish(t, h, "r", "2")
		for i, want := range []hub.Position{begin, first.Position, second.Position} {
			if at := s.Cursor("r"); at != want {
				t.Errorf("after %d messages at %v, want %v", i, at, want)
			}
			s.Next(make([]hub.Item, 0, 1))
		}
		s.Unsubscribe("r")
		if at := s.Cursor("r"); !at.IsZero() {
			t.Errorf("at %v in a room that it left", at)
		}
	})
}

func TestCauses(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range hub.Causes() {
		if name := c.String(); name == "" || name != strings.ToLower(name) || seen[name] {
			t.Errorf("cause %d is called %q", c, name)
		}
		seen[c.String()] = true
	}
	if hub.Cause(0).String() != "none" || hub.Cause(200).String() != "none" || seen["none"] {
		t.Error("what is no cause has a name")
	}
}

// A session may end before its request is answered. The answer says why.
func TestRefusalOfAnEndedSession(t *testing.T) {
	for cause, want := range map[hub.Cause]error{
		hub.CauseCredential: hub.ErrCredential, hub.CauseUser: hub.ErrUserChanged, hub.CauseForbidden: hub.ErrForbidden, hub.CauseNoRoom: hub.ErrNoRoom,
		hub.CauseAgain: hub.ErrDraining, hub.CauseDraining: hub.ErrDraining,
	} {
		e, h := newFake(t, configured())
		s := connect(t, h, hub.Client{})
		e.subscribe = func(context.Context) error {
			s.End(cause)
			return nil
		}
		if _, err := s.Subscribe(t.Context(), "r", hub.Start{}); !errors.Is(err, hub.ErrEnded) || !errors.Is(s.Refusal(), want) {
			t.Errorf("ended by %v: %v, refused with %v, want %v", cause, err, s.Refusal(), want)
		}
	}
}
