package runs

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// sessions measures a hub alone, with sessions that have no sockets.
func sessions(s *session) error {
	most := quick(s, 100_000, 1_000_000)
	h, err := hub.New(unlimited(), hub.NewMemory())
	if err != nil {
		return err
	}
	defer func() { _ = h.Close(context.Background()) }()
	crowds := []*listeners{{}, {}} // as many as there are shards on two processors
	heap := inUse()
	begin := time.Now()
	all, err := s.subscribe(h, crowds, most)
	if err != nil {
		return err
	}
	each := (inUse() - heap) / int64(most)
	joined := time.Since(begin) / time.Duration(most)

	publish := s.timed(1000, func(i int) error {
		_, err := h.Caller(hub.Client{}).Publish(s.ctx, hub.Publication{Room: "large", Data: make([]byte, 128)})
		for _, c := range crowds {
			c.read()
		}
		return err
	})
	items := make([]hub.Item, 0, 64)
	for _, one := range all[:most/10] {
		for more := true; more; { // until it has caught up with the others
			_, more = one.Next(items)
		}
	}
	walk := s.timed(20, func(int) error {
		_, err := h.Caller(hub.Client{}).Publish(s.ctx, hub.Publication{Room: "large", Data: make([]byte, 128)})
		for _, c := range crowds {
			c.walk()
		}
		return err
	})
	one := all[0] // of the large room
	leave := s.timed(1000, func(int) error {
		_ = one.Unsubscribe("large")
		_, err := one.Subscribe(s.ctx, "large", hub.Start{})
		return err
	})
	s.section.Row(thousands(most), fmt.Sprint(each), micros(joined), micros(publish), micros(walk), micros(leave))
	s.section.Note("%d rooms; the large one has %s members.", h.Stats().Rooms, thousands(h.SubscriberCount("large")))
	for _, o := range all {
		o.End(hub.CauseLeft)
	}
	return nil
}

// subscribe connects n sessions, and shares them out among the dispatchers.
func (s *session) subscribe(h *hub.Hub, crowds []*listeners, n int) ([]*hub.Session, error) {
	all := make([]*hub.Session, 0, n)
	for i := range n {
		if i%10_000 == 0 {
			if err := s.ctx.Err(); err != nil {
				return nil, err
			}
			s.say("%s sessions", thousands(i))
		}
		one, err := h.Connect(hub.Client{}, crowds[i%len(crowds)])
		if err == nil {
			_, err = one.Subscribe(s.ctx, roomOf(i, n), hub.Start{})
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// roomOf puts a tenth of the sessions into one room, and the others by tens.
func roomOf(i, most int) string {
	if i < most/10 {
		return "large"
	}
	return fmt.Sprint("small/", i/10)
}

func unlimited() *settings.Settings {
	set := settings.Defaults()
	set.Rate = limit.Unlimited
	set.MaxConnections, set.MaxPerAddress, set.MaxRooms = settings.Off, settings.Off, settings.Off
	return set
}

// listeners is a dispatcher that reads on demand.
type listeners struct {
	due      []*hub.SubscriberGroup
	messages [64]*hub.Message
	chunk    [64]*hub.Subscription
}

// Wake implements hub.Waker.
func (*listeners) Wake() {}

// Dispatcher makes it its sessions' dispatcher.
func (l *listeners) Dispatcher() hub.Dispatcher { return l }

// Notify implements hub.Dispatcher.
func (l *listeners) Notify(f *hub.SubscriberGroup) { l.due = append(l.due, f) }

// read reads the news of all rooms, for nobody.
func (l *listeners) read() {
	for _, f := range l.due {
		f.Next(l.messages[:0], 1<<20)
	}
	l.due = l.due[:0]
}

// walk has every member take the news.
func (l *listeners) walk() {
	for _, f := range l.due {
		batch, _ := f.Next(l.messages[:0], 1<<20)
		for i := f.Len(); i > 0; {
			var members []*hub.Subscription
			members, i = f.Subscriptions(i, l.chunk[:0])
			for _, m := range members {
				m.Advance(&batch)
			}
		}
	}
	l.due = l.due[:0]
}

// timed returns the median of what f takes.
func (s *session) timed(times int, f func(int) error) time.Duration {
	took := make([]time.Duration, 0, times)
	for i := range times {
		begin := time.Now()
		if err := f(i); err != nil {
			s.section.Note("%v", err)
			break
		}
		took = append(took, time.Since(begin))
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/1e3) }

// inUse returns the bytes of the heap that are in use, after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
