package runs

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

// stream publishes to the first room by the clock.
type stream struct {
	size    int
	every   time.Duration
	length  time.Duration
	readers int           // that get each message
	drain   time.Duration // how long what is late may take
}

// flow is what a stream came to.
type flow struct {
	latency   load.Histogram
	delivered int64
	took      time.Duration
	cpu       time.Duration
	complete  bool
}

// stream publishes by the clock from another thread, and reads meanwhile.
func (h *held) stream(st stream) (*flow, error) {
	f := &flow{}
	h.pool.Expect(st.size)
	h.pool.Measure(&f.latency)
	defer h.pool.Measure(nil)
	messages := int(st.length / st.every)
	first := h.next[0]
	h.next[0] += uint64(messages)
	var done atomic.Bool
	var stop atomic.Bool
	failed := make(chan error, 1)
	before, err := h.server.CPU()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	go func() {
		runtime.LockOSThread()
		defer done.Store(true)
		start := load.Now()
		for i := range messages {
			due := start + int64(i)*int64(st.every)
			load.SleepUntil(due)
			if stop.Load() {
				break
			}
			if err := h.pool.Publish(0, first+uint64(i), due, st.size); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	already := h.pool.Delivered()
	want := already + int64(messages*st.readers)
	until := begin.Add(st.length + st.drain)
	err = h.pool.Read(func() bool { return h.pool.Delivered() < want && time.Now().Before(until) })
	f.took = time.Since(begin)
	stop.Store(true)
	// The publisher may be waiting for a server that takes nothing: closing
	// the pool ends that.
	select {
	case published := <-failed:
		err = errors.Join(err, published)
	case <-time.After(5 * time.Second):
		return nil, errors.New("the server takes no more messages")
	}
	after, cpuErr := h.server.CPU()
	f.cpu = after - before
	f.delivered = h.pool.Delivered() - already
	f.complete = f.delivered == int64(messages*st.readers)
	return f, errors.Join(err, cpuErr)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

func openLoop(s *session) error {
	const subscribers = 1000
	for _, rate := range []int{100_000, 400_000} {
		type sum struct {
			load.Histogram
			persec, cost, p50, p99, p999 []float64
			late                         bool
		}
		sums := map[string]*sum{}
		for rep := range quick(s, 1, 2) {
			for _, server := range s.most() {
				if s.ctx.Err() != nil {
					return s.ctx.Err()
				}
				s.say("%s a second, repetition %d, %s", thousands(rate), rep+1, server.Name)
				h, err := s.hold(server, crowd{rooms: 1, per: subscribers})
				if err != nil {
					s.section.Note("%s: %v", server.Name, err)
					continue
				}
				f, err := h.stream(stream{
					size: 128, every: time.Second * subscribers / time.Duration(rate), readers: subscribers,
					length: quick(s, 1500*time.Millisecond, 4*time.Second), drain: quick(s, time.Second, 6*time.Second),
				})
				h.pool.Close()
				s.pause(200 * time.Millisecond)
				if err != nil {
					s.section.Note("%s, %s a second: %v", server.Name, thousands(rate), err)
					continue
				}
				if sums[server.Name] == nil {
					sums[server.Name] = &sum{}
				}
				r := sums[server.Name]
				r.persec = append(r.persec, float64(f.delivered)/f.took.Seconds())
				r.cost = append(r.cost, float64(f.cpu)/float64(max(f.delivered, 1)))
				r.p50 = append(r.p50, float64(f.latency.Quantile(0.5)))
				r.p99 = append(r.p99, float64(f.latency.Quantile(0.99)))
				r.p999 = append(r.p999, float64(f.latency.Quantile(0.999)))
				r.late = r.late || !f.complete
			}
		}
		for _, server := range s.most() {
			r := sums[server.Name]
			if r == nil {
				continue
			}
			persec := thousands(int(median(r.persec)))
			if r.late {
				persec += ", not all within the time"
			}
			ms := func(v []float64) string { return millis(time.Duration(median(v))) }
			s.section.Row(thousands(rate), server.Name, persec, spread(r.cost, 1e3, 2), ms(r.p50), ms(r.p99), ms(r.p999))
		}
	}
	return nil
}

// slow measures what clients that don't read do to the others.
func slow(s *session) error {
	for _, server := range s.pick(quick(s, []string{peers.Ours}, []string{peers.Ours, peers.Channels, peers.Nchan})...) {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err := s.slowOne(server); err != nil {
			s.section.Note("%s: %v", server.Name, err)
		}
	}
	return nil
}

func (s *session) slowOne(server *peers.Server) error {
	readers := quick(s, 1000, 5000)
	stalled := readers / 100
	calm := stream{size: 256, every: 200 * time.Millisecond, length: quick(s, 3*time.Second, 8*time.Second), readers: readers, drain: 5 * time.Second}
	s.say("%s, all read", server.Name)
	h, err := s.hold(server, crowd{rooms: 1, per: readers})
	if err != nil {
		return err
	}
	free, err := h.stream(calm)
	h.pool.Close()
	if err != nil {
		return err
	}
	before, err := server.RSS()
	if err != nil {
		return err
	}

	s.say("%s, 1 %% stalled", server.Name)
	pool, err := load.NewPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	path := server.Path("stalled")
	target := load.Target{Port: server.Port, Kind: server.Publish, Path: func(int) string { return path }}
	h = &held{server: server, pool: pool, rooms: 1, per: stalled + 1, next: make([]uint64, 1)}
	began, err := s.stall(h, target)
	if err != nil {
		return err
	}
	if err := pool.Connect(s.ctx, target, readers-stalled-1); err != nil {
		return err
	}
	pool.Reset()
	s.pause(500 * time.Millisecond)
	calm.readers = readers - stalled
	pressed, err := h.stream(calm)
	if err != nil {
		return fmt.Errorf("with stalled clients: %w", err)
	}
	during, err := server.RSS()
	if err != nil {
		return err
	}
	// The server has 30 seconds to find out that they are too slow.
	s.say("%s, waiting for what it does with the slow ones", server.Name)
	s.pause(time.Until(began.Add(quick(s, 8*time.Second, 40*time.Second))))
	after, err := server.RSS()
	if err != nil {
		return err
	}
	both := func(f *flow) string {
		return millis(f.latency.Quantile(0.5)) + " · " + millis(f.latency.Quantile(0.99))
	}
	s.section.Row(server.Name, both(free), both(pressed),
		fmt.Sprintf("%d · %d · %d", before>>20, during>>20, after>>20), endings(pool))
	return nil
}

// stall connects the clients of h: the first one reads, and the others have stopped
// reading when it returns, with the kernel's buffers full. It returns since when.
func (s *session) stall(h *held, target load.Target) (time.Time, error) {
	if err := h.pool.Connect(s.ctx, target, 1); err != nil {
		return time.Time{}, err
	}
	target.ReceiveBuffer = 4 << 10
	if err := h.pool.Connect(s.ctx, target, h.per-1); err != nil {
		return time.Time{}, err
	}
	if err := h.warm(); err != nil {
		return time.Time{}, err
	}
	began := time.Now()
	for i := 1; i < h.per; i++ {
		if err := h.pool.Pause(i); err != nil {
			return began, err
		}
	}
	// 60 KiB each, to fill what the kernel keeps.
	if _, err := h.stream(stream{size: 60 << 10, every: 5 * time.Millisecond, length: 2 * time.Second, readers: 1, drain: 10 * time.Second}); err != nil {
		return began, fmt.Errorf("filling the buffers: %w", err)
	}
	return began, nil
}

// endings says how many clients are still connected, and how the others have ended.
func endings(pool *load.Pool) string {
	pool.Expect(0)
	ended := pool.Reap(10 * time.Second)
	what := []string{fmt.Sprintf("%d open, with nothing lost", ended.Open)}
	for cause, n := range ended.Causes {
		what = append(what, fmt.Sprintf("%d: %s", n, cause))
	}
	return strings.Join(what, "; ")
}
