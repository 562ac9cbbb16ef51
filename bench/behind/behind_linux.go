package behind

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
)

// Options says what to run. All must be set.
type Options struct {
	Server   *peers.Server
	Members  int // that have read everything
	Behind   int // that come back
	Messages int // how many they are behind
	Rate     int // messages a second
	Size     int // of a message, in bytes
	Slot     time.Duration
	Rounds   int
	Progress func(string)
}

// Result is what the others got: medians over the rounds, each of one slot without and one with those behind.
type Result struct {
	Without, With Latency
	Ratio         float64       // of the 99th percentiles: the median of all rounds
	Least, Most   float64       // and the ends of them
	CaughtUp      time.Duration // until the last one that came back had caught up
}

// Latency is how long after it was due a message was read.
type Latency struct{ P50, P99, Max time.Duration }

// run is one run's state.
type run struct {
	Options
	pool *load.Pool
	url  string
	path string
	ids  []string // of all messages, oldest first
	body []byte
}

// Run measures.
func Run(ctx context.Context, o Options) (res Result, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &run{Options: o, path: o.Server.Path("behind")}
	r.url = fmt.Sprintf("http://127.0.0.1:%d%s", o.Server.Port, r.path)
	if r.pool, err = load.NewPool(); err != nil {
		return res, err
	}
	defer r.pool.Close()
	o.Progress(fmt.Sprintf("publishing %d messages", o.Messages))
	for range o.Messages + o.Behind {
		if err := r.publish(ctx, 0); err != nil {
			return res, err
		}
	}
	o.Progress(fmt.Sprintf("connecting %d members", o.Members))
	if err := r.pool.Connect(ctx, load.Target{Port: o.Server.Port, Path: func(int) string { return r.path }}, o.Members); err != nil {
		return res, err
	}
	r.pool.Expect(o.Size)
	var without, with []Latency
	var ratios, caught []float64
	for round := range o.Rounds + 1 {
		o.Progress(fmt.Sprintf("round %d of %d", round, o.Rounds))
		var both [2]Latency
		var took time.Duration
		for i := range both {
			i ^= round & 1 // in turn first
			var t time.Duration
			if both[i], t, err = r.slot(ctx, i*o.Behind); err != nil {
				return res, err
			}
			took = max(took, t)
		}
		if round == 0 {
			continue // it warms up
		}
		without, with = append(without, both[0]), append(with, both[1])
		ratios = append(ratios, float64(both[1].P99)/float64(both[0].P99))
		caught = append(caught, float64(took))
	}
	slices.Sort(ratios)
	return Result{
		Without: middle(without), With: middle(with), CaughtUp: time.Duration(median(caught)),
		Ratio: median(ratios), Least: ratios[0], Most: ratios[len(ratios)-1],
	}, nil
}

// slot publishes by the clock, while so many come back, and returns the latency of the others, and how long it took the
// last one to catch up.
func (r *run) slot(ctx context.Context, behind int) (l Latency, caught time.Duration, err error) {
	var latency load.Histogram
	r.pool.Measure(&latency)
	defer r.pool.Measure(nil)
	messages := int(r.Slot.Seconds() * float64(r.Rate))
	want := r.pool.Delivered() + int64(messages*r.Members)
	cursors := slices.Clone(r.ids[len(r.ids)-r.Messages-behind:])
	var work sync.WaitGroup
	failed := make([]error, 1+behind)
	took := make([]time.Duration, behind)
	work.Go(func() { failed[0] = r.stream(ctx, messages) })
	for i := range behind {
		work.Go(func() { took[i], failed[1+i] = r.comeBack(ctx, cursors[i], i) })
	}
	until := time.Now().Add(r.Slot + 20*time.Second)
	err = r.pool.Read(func() bool { return r.pool.Delivered() < want && time.Now().Before(until) })
	work.Wait()
	if err := errors.Join(err, errors.Join(failed...)); err != nil {
		return l, 0, err
	}
	if r.pool.Delivered() != want {
		return l, 0, fmt.Errorf("%d deliveries are missing", want-r.pool.Delivered())
	}
	l = Latency{latency.Quantile(0.5), latency.Quantile(0.99), latency.Max()}
	if behind > 0 {
		caught = slices.Max(took)
	}
	return l, caught, nil
}

// stream publishes messages by the clock.
func (r *run) stream(ctx context.Context, messages int) error {
	start := load.Now()
	for i := range messages {
		due := start + int64(i)*int64(time.Second)/int64(r.Rate)
		load.SleepUntil(due)
		if err := r.publish(ctx, due); err != nil {
			return err
		}
	}
	return nil
}

// publish publishes the next message by POST, and remembers its id.
func (r *run) publish(ctx context.Context, at int64) error {
	r.body = load.AppendMessage(r.body[:0], uint64(len(r.ids)+1), at, r.Size)
	answer, err := load.Post(ctx, r.url, r.body)
	if err != nil {
		return err
	}
	var receipt struct{ ID string }
	if err := json.Unmarshal(answer, &receipt); err != nil {
		return err
	}
	r.ids = append(r.ids, receipt.ID)
	return nil
}

// comeBack connects with a cursor, and returns how long it took to get what it was behind. It takes nothing
// apart: that would compete with the others for the processor.
func (r *run) comeBack(ctx context.Context, cursor string, number int) (time.Duration, error) {
	begin := time.Now()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 100, byte(2+number%200))}}
	c, err := from.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.Server.Port))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(begin.Add(r.Slot + 20*time.Second))
	head := fmt.Sprintf("GET %s?since=%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", r.path, url.QueryEscape(cursor))
	if _, err := io.WriteString(c, head); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(c, 64<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return 0, errors.New(resp.Status)
	}
	frame := len(load.AppendFrame(nil, 1, r.Size))
	if _, err := in.Discard(r.Messages * frame); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// middle returns the medians.
func middle(all []Latency) Latency {
	over := func(f func(Latency) time.Duration) time.Duration {
		var v []float64
		for _, l := range all {
			v = append(v, float64(f(l)))
		}
		return time.Duration(median(v))
	}
	return Latency{
		over(func(l Latency) time.Duration { return l.P50 }),
		over(func(l Latency) time.Duration { return l.P99 }),
		over(func(l Latency) time.Duration { return l.Max }),
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
