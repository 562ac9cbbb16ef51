package runs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

// shape is how messages are published in one slot.
type shape struct{ size, burst int }

// costs are processor times of a delivery in nanoseconds, one for each
// repetition. Repetition i of all servers is of the same time.
type costs map[string][]float64

// fan measures closed-loop: each round is published when the last one has
// arrived. It returns costs by shape. A server that fails is left out.
func (s *session) fan(servers []*peers.Server, c crowd, shapes []shape) ([]costs, error) {
	reps := quick(s, 3, 7)
	slot := quick(s, 150*time.Millisecond, 400*time.Millisecond)
	all := make([]costs, len(shapes))
	for i := range all {
		all[i] = costs{}
	}
	keep := c.size()*len(servers) <= maxHeld
	if c.size() > 5000 {
		reps = quick(s, 2, 3)
	}
	kept := map[string]*held{}
	defer func() {
		for _, h := range kept {
			h.pool.Close()
		}
	}()
	failed := map[string]bool{}
	fail := func(server *peers.Server, err error) {
		failed[server.Name] = true
		s.section.Note("%s, %d × %d %s: %v", server.Name, c.rooms, c.per, c.kind, err)
		if h := kept[server.Name]; h != nil {
			h.pool.Close()
			delete(kept, server.Name)
		}
	}
	for rep := range reps {
		for i := range servers {
			// Each repetition begins with another.
			server := servers[(i+rep)%len(servers)]
			if failed[server.Name] {
				continue
			}
			if err := s.ctx.Err(); err != nil {
				return all, err
			}
			s.say("%d × %d %s, repetition %d of %d, %s", c.rooms, c.per, c.kind, rep+1, reps, server.Name)
			h, err := s.holdOnce(kept, server, c)
			if err != nil {
				fail(server, err)
				continue
			}
			for j, shape := range shapes {
				cost, err := h.slot(shape, slot)
				if err != nil {
					fail(server, err)
					break
				}
				all[j][server.Name] = append(all[j][server.Name], cost)
			}
			if !keep && !failed[server.Name] {
				h.pool.Close()
				delete(kept, server.Name)
				s.pause(quick(s, 200*time.Millisecond, 400*time.Millisecond))
			}
		}
	}
	return all, nil
}

// holdOnce returns what is kept for the server, or connects a crowd and keeps it.
func (s *session) holdOnce(kept map[string]*held, server *peers.Server, c crowd) (*held, error) {
	if h := kept[server.Name]; h != nil {
		return h, nil
	}
	h, err := s.hold(server, c)
	if err != nil {
		return nil, err
	}
	kept[server.Name] = h
	s.pause(50 * time.Millisecond)
	return h, nil
}

// maxHeld is how many connections are held at once: a process may have 20,000
// files.
const maxHeld = 16_000

// slot runs rounds for so long, and returns what a delivery cost.
func (h *held) slot(shape shape, length time.Duration) (float64, error) {
	rooms := min(h.rooms, 100)
	if err := h.round(rooms, shape.size, shape.burst, roundTime); err != nil {
		return 0, err // and it warms up
	}
	delivered := h.pool.Delivered()
	before, err := h.server.CPU()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for n := 0; n < 3 || time.Since(begin) < length; n++ {
		if err := h.round(rooms, shape.size, shape.burst, roundTime); err != nil {
			return 0, err
		}
	}
	after, err := h.server.CPU()
	if err != nil {
		return 0, err
	}
	if delivered = h.pool.Delivered() - delivered; delivered == 0 {
		return 0, errors.New("nothing was delivered")
	}
	return float64(after-before) / float64(delivered), nil
}

// rows adds a row for each server: its cost, and its ratio to the floors.
func (s *session) rows(what string, servers []*peers.Server, c costs) {
	for _, server := range servers {
		v := c[server.Name]
		if len(v) == 0 {
			continue
		}
		s.section.Row(what, server.Name, spread(v, 1e3, 2), against(c, server.Name, peers.LoopC), against(c, server.Name, peers.Loop))
	}
}

var fanHead = []string{"", "server", "CPU µs a delivery (least to most)", "÷ C loop", "÷ Go loop"}

// against returns the median ratio to another server, repetition by repetition.
func against(c costs, name, other string) string {
	a, b := c[name], c[other]
	var ratios []float64
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	if len(ratios) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(ratios))
}

// spread shows the median and the ends, divided by unit.
func spread(v []float64, unit float64, digits int) string {
	if len(v) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, median(v)/unit, digits, slices.Min(v)/unit, digits, slices.Max(v)/unit)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	switch n := len(v); {
	case n == 0:
		return 0
	case n%2 == 0:
		return (v[n/2-1] + v[n/2]) / 2
	default:
		return v[n/2]
	}
}

func thousands(n int) string {
	if n >= 1000 {
		return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
	}
	return fmt.Sprint(n)
}

// kindOf returns the servers among these that serve a kind and have TLS, if asked.
func kindOf(servers []*peers.Server, k load.Kind, tls bool) []*peers.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(server *peers.Server) bool {
		return !server.Has(k) || tls && server.TLSPort == 0
	})
}
