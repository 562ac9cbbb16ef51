package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// logOf returns a function that reads a log of n messages, from offset 1 on, of which the engine
// delivers only what is later.
func logOf(n uint64) func(hub.Query) (hub.Page, error) {
	at := func(offset uint64) hub.Position { return hub.Position{Epoch: "e", Offset: offset} }
	return func(q hub.Query) (hub.Page, error) {
		if q.After.IsZero() {
			return hub.Page{Start: at(n), Cursor: at(n)}, nil
		}
		p := hub.Page{Start: q.After, Cursor: q.After}
		for offset := q.After.Offset + 1; offset <= n; offset++ {
			if len(p.Messages) == q.Limit {
				p.More = true
				break
			}
			p.Messages = append(p.Messages, &hub.Message{Room: "r", Position: at(offset), Data: fmt.Append(nil, offset)})
			p.Cursor = at(offset)
		}
		return p, nil
	}
}

// heldBack reads like read, but those who catch up wait for release. A join, which has no limit, does not.
func heldBack(read func(hub.Query) (hub.Page, error), release <-chan struct{}) func(hub.Query) (hub.Page, error) {
	return func(q hub.Query) (hub.Page, error) {
		if q.Limit > 1 {
			<-release
		}
		return read(q)
	}
}

// behind returns a client in the room r whose cursor is before everything.
func behind(t *testing.T, h *hub.Hub, all *sync.WaitGroup) *listener {
	t.Helper()
	wake := make(hub.WakeChan, 1)
	s, err := h.Connect(hub.Client{}, wake)
	if err != nil {
		t.Fatal(err)
	}
	join(t, s, "r", hub.Start{After: hub.Position{Epoch: "e", Offset: 1}})
	l := &listener{session: s}
	all.Go(func() {
		for s.Ended() == 0 {
			<-wake
			l.told = append(l.told, drain(t, s)...)
		}
	})
	return l
}

// While the engine is slow for one room, others go on, nobody holds a lock, and who is behind gets all of it
// in the end.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		release := make(chan struct{})
		e.read = heldBack(logOf(9), release)
		var all sync.WaitGroup
		first := &listener{}
		all.Go(func() { first = behind(t, h, new(sync.WaitGroup)) })
		synctest.Wait()
		other := member(t, h, "other", hub.Start{})
		publish(t, h, "other", "not held up")
		equal(t, "another room", drain(t, other), "not held up")
		if !h.Unlocked() {
			t.Error("the hub is locked")
		}
		close(release)
		all.Wait()
		synctest.Wait()
		equal(t, "who was behind", first.told, count(2, 9)...)
		first.session.End(hub.CauseLeft)
		synctest.Wait()
	})
}

// A read that fails is repeated after pauses that grow, and is logged once.
func TestLogThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		var said strings.Builder
		h.SetLogger(slog.New(slog.NewTextHandler(&said, nil)))
		read := logOf(9)
		var fails atomic.Bool
		var tries atomic.Int32
		fails.Store(true)
		e.read = func(q hub.Query) (hub.Page, error) {
			if fails.Load() && q.Limit > 1 {
				tries.Add(1)
				return hub.Page{}, errEngine
			}
			return read(q)
		}
		var all sync.WaitGroup
		readers := []*listener{behind(t, h, &all), behind(t, h, &all)}
		advance(10 * time.Second)
		if n := tries.Load(); n < 6 || n > 9 {
			t.Errorf("%d tries in ten seconds", n)
		}
		if n := strings.Count(said.String(), "reading a room's log"); n != 1 {
			t.Errorf("logged %d times: %s", n, said.String())
		}
		fails.Store(false)
		advance(30 * time.Second)
		for _, r := range readers {
			equal(t, "when it is well again", r.told, count(2, 9)...)
			r.session.End(hub.CauseLeft)
		}
		all.Wait()
	})
}

// Those who wait for the same page share one read.
func TestSharedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		read, release, reads := logOf(9), make(chan struct{}), 0
		var mu sync.Mutex
		e.read = func(q hub.Query) (hub.Page, error) {
			if q.Limit > 1 {
				<-release
				<-time.After(10 * time.Millisecond) // meanwhile others ask
				mu.Lock()
				defer mu.Unlock()
				reads++
			}
			return read(q)
		}
		var all sync.WaitGroup
		var readers []*listener
		for range 100 {
			readers = append(readers, behind(t, h, &all))
		}
		synctest.Wait()
		close(release)
		advance(time.Second)
		if reads == 0 || reads > 10 {
			t.Errorf("%d reads for %d clients", reads, len(readers))
		}
		for _, r := range readers {
			equal(t, "told", r.told, count(2, 9)...)
			r.session.End(hub.CauseLeft)
		}
		all.Wait()
	})
}

// A session that was dismissed while it waits for a page gets that first.
func TestDismissWaitsForAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		release := make(chan struct{})
		e.read = heldBack(logOf(9), release)
		var all sync.WaitGroup
		r := behind(t, h, &all)
		synctest.Wait()
		r.session.Dismiss(hub.CauseDraining)
		synctest.Wait()
		if r.session.Ended() != 0 {
			t.Error("it has ended without its page")
		}
		close(release)
		all.Wait()
		equal(t, "told", r.told, count(2, 9)...)
	})
}

// The hub's end does not wait for a read that does not end by itself.
func TestCloseEndsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		read := logOf(9)
		e.readCtx = func(ctx context.Context, q hub.Query) (hub.Page, error) {
			if q.Limit > 1 {
				<-ctx.Done()
				return hub.Page{}, ctx.Err()
			}
			return read(q)
		}
		var all sync.WaitGroup
		behind(t, h, &all)
		synctest.Wait()
		begin := time.Now()
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// Who does not want to wait for a room that the engine opens slowly goes; the others get it, and other rooms
// are not held up.
func TestRoomThatOpensSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		release := make(chan struct{})
		var slow atomic.Bool
		slow.Store(true)
		e.subscribe = func(context.Context) error {
			if slow.Load() {
				<-release
			}
			return nil
		}
		var all sync.WaitGroup
		patient := connect(t, h, hub.Client{})
		all.Go(func() { join(t, patient, "r", hub.Start{}) })
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := connect(t, h, hub.Client{}).Subscribe(hurried, "r", hub.Start{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who is in a hurry: %v", err)
		}
		slow.Store(false)
		publish(t, h, "other", "1")
		close(release)
		all.Wait()
		publish(t, h, "r", "2")
		equal(t, "who has waited", drain(t, patient), "2")
	})
}

// What a session publishes ends with it.
func TestSessionEndsWhilePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, configured())
		e.publish = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		s := connect(t, h, hub.Client{})
		failed := make(chan error, 1)
		go func() {
			_, err := s.Publish(s.Context(), hub.Publication{Room: "r"})
			failed <- err
		}()
		synctest.Wait()
		s.End(hub.CauseGone)
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("publishing: %v", err)
		}
		if err := s.Context().Err(); err == nil {
			t.Error("the context of a session that has ended goes on")
		}
		<-s.Context().Done()
	})
}

// A room keeps what has arrived for so long, whatever the engine's clock says.
func TestWindowOfAnEngineWithAnotherClock(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(skew.String(), inBubble(func(t *testing.T) {
			e, h := newFake(t, configured())
			e.skew = skew
			s := member(t, h, "r", hub.Start{})
			publish(t, h, "r", count(1, 100)...) // more than a room keeps for long
			e.read = func(hub.Query) (hub.Page, error) {
				t.Error("the engine is asked for what has just arrived")
				return hub.Page{}, errEngine
			}
			equal(t, "told", drain(t, s), count(1, 100)...)
			s.End(hub.CauseLeft)
			advance(window)
			if n := h.Stats().Rooms; n != 0 {
				t.Errorf("%d rooms are left when their windows are over", n)
			}
		}))
	}
}

// What waits for a slow engine is bounded by its weight; one message alone may be larger.
func TestPublicationsUnderWayAreBounded(t *testing.T) {
	large := configured(func(s *settings.Settings) { s.MaxMessageSize, s.HistoryMemory = 100<<20, 1<<30 })
	synctest.Test(t, func(t *testing.T) {
		e, h := newFake(t, large)
		release := make(chan struct{})
		e.publish = func(context.Context) error {
			<-release
			return nil
		}
		var all sync.WaitGroup
		begin := func(size int) {
			all.Go(func() { publish(t, h, "r", string(make([]byte, size))) })
			synctest.Wait()
		}
		for range 3 {
			begin(20 << 20)
		}
		_, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "r", Data: make([]byte, 20<<20)})
		if e := limited(t, err, limit.ErrFull, "publications under way"); e.RetryAfter == 0 {
			t.Error("it is not said when to try again")
		}
		begin(1 << 20)
		close(release)
		all.Wait()
		e.publish = nil
		publish(t, h, "r", string(make([]byte, 90<<20)))
	})
}
