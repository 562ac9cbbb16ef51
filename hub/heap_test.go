package hub_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// heapBudget is the budget of the loads below, in bytes.
const heapBudget = 16 << 20

// maxHeap is how much of the heap a full budget may take, as a multiple of it.
const maxHeap = 1.5

// loads fill a budget several times over, each with something else.
var loads = []struct {
	name string
	fill func(t testing.TB, h *hub.Hub)
}{
	{"few bytes", func(t testing.TB, h *hub.Hub) {
		for i := range 100_000 {
			send(t, h, hub.Publication{Room: fmt.Sprint("r", i%100), Kind: message.Text, Data: []byte("hello")})
		}
	}},
	{"in large arrays", func(t testing.TB, h *hub.Hub) {
		for i := range 40_000 {
			data := append(make([]byte, 0, 8<<10), strings.Repeat("x", 700)...)
			send(t, h, hub.Publication{Room: fmt.Sprint("r", i%100), Kind: message.Text, Data: data})
		}
	}},
	{"large", func(t testing.TB, h *hub.Hub) {
		for i := range 800 {
			send(t, h, hub.Publication{Room: fmt.Sprint("r", i%100), Data: bytes.Repeat([]byte{1}, 64<<10)})
		}
	}},
	{"all fields", func(t testing.TB, h *hub.Hub) {
		for i := range 60_000 {
			u := &hub.User{ID: fmt.Sprint("u", i, strings.Repeat("i", 100)), Name: fmt.Sprint(i, strings.Repeat("n", 100))}
			p := hub.Publication{
				Room: fmt.Sprint("r", i%100), Event: fmt.Sprint("e", i), Type: fmt.Sprint("image/", i, strings.Repeat("t", 100)),
				Key: fmt.Sprint(i, strings.Repeat("k", 200)), TTL: time.Hour + time.Duration(i), Data: []byte{1},
			}
			if _, err := h.Caller(hub.Client{ID: fmt.Sprint(i, strings.Repeat("c", 40)), User: u}).Publish(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"encoded", func(t testing.TB, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		join(t, s, "r", hub.Start{})
		buf := make([]hub.Item, 0, 64)
		for range 30_000 {
			send(t, h, hub.Publication{Room: "r", Kind: message.Text, Data: []byte(strings.Repeat("x", 300))})
			items, _ := s.Next(buf)
			for _, it := range items {
				for f := range message.MaxForms {
					it.Message.Form(hub.Form(f), func(m *hub.Message) []byte { return append(make([]byte, 0, 3*len(m.Data)), m.Data...) })
				}
			}
		}
		s.End(hub.CauseLeft)
	}},
	{"signals", func(t testing.TB, h *hub.Hub) {
		for i := range 60_000 {
			send(t, h, hub.Publication{Room: fmt.Sprint("r", i%100), Kind: message.Text, Data: []byte(strings.Repeat("x", 300)), Event: "typing", Signal: true})
		}
	}},
	{"presence", func(t testing.TB, h *hub.Hub) {
		state := []byte(`"` + strings.Repeat("s", 900) + `"`)
		wake := make(hub.WakeChan, 1)
		watcher, err := h.Connect(hub.Client{ID: "watcher", Presence: hub.PresenceAll}, wake)
		if err != nil {
			t.Fatal(err)
		}
		join(t, watcher, "r", hub.Start{})
		buf := make([]hub.Item, 0, 64)
		for round := range 6 {
			for i := range 4000 {
				state[3], state[4], state[5] = byte('a'+i%26), byte('a'+i/26%26), byte('a'+round)
				_ = h.Caller(hub.Client{ID: fmt.Sprint("visitor", i)}).Show(t.Context(), "r", bytes.Clone(state)) // it may be full
			}
			<-wake // within a second
			for items, more := watcher.Next(buf); len(items) > 0 || more; items, more = watcher.Next(buf) {
				for _, it := range items {
					if it.Presence != nil {
						for f := range 5 {
							it.Presence.Form(hub.Form(f), true, func(p *hub.Presence, _ bool) []byte {
								return make([]byte, 1000*(len(p.Here)+len(p.Enter)+len(p.Update)))
							})
						}
					}
				}
			}
		}
		watcher.End(hub.CauseLeft)
	}},
	{"snapshots", func(t testing.TB, h *hub.Hub) {
		state := []byte(`"` + strings.Repeat("s", 300) + `"`)
		for i := range 20_000 {
			_ = h.Caller(hub.Client{ID: fmt.Sprint("visitor", i)}).Show(t.Context(), fmt.Sprint("r", i%100), bytes.Clone(state))
		}
		for range 3 {
			for i := range 100 {
				p, err := h.Caller(hub.Client{}).Presence(fmt.Sprint("r", i))
				if err != nil {
					t.Fatal(err)
				}
				for f := range 5 {
					p.Form(hub.Form(f), true, func(p *hub.Presence, _ bool) []byte { return make([]byte, 400*len(p.Here)) })
				}
			}
		}
	}},
}

// heap fills a new hub and returns how much the heap has grown, as a multiple of
// the budget.
func heap(t testing.TB, fill func(testing.TB, *hub.Hub)) float64 {
	h := newHub(t, configured(keeping(settings.Off, 0), func(s *settings.Settings) {
		s.HistoryMemory = heapBudget
	}))
	before := inUse()
	fill(t, h)
	grown := inUse() - before
	runtime.KeepAlive(h)
	return float64(grown) / heapBudget
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first has found to be finalised
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Everything kept is charged at its weight: a full budget is about what the heap has
// grown by.
func TestHeapStaysWithinBudget(t *testing.T) {
	for _, load := range loads {
		t.Run(load.name, func(t *testing.T) {
			if ratio := heap(t, load.fill); ratio > maxHeap {
				t.Errorf("the heap has grown by %.2f of the budget", ratio)
			}
		})
	}
}

// BenchmarkHeap tells by how much of its budget the heap grows.
func BenchmarkHeap(b *testing.B) {
	for _, load := range loads {
		b.Run(load.name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(heap(b, load.fill), "heap/budget")
			}
		})
	}
}
