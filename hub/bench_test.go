package hub_test

import (
	"fmt"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

func BenchmarkPublish(b *testing.B) {
	for _, members := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			h := newHub(b, configured())
			for range members {
				join(b, connect(b, h, hub.Client{}), "r", hub.Start{})
			}
			p := hub.Publication{Room: "r", Data: make([]byte, 128)}
			b.ReportAllocs()
			for b.Loop() {
				send(b, h, p)
			}
		})
	}
}

// quiet is a dispatcher, and the Waker of its sessions, that remembers its group.
type quiet struct {
	deaf
	group *hub.SubscriberGroup
}

func (q *quiet) Dispatcher() hub.Dispatcher    { return q }
func (q *quiet) Notify(f *hub.SubscriberGroup) { q.group = f }

// BenchmarkAppend publishes to dispatchers: the cost of storing, ordering, and telling
// them, which does not grow with the members.
func BenchmarkAppend(b *testing.B) {
	for _, members := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			h := newHub(b, configured(func(s *settings.Settings) { s.MaxConnections = settings.Off }))
			dispatchers := []*quiet{{}, {}}
			for i := range members {
				s, err := h.Connect(hub.Client{}, dispatchers[i%2])
				if err != nil {
					b.Fatal(err)
				}
				join(b, s, "r", hub.Start{})
			}
			p := hub.Publication{Room: "r", Data: make([]byte, 128)}
			room := make([]*hub.Message, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				send(b, h, p)
				for _, c := range dispatchers {
					if c.group != nil {
						c.group.Next(room, 1<<20)
						c.group = nil
					}
				}
			}
		})
	}
}

// BenchmarkStep walks through a room's members, who all take the batch: what a
// delivery costs before anything is written.
func BenchmarkStep(b *testing.B) {
	const members = 10_000
	h := newHub(b, configured())
	dispatcher := new(quiet)
	sessions := make([]*hub.Session, members)
	for i := range sessions {
		s, err := h.Connect(hub.Client{}, dispatcher)
		if err != nil {
			b.Fatal(err)
		}
		join(b, s, "r", hub.Start{})
		sessions[i] = s
	}
	publish(b, h, "r", "first")
	buf := make([]hub.Item, 0, 64)
	for _, s := range sessions {
		s.Next(buf)
	}
	room, chunk := make([]*hub.Message, 0, 64), make([]*hub.Subscription, 0, 64)
	dispatcher.group.Next(room, 1<<20)
	p := hub.Publication{Room: "r", Data: make([]byte, 128)}
	b.ReportAllocs()
	for b.Loop() {
		send(b, h, p)
		batch, _ := dispatcher.group.Next(room, 1<<20)
		taken := 0
		for i := dispatcher.group.Len(); i > 0; {
			chunk, i = dispatcher.group.Subscriptions(i, chunk[:0])
			for _, m := range chunk {
				if m.Advance(&batch) {
					taken++
				}
			}
		}
		if taken != members {
			b.Fatalf("%d took it", taken)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/member")
}

// BenchmarkNext resumes before a window of 64 messages, and reads them.
func BenchmarkNext(b *testing.B) {
	h := newHub(b, configured())
	before := tail(b, h, "r")
	s := member(b, h, "r", hub.Start{})
	publish(b, h, "r", count(1, 64)...)
	buf := make([]hub.Item, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		join(b, s, "r", hub.Start{After: before})
		if items, _ := s.Next(buf); len(items) != cap(buf) {
			b.Fatalf("%d messages", len(items))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cap(buf)), "ns/message")
}

func BenchmarkNextOfNothing(b *testing.B) {
	h := newHub(b, configured())
	s := member(b, h, "r", hub.Start{})
	buf := make([]hub.Item, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(buf)
	}
}

// BenchmarkRoom finds one of 10,000 rooms.
func BenchmarkRoom(b *testing.B) {
	h := newHub(b, configured())
	for i := range settings.DefaultMaxRooms {
		publish(b, h, fmt.Sprint("room/", i), "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		h.SubscriberCount("room/4711")
	}
}

// BenchmarkNewRoom makes a room in a full hub, where another one makes way.
func BenchmarkNewRoom(b *testing.B) {
	h := newHub(b, configured())
	for i := range settings.DefaultMaxRooms {
		publish(b, h, fmt.Sprint("room/", i), "x")
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		publish(b, h, fmt.Sprint("new/", i), "x")
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, members := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			h := newHub(b, configured(func(s *settings.Settings) { s.MaxConnections = settings.Off }))
			dispatcher := new(quiet)
			for range members {
				s, err := h.Connect(hub.Client{}, dispatcher)
				if err != nil {
					b.Fatal(err)
				}
				join(b, s, "r", hub.Start{})
			}
			s, err := h.Connect(hub.Client{}, dispatcher)
			if err != nil {
				b.Fatal(err)
			}
			publish(b, h, "r", "x")
			b.ReportAllocs()
			for b.Loop() {
				join(b, s, "r", hub.Start{})
				s.Unsubscribe("r")
			}
		})
	}
}

func BenchmarkConnectEnd(b *testing.B) {
	h := newHub(b, configured())
	b.ReportAllocs()
	for b.Loop() {
		connect(b, h, hub.Client{Address: addr("192.0.2.1")}).End(hub.CauseLeft)
	}
}
