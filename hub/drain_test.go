package hub_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// listener is a client that reads what it is given as soon as it is woken.
type listener struct {
	session *hub.Session
	told    []string
	ended   time.Time
}

// startListener returns a client in the room r, which reads until its session ends.
func startListener(t *testing.T, h *hub.Hub, all *sync.WaitGroup, c hub.Client) *listener {
	t.Helper()
	wake := make(hub.WakeChan, 1)
	s, err := h.Connect(c, wake)
	if err != nil {
		t.Fatal(err)
	}
	join(t, s, "r", hub.Start{})
	r := &listener{session: s}
	all.Go(func() {
		for s.Ended() == 0 {
			<-wake
			r.told = append(r.told, drain(t, s)...)
		}
		r.ended = time.Now()
	})
	return r
}

// startDrain drains the hub, and returns what is closed when that is done.
func startDrain(t *testing.T, h *hub.Hub, limit, spread time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		h.Drain(ctx, spread)
	}()
	synctest.Wait()
	return done
}

// Everybody is sent away at a time of their own, within the time for it.
func TestDrainSpreads(t *testing.T) {
	for _, test := range []struct {
		clients       int
		spread, least time.Duration
	}{{200, 4 * time.Second, 3500 * time.Millisecond}, {10, 4 * time.Second, 400 * time.Millisecond}, {1, 4 * time.Second, 0}, {50, 0, 0}} {
		bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
			var all sync.WaitGroup
			var readers []*listener
			for range test.clients {
				readers = append(readers, startListener(t, h, &all, hub.Client{}))
			}
			begin := time.Now()
			<-startDrain(t, h, time.Minute, test.spread)
			all.Wait()
			var at []time.Duration
			for _, r := range readers {
				if r.session.Ended() != hub.CauseStopping {
					t.Errorf("a session ended with %v", r.session.Ended())
				}
				at = append(at, r.ended.Sub(begin))
			}
			slices.Sort(at)
			last := at[len(at)-1]
			if last > test.spread || last < test.least || last > time.Duration(test.clients)*50*time.Millisecond {
				t.Errorf("%d clients in %v: the last one was sent away after %v", test.clients, test.spread, last)
			}
			if together := len(at) - len(slices.Compact(at)); test.spread > 0 && together > 0 {
				t.Errorf("%d of %d were sent away together with others", together, len(at))
			}
		})
	}
}

// While the hub drains there are no new sessions and, since its log ends with it, no publications; but
// what there is can be read.
func TestDrainRefuses(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", "kept")
		s := member(t, h, "r", hub.Start{})
		done := startDrain(t, h, time.Minute, time.Second)
		caller := h.Caller(hub.Client{})
		if _, err := h.Connect(hub.Client{}, deaf{}); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("connecting: %v", err)
		}
		if err := caller.CanConnect(); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("asking whether one may connect: %v", err)
		}
		for _, c := range []*hub.Caller{caller, &s.Caller} {
			for _, signal := range []bool{false, true} {
				if _, err := c.Publish(t.Context(), hub.Publication{Room: "r", Signal: signal}); !errors.Is(err, hub.ErrDraining) {
					t.Errorf("publishing: %v", err)
				}
			}
		}
		leave, err := caller.Occupy()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "what can be read", history(t, h, "r"), "kept")
		advance(2 * time.Second)
		drain(t, s)
		advance(time.Second)
		select {
		case <-done:
			t.Error("the answer that is being written was not waited for")
		default:
		}
		leave()
		<-done
	})
}

// slow is an engine in memory that stores a message when it is told to.
type slow struct {
	*hub.Memory
	store chan struct{}
}

// Wraps returns the engine.
func (e slow) Wraps() hub.Engine { return e.Memory }

func (e slow) Publish(ctx context.Context, d hub.Draft) (hub.Receipt, error) {
	<-e.store
	return e.Memory.Publish(ctx, d)
}

// newSlow returns such an engine, and a hub on it.
func newSlow(t *testing.T) (slow, *hub.Hub) {
	t.Helper()
	e := slow{hub.NewMemory(), make(chan struct{})}
	return e, newHubOn(t, e, configured())
}

// What is being published when the hub begins to drain is published, and everybody gets it before
// they are sent away, however slowly they read.
func TestDrainFinishesWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newSlow(t)
		var all sync.WaitGroup
		var readers []*listener
		for range 20 {
			readers = append(readers, startListener(t, h, &all, hub.Client{}))
		}
		late := member(t, h, "r", hub.Start{}) // reads nothing for a long time
		var published sync.WaitGroup
		for _, text := range []string{"first", "second"} {
			published.Go(func() { publish(t, h, "r", text) })
			synctest.Wait()
		}
		done := startDrain(t, h, time.Minute, time.Second)
		advance(5 * time.Second)
		if n := h.Stats().Sessions; n != 21 {
			t.Errorf("%d sessions while something was being published, want all", n)
		}
		e.store <- struct{}{}
		e.store <- struct{}{}
		published.Wait()
		all.Wait()
		for _, r := range readers {
			if len(r.told) != 2 {
				t.Errorf("a client was told %q before it was sent away", r.told)
			}
		}
		advance(10 * time.Second)
		if late.Ended() != 0 {
			t.Error("the slow client was sent away before it got everything")
		}
		if told := drain(t, late); len(told) != 2 || late.Ended() != hub.CauseStopping {
			t.Errorf("the slow client got %q, and ended with %v", told, late.Ended())
		}
		<-done
	})
}

// An engine whose logs outlive the hub takes publications until the end: clients find them when they
// come back.
func TestDrainOfALastingEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := newFake(t, configured())
		s := member(t, h, "r", hub.Start{})
		done := startDrain(t, h, time.Minute, time.Second)
		publish(t, h, "r", "a")
		<-done
		if s.Ended() != hub.CauseStopping {
			t.Errorf("ended with %v", s.Ended())
		}
		publish(t, h, "r", "b")
		if _, err := h.Connect(hub.Client{}, deaf{}); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("connecting: %v", err)
		}
	})
}

// Neither a publication nor a client that does not end holds the drain for longer than its time.
func TestDrainIsBounded(t *testing.T) {
	t.Run("publication", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e, h := newSlow(t)
			var published sync.WaitGroup
			published.Go(func() { publish(t, h, "r", "late") })
			synctest.Wait()
			begin := time.Now()
			<-startDrain(t, h, 5*time.Second, time.Second)
			if took := time.Since(begin); took != 5*time.Second {
				t.Errorf("took %v", took)
			}
			e.store <- struct{}{}
			published.Wait()
		})
	})
	t.Run("client", func(t *testing.T) {
		bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
			s := member(t, h, "r", hub.Start{})
			publish(t, h, "r", "unread")
			begin := time.Now()
			<-startDrain(t, h, 5*time.Second, time.Second)
			if took := time.Since(begin); took != 5*time.Second || s.Ended() != 0 {
				t.Errorf("took %v, ended %v", took, s.Ended())
			}
			if err := h.Close(t.Context()); err != nil || s.Ended() != hub.CauseStopping {
				t.Errorf("closed with %v, ended %v", err, s.Ended())
			}
		})
	})
}

// A server that shuts down sends its own clients away, and no others.
func TestAttachedMove(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		old, other := hub.NewAttached(h), hub.NewAttached(h)
		stays := member(t, h, "r", hub.Start{})
		defer other.Add(stays)()
		var sessions []*hub.Session
		var removes []func()
		for range 10 {
			s := member(t, h, "r", hub.Start{})
			sessions, removes = append(sessions, s), append(removes, old.Add(s))
		}
		gone := member(t, h, "r", hub.Start{})
		old.Add(gone)()
		old.Move(4*time.Second, 5*time.Second)
		sent := func() (n int) {
			for _, s := range sessions {
				if s.Dismissed() {
					n++
				}
			}
			return n
		}
		advance(250 * time.Millisecond)
		if n := sent(); n < 4 || n > 6 {
			t.Errorf("%d of 10 were sent away in half the time", n)
		}
		advance(250 * time.Millisecond)
		if n := sent(); n != 10 || stays.Dismissed() || gone.Dismissed() {
			t.Errorf("%d of 10 were sent away; one of another server: %t, one that is not attached any more: %t", n, stays.Dismissed(), gone.Dismissed())
		}
		if told := drain(t, sessions[0]); sessions[0].Ended() != hub.CauseDraining || len(told) != 0 {
			t.Errorf("one that reads is told %q, and ended with %v", told, sessions[0].Ended())
		}
		if got := sessions[1].Ended(); got != 0 {
			t.Errorf("one that does not read ended with %v before its time", got)
		}
		advance(5 * time.Second)
		if got := sessions[1].Ended(); got != hub.CauseDraining || stays.Ended() != 0 || gone.Ended() != 0 {
			t.Errorf("after all of the time, one that does not read ended with %v, others with %v and %v", got, stays.Ended(), gone.Ended())
		}
		late := member(t, h, "r", hub.Start{})
		removes = append(removes, old.Add(late))
		if late.Ended() != hub.CauseDraining {
			t.Errorf("one that came late ended with %v", late.Ended())
		}
		for _, remove := range removes {
			remove()
		}
	})
}

// The hub waits for what an attached connection still writes after its session has ended.
func TestDrainWaitsForAttached(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := member(t, h, "r", hub.Start{})
		remove := hub.NewAttached(h).Add(s)
		done := startDrain(t, h, time.Minute, time.Second)
		advance(time.Second)
		drain(t, s)
		advance(time.Second)
		select {
		case <-done:
			t.Error("it was not waited for")
		default:
		}
		remove()
		<-done
	})
}

// Members do not move when the server sends clients away, and they come back.
func TestPresenceStandsStill(t *testing.T) {
	noGrace := configured(func(s *settings.Settings) { s.Presence.Grace = 0 })
	bubble(t, noGrace, func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, watcher, "r", hub.Start{})
		ben := connect(t, h, person("ben"))
		join(t, ben, "r", hub.Start{State: []byte(`1`)})
		old := hub.NewAttached(h)
		leave := []func(){old.Add(ben)}
		for range 3 {
			leave = append(leave, old.Add(member(t, h, "r", hub.Start{}))) // only counted
		}
		anonymous := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, anonymous, "r", hub.Start{})
		leave = append(leave, old.Add(anonymous))
		advance(2 * time.Second)
		seen(t, watcher)

		old.Move(0, time.Second)
		advance(2 * time.Second)
		for _, f := range leave {
			f()
		}
		if n, err := h.Caller(hub.Client{}).MemberCount("r"); n != 6 || err != nil {
			t.Errorf("%d members while clients move, want 6", n)
		}
		equal(t, "seen while clients move", seen(t, watcher))
		ben = connect(t, h, person("ben"))
		join(t, ben, "r", hub.Start{State: []byte(`1`)})
		for range 2 { // one does not come back
			member(t, h, "r", hub.Start{})
		}
		anonymous = connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, anonymous, "r", hub.Start{})
		advance(time.Second)
		equal(t, "seen when they have come back", seen(t, watcher))
		advance(5 * time.Second)
		if frames := seen(t, watcher); len(frames) != 1 || frames[0] != "5" {
			t.Errorf("seen when the place of one is given up: %q, want 5", frames)
		}
	})
}

// Nobody is told that members leave a hub that ends.
func TestPresenceStandsStillInADrain(t *testing.T) {
	noGrace := configured(func(s *settings.Settings) { s.Presence.Grace = 0 })
	bubble(t, noGrace, func(t *testing.T, h *hub.Hub) {
		var all sync.WaitGroup
		var readers []*listener
		for _, name := range []string{"ann", "ben", "cleo"} {
			readers = append(readers, startListener(t, h, &all, person(name)))
		}
		advance(2 * time.Second)
		before := make(map[*listener]int)
		for _, r := range readers {
			before[r] = len(r.told)
		}
		<-startDrain(t, h, time.Hour, 40*time.Minute)
		all.Wait()
		for _, r := range readers {
			if told := r.told[before[r]:]; len(told) > 0 {
				t.Errorf("told %q while others were sent away", told)
			}
		}
	})
}

// An answer that a client waits for comes before its goodbye.
func TestDismissWaitsForAnAnswer(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := member(t, h, "r", hub.Start{})
		release := s.Hold()
		s.Dismiss(hub.CauseStopping)
		equal(t, "before the answer", drain(t, s))
		if s.Ended() != 0 {
			t.Error("ended before the answer")
		}
		s.Answer([]byte("ok"))
		release()
		equal(t, "the answer", drain(t, s), "notice ok")
		if s.Ended() != hub.CauseStopping {
			t.Errorf("ended with %v", s.Ended())
		}
	})
}
