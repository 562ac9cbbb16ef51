package runs

import (
	"fmt"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
	"github.com/caddy-realtime/realtime/bench/report"
)

// sweep is a chart that is being measured.
type sweep struct {
	report.Chart
	lines map[string]*report.Line
}

func newSweep(file, title, x string) *sweep {
	return &sweep{Chart: report.Chart{File: file, Title: title, X: x, Y: "CPU µs a delivery"}, lines: map[string]*report.Line{}}
}

func (w *sweep) add(x float64, c costs) {
	for name, v := range c {
		if len(v) == 0 {
			continue
		}
		if w.lines[name] == nil {
			w.lines[name] = &report.Line{Name: name}
		}
		w.lines[name].Points = append(w.lines[name].Points, [2]float64{x, median(v) / 1e3})
	}
}

// draw adds the chart to the section.
func (w *sweep) draw(s *session) {
	for _, m := range peers.Makers {
		if l := w.lines[m.Name]; l != nil {
			w.Lines = append(w.Lines, *l)
		}
	}
	if len(w.Lines) > 0 {
		s.section.Charts = append(s.section.Charts, w.Chart)
	}
}

// most are the servers that most runs compare.
func (s *session) most() []*peers.Server {
	return s.pick(peers.Ours, peers.LoopC, peers.Loop, peers.Channels, peers.Nchan, peers.SocketIO)
}

func fanOut(s *session) error {
	chart := newSweep("subscribers.svg", "One room, 128 B, WebSocket", "subscribers")
	defer chart.draw(s)
	shapes := []shape{{128, 1}, {1024, 1}}
	for _, n := range quick(s, []int{100, 1000}, []int{100, 1000, 10_000}) {
		servers := s.most()
		if n == 1000 && !s.Quick {
			servers = append(servers, s.pick(peers.Nchan2)...)
		}
		all, err := s.fan(servers, crowd{rooms: 1, per: n}, shapes)
		for i, shape := range shapes {
			s.rows(fmt.Sprintf("%s × %d B", thousands(n), shape.size), servers, all[i])
		}
		chart.add(float64(n), all[0])
		if err != nil {
			return err
		}
	}
	return nil
}

func bursts(s *session) error {
	for _, n := range quick(s, []int{1000}, []int{100, 1000}) {
		shapes := []shape{{128, 1}, {128, 10}}
		all, err := s.fan(s.most(), crowd{rooms: 1, per: n}, shapes)
		for _, server := range s.most() {
			one, ten := all[0][server.Name], all[1][server.Name]
			if len(one) == 0 || len(ten) == 0 {
				continue
			}
			floor := ""
			if loop := all[0][peers.Loop]; len(loop) > 0 {
				floor = fmt.Sprintf("%.2f", median(ten)/median(loop))
			}
			s.section.Row(thousands(n), server.Name, spread(one, 1e3, 2), spread(ten, 1e3, 2), fmt.Sprintf("%.2f", median(ten)/median(one)), floor)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sizes(s *session) error {
	chart := newSweep("sizes.svg", "One room of 500, WebSocket", "bytes of a message")
	defer chart.draw(s)
	var shapes []shape
	for _, size := range quick(s, []int{64, 1024, 16_384}, []int{64, 256, 1024, 4096, 16_384}) {
		shapes = append(shapes, shape{size, 1})
	}
	all, err := s.fan(s.most(), crowd{rooms: 1, per: 500}, shapes)
	for i, shape := range shapes {
		s.rows(fmt.Sprintf("%s B", thousands(shape.size)), s.most(), all[i])
		chart.add(float64(shape.size), all[i])
	}
	return err
}

func rooms(s *session) error {
	chart := newSweep("rooms.svg", "Rooms of 10, 128 B, WebSocket", "rooms")
	defer chart.draw(s)
	for _, n := range quick(s, []int{10, 100}, []int{10, 100, 1000}) {
		all, err := s.fan(s.most(), crowd{rooms: n, per: 10}, []shape{{128, 1}})
		s.rows(thousands(n)+" rooms", s.most(), all[0])
		chart.add(float64(n), all[0])
		if err != nil {
			return err
		}
	}
	return nil
}

func streams(s *session) error {
	n := 1000
	for _, c := range []struct {
		kind load.Kind
		tls  bool
	}{{load.WebSocket, false}, {load.Events, false}, {load.Lines, false}} {
		servers := kindOf(s.pick(peers.Ours, peers.Nchan), c.kind, c.tls)
		all, err := s.fan(servers, crowd{rooms: 1, per: n, kind: c.kind, tls: c.tls}, []shape{{128, 1}, {128, 10}})
		for _, server := range servers {
			s.section.Row(c.kind.String(), server.Name, spread(all[0][server.Name], 1e3, 2), spread(all[1][server.Name], 1e3, 2))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func encrypted(s *session) error {
	for _, n := range quick(s, []int{500}, []int{1000, 5000}) {
		for _, kind := range quick(s, []load.Kind{load.WebSocket}, []load.Kind{load.WebSocket, load.Events}) {
			var results [2][]costs
			for i, tls := range []bool{false, true} {
				var err error
				if results[i], err = s.fan(s.pick(peers.Ours), crowd{rooms: 1, per: n, kind: kind, tls: tls}, []shape{{128, 1}, {1024, 1}}); err != nil {
					return err
				}
			}
			for j, size := range []string{"128 B", "1,024 B"} {
				s.section.Row(fmt.Sprintf("%s × %s", thousands(n), size), kind.String(),
					spread(results[0][j][peers.Ours], 1e3, 2), spread(results[1][j][peers.Ours], 1e3, 2))
			}
		}
	}
	return nil
}

func history(s *session) error {
	for _, c := range []crowd{{rooms: 1, per: 1000}, {rooms: 100, per: 10}} {
		var on, off []float64
		for range quick(s, 1, 2) {
			for _, prefix := range []string{"", "/none/"} {
				c.prefix = prefix
				all, err := s.fan(s.pick(peers.Ours), c, []shape{{128, 1}})
				if err != nil {
					return err
				}
				if prefix == "" {
					on = append(on, all[0][peers.Ours]...)
				} else {
					off = append(off, all[0][peers.Ours]...)
				}
			}
		}
		s.section.Row(fmt.Sprintf("%s × %s", thousands(c.rooms), thousands(c.per)), spread(on, 1e3, 2), spread(off, 1e3, 2))
	}
	return nil
}
