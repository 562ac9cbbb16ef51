package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// numbers holds what one reader of a room saw: each publisher counts, and
// without a gap no number is missing.
type numbers struct {
	*testing.T
	last [stressPublishers]int
	free [stressPublishers]bool // a gap, or a beginning in the middle: any higher number may follow
	pos  hub.Position
}

const (
	stressPublishers = 4
	stressMessages   = 300 // of each publisher
)

// middle notes that the next number of each publisher is not known.
func (n *numbers) middle() {
	for i := range n.free {
		n.free[i] = true
	}
}

func (n *numbers) take(item hub.Item) {
	if item.Gap != nil {
		n.middle()
		n.pos = item.Gap.To
		return
	}
	m := item.Message
	if m == nil || m.Signal {
		return
	}
	if m.Offset <= n.pos.Offset {
		n.Errorf("%v comes after %v", m.Position, n.pos)
	}
	n.pos = m.Position
	var who, number int
	if _, err := fmt.Sscan(string(m.Data), &who, &number); err != nil {
		n.Errorf("%q: %v", m.Data, err)
		return
	}
	if number <= n.last[who] || !n.free[who] && number != n.last[who]+1 {
		n.Errorf("number %d of publisher %d comes after %d", number, who, n.last[who])
	}
	n.last[who], n.free[who] = number, false
}

// TestStress lets everybody do everything at once.
func TestStress(t *testing.T) {
	const room = "room"
	h := newHub(t, configured(keeping(50, 0)))
	ctx := t.Context()
	var publishing atomic.Int32
	var publishers, readers sync.WaitGroup
	published := make(chan struct{})

	// One reader stays from the beginning to the end; the others come and go.
	stays := func(start hub.Start) {
		wake := make(hub.WakeChan, 1)
		s, err := h.Connect(hub.Client{}, wake)
		if err != nil {
			t.Error(err)
			return
		}
		joined, err := s.Subscribe(ctx, room, start)
		if err != nil {
			t.Error(err)
			return
		}
		n := &numbers{T: t, pos: joined.Cursor}
		readers.Go(func() {
			defer s.End(hub.CauseLeft)
			buf := make([]hub.Item, 0, 16)
			for end := false; !end; {
				select {
				case <-wake:
				case <-published:
					end = true // and read the rest
				}
				for more := true; more; {
					buf, more = s.Next(buf[:0])
					for _, item := range buf {
						n.take(item)
						if item.Message != nil {
							item.Message.Form(1, func(m *hub.Message) []byte { return m.Data })
						}
					}
				}
			}
			for who, last := range n.last {
				if last != stressMessages && !n.free[who] {
					t.Errorf("the last number of publisher %d is %d", who, last)
				}
			}
			last, err := h.Caller(hub.Client{}).Read(ctx, room, hub.Query{Last: 1, Limit: 1})
			if err != nil || len(last.Messages) != 1 || n.pos.Offset < last.Messages[0].Offset {
				t.Errorf("a reader to the end stops at %v: %+v, %v", n.pos, last, err)
			}
		})
	}
	for range 3 {
		stays(hub.Start{})
	}
	for seed := range uint64(3) {
		readers.Go(func() { comesAndGoes(ctx, t, h, room, seed, published) })
		readers.Go(func() { polls(ctx, t, h, room, published) })
	}
	readers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-published:
				return
			case <-time.After(time.Millisecond):
			}
			change := configured(keeping(10+i%3*40, time.Duration(i%2)*time.Minute), func(s *settings.Settings) {
				s.HistoryMemory = int64(70_000 + i%4*10_000)
			})
			if err := h.Configure(change); err != nil {
				t.Error(err)
			}
			h.Stats()
			h.SubscriberCount(room)
		}
	})
	for who := range stressPublishers {
		publishing.Add(1)
		publishers.Go(func() {
			for number := 1; number <= stressMessages; number++ {
				p := hub.Publication{Room: room, Data: fmt.Append(nil, who, " ", number)}
				if _, err := h.Caller(hub.Client{}).Publish(ctx, p); err != nil {
					t.Error(err)
				}
				p = hub.Publication{Room: fmt.Sprint("r", number%20), Data: p.Data, Signal: number%2 == 0, Key: fmt.Sprint(number % 50)}
				_, _ = h.Caller(hub.Client{User: &hub.User{ID: fmt.Sprint(who, number/50)}}).Publish(ctx, p)
			}
			publishing.Add(-1)
		})
	}
	publishers.Wait()
	close(published)
	readers.Wait()
}

// comesAndGoes joins, reads for a while, goes, and resumes where it was.
func comesAndGoes(ctx context.Context, t *testing.T, h *hub.Hub, room string, seed uint64, end <-chan struct{}) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := &numbers{T: t}
	n.middle()
	for round := 0; ; round++ {
		select {
		case <-end:
			return
		default:
		}
		wake := make(hub.WakeChan, 1)
		client := hub.Client{Presence: hub.PresenceLevel(rnd.IntN(3)), Observer: rnd.IntN(5) == 0}
		if who := rnd.IntN(4); who > 0 {
			client.User = &hub.User{ID: fmt.Sprint("u", who)}
		}
		s, err := h.Connect(client, wake)
		if err != nil {
			t.Error(err)
			return
		}
		var start hub.Start
		if round > 0 {
			start.After = n.pos
		}
		if rnd.IntN(2) == 0 {
			start.State = []byte(`1`)
		}
		joined, err := s.Subscribe(ctx, room, start)
		if err != nil {
			t.Error(err)
			return
		}
		if round == 0 {
			n.pos = joined.Cursor
		}
		_, _ = s.Subscribe(ctx, fmt.Sprint("r", rnd.IntN(20)), hub.Start{Last: 3})
		buf := make([]hub.Item, 0, 1+rnd.IntN(30))
		for range rnd.IntN(20) {
			select {
			case <-wake:
			case <-end:
			}
			buf, _ = s.Next(buf[:0])
			for _, item := range buf {
				if item.Gap != nil && item.Gap.Room == room || item.Message != nil && item.Message.Room == room {
					n.take(item)
				}
			}
			if len(buf) == cap(buf) {
				wake.Wake()
			}
			if rnd.IntN(5) == 0 {
				_ = s.Show(t.Context(), room, fmt.Append(nil, rnd.IntN(3)))
				_ = h.Caller(s.Client()).Show(t.Context(), room, []byte(`2`))
			}
		}
		if rnd.IntN(2) == 0 {
			s.Unsubscribe(room)
		}
		s.End(hub.CauseGone)
	}
}

// polls reads page after page.
func polls(ctx context.Context, t *testing.T, h *hub.Hub, room string, end <-chan struct{}) {
	n := &numbers{T: t}
	n.middle()
	p, err := h.Caller(hub.Client{}).Read(ctx, room, hub.Query{})
	for err == nil {
		n.pos = p.Cursor
		select {
		case <-end:
			return
		default:
		}
		p, err = h.Caller(hub.Client{}).Read(ctx, room, hub.Query{After: n.pos, Limit: 7})
		if p.Gap != nil {
			n.take(hub.Item{Gap: p.Gap})
		}
		for _, m := range p.Messages {
			n.take(hub.Item{Message: m})
		}
	}
	t.Error(err)
}
