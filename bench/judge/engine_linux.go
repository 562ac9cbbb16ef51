package judge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

// Engines judges an engine by the engine memory: each in a Caddy in a process of its own, slot by slot in turn,
// with rooms of WebSockets to which messages are published by POST. The processor time of an engine's own goroutines is in
// it, also of those that go on after the last delivery. In the results, Floor is that with memory.
func Engines(ctx context.Context, o Options, engine string, where peers.Options) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var both [2]*peers.Server
	for i, hub := range []string{"", "engine " + engine} {
		its := where
		its.Dir, its.Hub = filepath.Join(where.Dir, fmt.Sprint("server", i)), hub
		if err := os.MkdirAll(its.Dir, 0o700); err != nil {
			return err
		}
		server, err := peers.Start(ctx, peers.Ours, its)
		if err != nil {
			return err
		}
		defer server.Stop()
		both[i] = server
	}
	for _, n := range o.Subscribers {
		w, s := ways[0], shapes[0]
		if !o.wants(w, n, s) {
			continue
		}
		r, err := o.engines(ctx, both, n, s)
		if err != nil {
			return fmt.Errorf("%d subscribers: %w", n, err)
		}
		r.Name, r.Subscribers, r.Size, r.Burst = w.name, n, s.size, s.burst
		o.Result(r)
	}
	return nil
}

// engines compares two servers on rooms of n.
func (o *Options) engines(ctx context.Context, both [2]*peers.Server, n int, s shape) (r Result, err error) {
	var rooms [2]*posted
	for i, server := range both {
		if rooms[i], err = post(ctx, server, n, s); err != nil {
			return r, err
		}
		defer rooms[i].pool.Close()
	}
	messages := max(40_000/n, 4)
	var costs [2][]float64
	var ratios []float64
	for round := range o.Rounds + 1 {
		if ctx.Err() != nil {
			return r, errors.New("out of time")
		}
		o.Progress(fmt.Sprintf("%d subscribers: round %d of %d", n, round, o.Rounds))
		var cost [2]float64
		for i := range rooms {
			i ^= round & 1 // in turn first
			if cost[i], err = rooms[i].slot(ctx, messages); err != nil {
				return r, err
			}
		}
		if round == 0 {
			continue // it warms up
		}
		for i := range cost {
			costs[i] = append(costs[i], cost[i])
		}
		ratios = append(ratios, cost[1]/cost[0])
	}
	slices.Sort(ratios)
	return Result{
		Floor: time.Duration(median(costs[0])), Ours: time.Duration(median(costs[1])),
		Ratio: median(ratios), Least: ratios[0], Most: ratios[len(ratios)-1], Rounds: len(ratios),
	}, nil
}

// posted is a room of WebSockets to which is published by POST.
type posted struct {
	shape
	server *peers.Server
	pool   *load.Pool
	url    string
	n      int
	next   uint64
	body   []byte
}

// post connects n subscribers.
func post(ctx context.Context, server *peers.Server, n int, s shape) (*posted, error) {
	pool, err := load.NewPool()
	if err != nil {
		return nil, err
	}
	path := server.Path(fmt.Sprint("posted-", n))
	if err := pool.Connect(ctx, load.Target{Port: server.Port, Path: func(int) string { return path }}, n); err != nil {
		pool.Close()
		return nil, err
	}
	pool.Expect(s.size)
	return &posted{shape: s, server: server, pool: pool, url: fmt.Sprintf("http://127.0.0.1:%d%s", server.Port, path), n: n, next: 1}, nil
}

// rest is how long the server is watched after the last delivery: its engine may do once a second what is
// left to do.
const rest = 1500 * time.Millisecond

// slot publishes messages one by one, each when all have the one before, and returns the server's processor time for
// one delivery, in nanoseconds.
func (p *posted) slot(ctx context.Context, messages int) (float64, error) {
	before, err := p.server.CPU()
	if err != nil {
		return 0, err
	}
	for range messages {
		p.body = load.AppendMessage(p.body[:0], p.next, 0, p.size)
		if err := p.publish(ctx); err != nil {
			return 0, err
		}
		p.next++
		if err := p.pool.Collect(int64(p.n), p.n, 20*time.Second); err != nil {
			return 0, err
		}
	}
	<-time.After(rest)
	after, err := p.server.CPU()
	return float64(after-before) / float64(messages*p.n), err
}

func (p *posted) publish(ctx context.Context) error {
	_, err := load.Post(ctx, p.url, p.body)
	return err
}
