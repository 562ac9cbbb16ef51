package hub_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// After any sequence of events a reader's snapshot and the differences together give
// what the hub knows.
func TestPresenceConverges(t *testing.T) {
	for seed := range uint64(12) {
		bubble(t, configured(func(s *settings.Settings) { s.Presence.Grace = 2 * time.Second }), func(t *testing.T, h *hub.Hub) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			var watchers []*watcher
			sessions := make(map[int]*hub.Session)
			for range 300 {
				who := rnd.IntN(100) // enough that snapshots are shared
				switch s := sessions[who]; {
				case rnd.IntN(20) == 0:
					w := &watcher{s: connect(t, h, hub.Client{Presence: hub.PresenceAll, Observer: true}), here: make(map[string]string)}
					join(t, w.s, "r", hub.Start{})
					watchers = append(watchers, w)
				case s == nil:
					s = connect(t, h, person(fmt.Sprint("u", who%80)))
					start := hub.Start{}
					if rnd.IntN(4) > 0 {
						start.State = fmt.Append(nil, rnd.IntN(5))
					}
					join(t, s, "r", start)
					sessions[who] = s
				case rnd.IntN(2) == 0:
					_ = s.Show(t.Context(), "r", fmt.Append(nil, rnd.IntN(5)))
				default:
					if rnd.IntN(2) == 0 {
						s.Unsubscribe("r")
					}
					s.End(hub.CauseGone)
					delete(sessions, who)
				}
				if rnd.IntN(3) == 0 {
					advance(time.Duration(rnd.IntN(900)) * time.Millisecond)
				}
				if len(watchers) > 0 && rnd.IntN(3) == 0 {
					watchers[rnd.IntN(len(watchers))].read()
				}
			}
			advance(time.Minute)
			p, err := h.Caller(hub.Client{}).Presence("r")
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			for _, m := range p.Here {
				want[m.ID] = string(m.State)
			}
			for i, w := range watchers {
				if w.read(); !maps.Equal(w.here, want) || w.members != p.Members {
					t.Errorf("seed %d, watcher %d: %d members, %v, want %d, %v", seed, i, w.members, w.here, p.Members, want)
				}
			}
		})
	}
}

// watcher does what a client does with presence.
type watcher struct {
	s       *hub.Session
	members int
	here    map[string]string
}

func (w *watcher) read() {
	for more := true; more; {
		var items []hub.Item
		items, more = w.s.Next(make([]hub.Item, 0, 16))
		for _, it := range items {
			p := it.Presence
			if p == nil {
				continue
			}
			w.members = p.Members
			if p.Snapshot {
				clear(w.here)
			}
			for _, m := range slices.Concat(p.Here, p.Enter, p.Update) {
				w.here[m.ID] = string(m.State)
			}
			for _, d := range p.Leave {
				delete(w.here, d.ID)
			}
		}
	}
}
