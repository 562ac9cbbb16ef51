package judge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/process"
)

// Options says what to judge.
type Options struct {
	Subscribers []int
	Rounds      int            // pairs of a bare slot and one through the hub
	Only        *regexp.Regexp // names of what is run; nil: all
	Progress    func(string)
	Result      func(Result) // called with each result as it is there
}

// Result is what one comparison came to. Times are the server's processor time
// for one delivery, medians over the rounds.
type Result struct {
	Name        string // of what was compared, as in "WebSocket, TLS"
	Subscribers int
	Size, Burst int
	Floor, Ours time.Duration
	Ratio       float64 // ours ÷ floor: the median of all rounds
	Least, Most float64 // and the ends of them
	Rounds      int
}

// way is one way to be connected.
type way struct {
	name string
	kind load.Kind
	tls  bool
}

var ways = []way{
	{"WebSocket", load.WebSocket, false},
	{"WebSocket, TLS", load.WebSocket, true},
	{"SSE", load.Events, false},
}

// shape is one way to publish.
type shape struct{ size, burst int }

var shapes = []shape{{128, 1}, {1024, 1}, {128, 10}}

// Run judges, one comparison after another, until all is done or ctx is. It
// starts the clients with the command clients.
func Run(ctx context.Context, o Options, clients func() *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	load.RaiseFileLimit()
	site, err := start()
	if err != nil {
		return err
	}
	defer func() { _ = caddy.Stop() }()
	for _, w := range ways {
		for _, n := range o.Subscribers {
			if !slices.ContainsFunc(shapes, func(s shape) bool { return o.wants(w, n, s) }) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return errors.New("out of time")
			}
			if err := o.judge(ctx, site, w, n, clients()); err != nil {
				return fmt.Errorf("%s, %d subscribers: %w", w.name, n, err)
			}
		}
	}
	return nil
}

func (o *Options) wants(w way, n int, s shape) bool {
	return o.Only == nil || o.Only.MatchString(s.name(w, n))
}

func (s shape) name(w way, n int) string {
	name := fmt.Sprintf("%s, %d subscribers, %d B", w.name, n, s.size)
	if s.burst > 1 {
		name += fmt.Sprintf(", bursts of %d", s.burst)
	}
	return name
}

// judge connects n subscribers and compares on them.
func (o *Options) judge(ctx context.Context, site *site, w way, n int, cmd *exec.Cmd) error {
	forget()
	remote, stop, err := startClients(cmd)
	if err != nil {
		return err
	}
	defer stop()
	o.Progress(fmt.Sprintf("%s: connecting %d", w.name, n))
	port := site.plain
	if w.tls {
		port = site.tls
	}
	room := fmt.Sprintf("/rt/%s-%d", w.kind, n)
	if w.tls {
		room += "-tls"
	}
	// The first connection is a WebSocket, which can publish.
	order := load.Order{Op: "connect", Port: port, TLS: w.tls, Path: room, N: 1}
	if err := remote.Do(order); err != nil {
		return err
	}
	order.Kind, order.N = w.kind, n-1
	if err := remote.Do(order); err != nil {
		return err
	}
	s, err := remembered()
	if err != nil {
		return err
	}
	if s.len() != n {
		return fmt.Errorf("%d connections were accepted", s.len())
	}
	d := &duel{remote: remote, sockets: s, events: w.kind == load.Events, next: 1}
	runtime.GC()
	for _, shape := range shapes {
		if !o.wants(w, n, shape) {
			continue
		}
		d.shape, d.messages = shape, max(40_000/n, 4)
		r, err := d.run(ctx, o, shape.name(w, n))
		if err != nil {
			return err
		}
		r.Name, r.Subscribers, r.Size, r.Burst = w.name, n, shape.size, shape.burst
		o.Result(r)
	}
	return nil
}

// startClients starts the process with the clients.
func startClients(cmd *exec.Cmd) (*load.Remote, func(), error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return load.NewRemote(in, out), func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}, nil
}

// duel compares on one set of connections.
type duel struct {
	shape
	remote   *load.Remote
	sockets  *sockets
	events   bool   // all but the first connection are event streams
	next     uint64 // number of the next message
	messages int    // of one slot
	frame    []byte
	event    []byte
}

func (d *duel) run(ctx context.Context, o *Options, name string) (Result, error) {
	rounds := max(d.messages/d.burst, 2)
	deliveries := float64(rounds * d.burst * d.sockets.len())
	var floors, ours, ratios []float64
	for round := range o.Rounds + 1 {
		if ctx.Err() != nil && round > 2 {
			break
		}
		o.Progress(fmt.Sprintf("%s: round %d of %d", name, round, o.Rounds))
		slots := []func(int) (time.Duration, error){d.bare, d.through}
		var took [2]time.Duration
		for i := range slots {
			i ^= round & 1 // in turn first
			var err error
			if took[i], err = slots[i](rounds); err != nil {
				return Result{}, err
			}
		}
		if round == 0 {
			continue // it warms up
		}
		floors = append(floors, float64(took[0])/deliveries)
		ours = append(ours, float64(took[1])/deliveries)
		ratios = append(ratios, float64(took[1])/float64(took[0]))
	}
	slices.Sort(ratios)
	return Result{
		Floor: time.Duration(median(floors)), Ours: time.Duration(median(ours)),
		Ratio: median(ratios), Least: ratios[0], Most: ratios[len(ratios)-1], Rounds: len(ratios),
	}, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// bare writes by the bare loop. Only the loop is measured.
func (d *duel) bare(rounds int) (sum time.Duration, err error) {
	for range rounds {
		begin := process.Own()
		for range d.burst {
			if err := d.write(); err != nil {
				return 0, fmt.Errorf("the bare loop: %w", err)
			}
			d.next++
		}
		sum += process.Own() - begin
		if err := d.collect(); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// collect has the clients read what was written, and check it.
func (d *duel) collect() error {
	return d.remote.Do(load.Order{Op: "round", Burst: d.burst, Size: d.size})
}

// write writes the next message to all.
func (d *duel) write() error {
	d.frame = load.AppendFrame(d.frame[:0], d.next, d.size)
	rest := d.frame
	if d.events {
		d.event = load.AppendEvent(d.event[:0], d.next, d.size)
		rest = d.event
	}
	b := d.frame
	for _, fd := range d.sockets.fds {
		if err := bareWrite(fd, b); err != nil {
			return err
		}
		b = rest
	}
	for _, c := range d.sockets.tls {
		if _, err := c.Write(b); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// through publishes through the hub. All that the process does from then until
// it rests is measured, less what measuring costs, which is measured beside. As
// with the bare loop, the clients read only then: reading competes for sockets
// and processors.
func (d *duel) through(rounds int) (sum time.Duration, err error) {
	for range rounds {
		used, looks, err := d.measured(load.Order{Op: "publish", Number: d.next, Burst: d.burst, Size: d.size}, 0)
		if err != nil {
			return 0, err
		}
		idle, _, err := d.measured(load.Order{Op: "nothing"}, looks)
		if err != nil {
			return 0, err
		}
		d.next += uint64(d.burst)
		sum += used - idle
		if err := d.collect(); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// measured returns the processor time that this process uses for an order until it
// rests, and how often it looked whether it rests. It looks that often at least.
func (d *duel) measured(order load.Order, least int) (used time.Duration, looks int, err error) {
	const (
		pause = 2 * time.Millisecond
		still = 200 * time.Microsecond // of processor time: what a look costs, generously
	)
	begin := process.Own()
	if err := d.remote.Do(order); err != nil {
		return 0, 0, err
	}
	last := begin
	for quiet := 0; ; {
		<-time.After(pause)
		now := process.Own()
		looks++
		if quiet++; now-last > still {
			quiet = 0
		}
		if last = now; quiet >= 2 && looks >= least {
			return now - begin, looks, nil
		}
	}
}
