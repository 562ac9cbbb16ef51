package runs

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

// idle holds as many connections as a process may have files.
func idle(s *session) error {
	n := quick(s, 4000, 19_000)
	kinds := []idleKind{{peers.Ours, peers.Ours, "", false}}
	for _, used := range s.most() {
		if used.Name == peers.Ours {
			kinds = append(kinds, idleKind{peers.Ours + ", TLS", peers.Ours, "", true},
				idleKind{peers.Ours + ", poller off", peers.Ours, "poller off", false})
		} else {
			kinds = append(kinds, idleKind{used.Name, used.Name, "", false})
		}
	}
	for _, k := range kinds {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.say("starting another %s", k.label)
		// Memory that a server has kept from other runs would hide what this run takes.
		o := s.Peers
		if k.hub != "" {
			o.Hub += "\n" + k.hub
		}
		server, err := peers.Start(s.ctx, k.server, o)
		if err == nil {
			err = s.idleOne(server, k, n)
			server.Stop()
		}
		if err != nil {
			s.section.Note("%s: %v", k.label, err)
		}
	}
	return nil
}

// idleKind is one server, and how it is set up and connected to.
type idleKind struct {
	label, server, hub string
	tls                bool
}

func (s *session) idleOne(server *peers.Server, k idleKind, n int) error {
	rest := quick(s, time.Second, 5*time.Second)
	if k.tls {
		n = min(n, 5000) // its clients cost memory, too
	}
	// It has everything that it makes once, for the first few.
	first, err := s.hold(server, crowd{rooms: 1, per: 200})
	if err != nil {
		return err
	}
	first.pool.Close()
	s.pause(rest / 5)
	if err := s.collect(server, rest); err != nil {
		return err
	}
	before, err := server.RSS()
	if err != nil {
		return err
	}
	s.say("connecting %s to %s", thousands(n), server.Name)
	pool, err := load.NewPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	took, used, err := s.connectIdle(pool, server, k.tls, n)
	if err != nil {
		return err
	}
	each, err := s.memoryOfIdle(server, before, n, rest)
	if err != nil {
		return err
	}
	last, err := untilAllHave(pool, n)
	if err != nil {
		return err
	}
	s.section.Row(k.label, thousands(n), thousands(int(float64(n)/took.Seconds())),
		fmt.Sprintf("%.0f", float64(used)/float64(n)/1e3), each[0], each[1], each[2], last)
	return nil
}

// connectIdle connects n clients to one room. It returns how long that took, and the
// server's processor time.
func (s *session) connectIdle(pool *load.Pool, server *peers.Server, tls bool, n int) (took, used time.Duration, err error) {
	port, path := server.Port, server.Path("idle")
	if tls {
		port = server.TLSPort
	}
	before, err := server.CPU()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	err = pool.Connect(s.ctx, load.Target{Port: port, TLS: tls, Kind: server.Publish, Path: func(int) string { return path }}, n)
	took = time.Since(begin)
	if err != nil {
		return 0, 0, err
	}
	after, err := server.CPU()
	return took, after - before, err
}

// memoryOfIdle returns how many bytes the server has taken for each of n clients: at
// once, after a rest, and after a garbage collection.
func (s *session) memoryOfIdle(server *peers.Server, before int64, n int, rest time.Duration) (each [3]string, err error) {
	each[2] = "–"
	for i := range each {
		switch i {
		case 1:
			s.pause(rest)
		case 2:
			if server.Collect == nil {
				continue
			}
			if err := s.collect(server, rest); err != nil {
				return each, err
			}
		}
		rss, err := server.RSS()
		if err != nil {
			return each, err
		}
		each[i] = thousands(max(int(rss-before)/n, 0))
	}
	return each, nil
}

// untilAllHave publishes the first message, and returns when the last of n clients has it.
func untilAllHave(pool *load.Pool, n int) (string, error) {
	if err := pool.Publish(0, 1, 0, 128); err != nil {
		return "", err
	}
	pool.Expect(128)
	begin := time.Now()
	want := pool.Delivered() + int64(n)
	if err := pool.Read(func() bool { return pool.Delivered() < want && time.Since(begin) < roundTime }); err != nil {
		return "", err
	}
	if pool.Delivered() == want {
		return millis(time.Since(begin)), nil
	}
	return "not all within " + roundTime.String(), nil
}

// collect asks for garbage collections, and waits until memory was given back.
func (s *session) collect(server *peers.Server, rest time.Duration) error {
	if server.Collect == nil {
		return nil
	}
	s.say("collecting the garbage of %s", server.Name)
	for range 2 {
		if err := server.Collect(); err != nil {
			return err
		}
		s.pause(rest / 4)
	}
	last := int64(1 << 62)
	for range 10 {
		rss, err := server.RSS()
		if err != nil {
			return err
		}
		if rss > last-last/200 {
			break
		}
		last = rss
		s.pause(rest / 4)
	}
	return nil
}

// churn connects and leaves beside a room that is in use.
func churn(s *session) error {
	for _, server := range s.most() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		s.say("%s", server.Name)
		if err := s.churnOne(server); err != nil {
			s.section.Note("%s: %v", server.Name, err)
		}
	}
	return nil
}

func (s *session) churnOne(server *peers.Server) error {
	const members = 500
	h, err := s.hold(server, crowd{rooms: 1, per: members})
	if err != nil {
		return err
	}
	defer h.pool.Close()
	length := quick(s, 1500*time.Millisecond, 3*time.Second)
	st := stream{size: 128, every: 20 * time.Millisecond, length: length, readers: members, drain: 5 * time.Second}
	before, err := h.stream(st) // what the room itself costs
	if err != nil {
		return err
	}
	var stop atomic.Bool
	type joined struct {
		n    int
		took time.Duration
		err  error
	}
	result := make(chan joined, 1)
	path := server.Path("churn")
	cpu, err := server.CPU()
	if err != nil {
		return err
	}
	go func() {
		var j joined
		pool, err := load.NewPool()
		if err != nil {
			result <- joined{err: err}
			return
		}
		defer pool.Close()
		begin := time.Now()
		for !stop.Load() && j.err == nil {
			j.err = pool.Connect(s.ctx, load.Target{Port: server.Port, Kind: server.Publish, Path: func(int) string { return path }}, 256)
			j.n += pool.Len()
			pool.Drop()
		}
		j.took = time.Since(begin)
		result <- j
	}()
	with, err := h.stream(st)
	stop.Store(true)
	j := <-result
	if err = errors.Join(err, j.err); err != nil {
		return err
	}
	s.pause(300 * time.Millisecond) // the last ones leave
	used, err := server.CPU()
	if err != nil {
		return err
	}
	s.section.Row(server.Name, thousands(int(float64(j.n)/j.took.Seconds())),
		fmt.Sprintf("%.0f", float64(used-cpu-before.cpu)/float64(j.n)/1e3),
		millis(before.latency.Quantile(0.99))+" without, "+millis(with.latency.Quantile(0.99))+" with them")
	return nil
}

// polling measures requests on connections that are kept.
func polling(s *session) error {
	for _, server := range s.pick(peers.Ours) {
		for _, wait := range []bool{true, false} {
			cpu, err := server.CPU()
			if err != nil {
				return err
			}
			s.say("waiting: %v", wait)
			p, err := load.Poll(s.ctx, load.PollOptions{
				Port: server.Port, Path: server.Path("polled"), Clients: 100, Wait: wait,
				Length: quick(s, 1500*time.Millisecond, 4*time.Second), Every: 4 * time.Millisecond,
			})
			if err != nil {
				return err
			}
			used, err := server.CPU()
			if err != nil {
				return err
			}
			name := "polls that are answered with 304"
			if wait {
				name = fmt.Sprintf("long-polls, %.2f messages each", float64(p.Messages)/float64(max(p.Requests, 1)))
			}
			s.section.Row(name, thousands(int(float64(p.Requests)/p.Took.Seconds())), fmt.Sprintf("%.0f", float64(used-cpu)/float64(max(p.Requests, 1))/1e3))
		}
	}
	return nil
}
