package drain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-realtime/realtime/bench/process"
)

// Options says what to run. All must be set.
type Options struct {
	Server  *process.Process
	Plain   string // URL of the site without TLS
	TLS     string // URL of the site with TLS
	Admin   string // URL of the admin API
	Config  func(round int) string
	Clients int
	Rooms   int
	Every   time.Duration // between two messages, over all rooms
	Reloads int
	Between time.Duration // between two reloads
	Drain   time.Duration // the option drain
	Settle  time.Duration // until all have moved and old connections are closed: QUIC closes idle ones after 30 s
	Patient time.Duration // how long the server may take to end
}

// Usage is what the server uses at one moment, with its garbage collected.
type Usage struct {
	Goroutines, Files int
	Heap, Memory      int64 // live, and resident, in bytes
}

// Result says what happened.
type Result struct {
	Messages, Delivered int64
	Moved               int64 // connections that ended at reloads, and were opened anew
	Loading             time.Duration
	Before, After       Usage // with all clients connected, before and after the reloads
	Byes                []time.Duration
	Away                int           // clients that were between two connections when the server began to stop
	Exit                time.Duration // after the signal
	Code                int           // of the exit
}

// run is one run's shared state.
type run struct {
	Options
	pool     *transports
	acked    []atomic.Int64 // by room: the last number that was acknowledged
	ackedAt  []atomic.Int64 // and when, in nanoseconds after began
	stopping atomic.Int64   // when the signal was sent, in nanoseconds after began; 0: not yet
	began    time.Time
	moved    atomic.Int64
	count    atomic.Int64 // deliveries
	quiet    sync.RWMutex // nobody publishes while it is locked

	mu   sync.Mutex
	errs []error
	gone []*client // that were told to go
	away int       // clients that were not connected
}

// fail notes what must not happen.
func (r *run) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) < 20 {
		r.errs = append(r.errs, fmt.Errorf(format, args...))
	}
}

// failed returns what has happened that must not.
func (r *run) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

// Run opens the clients, reloads again and again while messages flow, and ends the server in the middle
// of the last reload.
func Run(ctx context.Context, o Options) (res Result, err error) {
	r := &run{Options: o, pool: newTransports(o.Clients), acked: make([]atomic.Int64, o.Rooms), ackedAt: make([]atomic.Int64, o.Rooms), began: time.Now()}
	defer r.pool.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var clients sync.WaitGroup
	opened := make(chan struct{}, o.Clients)
	for i := range o.Clients {
		c := newClient(r, i)
		clients.Go(func() { c.live(ctx, func() { opened <- struct{}{} }) })
		if i%50 == 49 {
			<-time.After(10 * time.Millisecond) // a listener's queue is short
		}
	}
	for range o.Clients {
		select {
		case <-opened:
		case <-ctx.Done():
			return res, errors.Join(r.failed(), ctx.Err())
		}
	}
	var publisher sync.WaitGroup
	for room := range o.Rooms {
		publisher.Go(func() { r.publish(ctx, room) })
	}
	// The first reload warms up.
	if res.Before, err = r.reloads(ctx, 0, 1, nil); err != nil {
		return res, errors.Join(r.failed(), err)
	}
	if res.After, err = r.reloads(ctx, 1, o.Reloads, &res.Loading); err != nil {
		return res, errors.Join(r.failed(), err)
	}
	if err := r.stop(ctx, &res); err != nil {
		return res, errors.Join(r.failed(), err)
	}
	publisher.Wait()
	late := time.AfterFunc(2*time.Second, cancel) // who still dials was not connected
	defer late.Stop()
	clients.Wait()
	for i := range r.acked {
		res.Messages += r.acked[i].Load()
	}
	res.Delivered, res.Moved = r.count.Load(), r.moved.Load()
	for _, c := range r.gone {
		c.judge(&res)
	}
	res.Away += r.away
	slices.Sort(res.Byes)
	return res, r.failed()
}

// reloads reloads n times, and returns what the server uses when all clients have moved. each is set to how
// long a reload took.
func (r *run) reloads(ctx context.Context, first, n int, each *time.Duration) (u Usage, err error) {
	var took time.Duration
	for round := range n {
		begin := time.Now()
		if err := r.load(ctx, first+round+1); err != nil {
			return u, err
		}
		took += time.Since(begin)
		select {
		case <-time.After(r.Between):
		case <-ctx.Done():
			return u, ctx.Err()
		}
	}
	if each != nil {
		*each = took / time.Duration(max(n, 1))
	}
	r.quiet.Lock()
	defer r.quiet.Unlock()
	<-time.After(r.Settle)
	return r.usage(ctx)
}

func (r *run) load(ctx context.Context, round int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Admin+"/load", strings.NewReader(r.Config(round)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("reloading: %s: %s", resp.Status, b)
	}
	return nil
}

// stop ends the server in the middle of a reload.
func (r *run) stop(ctx context.Context, res *Result) error {
	loaded := make(chan error, 1)
	go func() { loaded <- r.load(ctx, r.Reloads+2) }() // may fail: the server ends
	<-time.After(rand.N(10 * time.Millisecond))
	begin := time.Now()
	r.stopping.Store(int64(begin.Sub(r.began)))
	if err := r.Server.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-r.Server.Done():
	case <-time.After(r.Patient):
		return fmt.Errorf("the server has not ended %s after the signal", r.Patient)
	}
	res.Exit, res.Code = time.Since(begin), r.Server.ExitCode()
	<-loaded
	return nil
}

// publish publishes numbers in a room, until the server refuses them.
func (r *run) publish(ctx context.Context, room int) {
	tick := time.NewTicker(r.Every * time.Duration(r.Rooms))
	defer tick.Stop()
	for next := int64(1); ; next++ {
		for tries := 0; ; tries++ {
			r.quiet.RLock()
			err := r.post(ctx, room, next)
			r.quiet.RUnlock()
			if err == nil {
				break
			}
			if r.stopping.Load() > 0 || ctx.Err() != nil {
				return
			}
			if tries == 50 {
				r.fail("publishing: %w", err)
				return
			}
			<-time.After(10 * time.Millisecond) // a reload has reset the connection
		}
		r.acked[room].Store(next)
		r.ackedAt[room].Store(int64(time.Since(r.began)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) post(ctx context.Context, room int, n int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("%s/rt/room%d", r.Plain, room), strings.NewReader(fmt.Sprint("n", n)))
	if err != nil {
		return err
	}
	req.Header.Set("Idempotency-Key", fmt.Sprintf("%d-%d", room, n))
	resp, err := r.pool.publisher.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// usage returns what the server uses.
func (r *run) usage(ctx context.Context) (u Usage, err error) {
	var text []byte
	for range 3 { // what pools keep goes with the second collection
		if text, err = r.get(ctx, "/debug/pprof/heap?gc=1&debug=1"); err != nil {
			return u, err
		}
	}
	if _, heap, ok := bytes.Cut(text, []byte("# HeapAlloc = ")); ok {
		_, _ = fmt.Sscan(string(heap), &u.Heap)
	}
	text, err = r.get(ctx, "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return u, err
	}
	_, _ = fmt.Sscanf(string(text), "goroutine profile: total %d", &u.Goroutines)
	if u.Files, err = r.Server.Files(); err != nil {
		return u, err
	}
	u.Memory, err = r.Server.RSS()
	return u, err
}

func (r *run) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Admin+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return b.Bytes(), err
}
