package hub_test

import (
	"fmt"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
)

func BenchmarkPublish(b *testing.B) {
	for _, members := range []int{0, 1, 1000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			h := newHub(b, settings())
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

// BenchmarkNext resumes before a window of 64 messages, and reads them.
func BenchmarkNext(b *testing.B) {
	h := newHub(b, settings())
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
	h := newHub(b, settings())
	s := member(b, h, "r", hub.Start{})
	buf := make([]hub.Item, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(buf)
	}
}

// BenchmarkRoom finds one of 10,000 rooms.
func BenchmarkRoom(b *testing.B) {
	h := newHub(b, settings())
	for i := range hub.DefaultMaxRooms {
		publish(b, h, fmt.Sprint("room/", i), "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Members("room/4711")
	}
}

// BenchmarkNewRoom makes a room in a full hub, where another one makes way.
func BenchmarkNewRoom(b *testing.B) {
	h := newHub(b, settings())
	for i := range hub.DefaultMaxRooms {
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
	for _, members := range []int{0, 1000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			h := newHub(b, settings())
			for range members {
				s, err := h.Connect(hub.Client{}, make(hub.Bell, 1))
				if err != nil {
					b.Fatal(err)
				}
				join(b, s, "r", hub.Start{})
			}
			s := connect(b, h, hub.Client{})
			publish(b, h, "r", "x")
			b.ReportAllocs()
			for b.Loop() {
				join(b, s, "r", hub.Start{})
				s.Leave("r")
			}
		})
	}
}

func BenchmarkConnectEnd(b *testing.B) {
	h := newHub(b, settings())
	b.ReportAllocs()
	for b.Loop() {
		connect(b, h, hub.Client{Address: addr("192.0.2.1")}).End(hub.CauseLeft)
	}
}
