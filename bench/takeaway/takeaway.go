// Package takeaway checks from outside that a reload takes a right away from those whom it
// concerns, on every transport and soon, and that the others miss nothing.
package takeaway

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The rooms of a run: the right to subscribe to lost is taken away.
const (
	lost = "lost"
	kept = "kept"
)

// Options says what to run. All must be set.
type Options struct {
	URL     string        // below which the rooms are, with a slash at its end
	Clients int           // half of them in each room, on all transports
	Every   time.Duration // between two messages of a room
	Before  time.Duration // how long messages flow before the reload
	After   time.Duration // and after it
	// Reload takes the right to subscribe to the room lost away from everybody who has none of
	// the Publisher's headers, and returns when that is in force.
	Reload    func() error
	Publisher http.Header
}

// Result is what was seen.
type Result struct {
	Concerned int // clients in the room lost
	Others    int
	// Took is how long after the reload had begun the clients' subscriptions ended, in order.
	Took []time.Duration
	// Reload is how long the reload itself took.
	Reload    time.Duration
	Messages  int // in each room
	Delivered int64
}

// run is one run's shared state.
type run struct {
	Options
	http      *http.Client
	ready     sync.WaitGroup
	closed    atomic.Bool // the reload is in force
	last      atomic.Int64
	delivered atomic.Int64

	mu   sync.Mutex
	ends []time.Time
	errs []error
}

// Run opens the clients, publishes, reloads, and returns what they saw. An error names the first
// client that lost, repeated, or saw too much.
func Run(ctx context.Context, o Options) (Result, error) {
	r := &run{Options: o}
	transport := &http.Transport{MaxIdleConnsPerHost: o.Clients, DisableCompression: true, DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	r.http = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var clients sync.WaitGroup
	r.ready.Add(o.Clients)
	for i := range o.Clients {
		c := &client{run: r, number: i, room: []string{lost, kept}[i%2], ways: ways[i/2%len(ways)]}
		clients.Go(func() { c.live(ctx) })
	}
	r.ready.Wait()
	result := Result{Concerned: (o.Clients + 1) / 2, Others: o.Clients / 2}
	err := r.publishFor(ctx, o.Before, kept, lost)
	began := time.Now()
	if err == nil {
		err = o.Reload()
		result.Reload = time.Since(began)
		r.closed.Store(true)
	}
	if err == nil {
		err = r.publishFor(ctx, o.After, kept, lost)
	}
	last := r.last.Load()
	r.await(ctx, func() bool { return r.delivered.Load() >= last*int64(result.Others) })
	cancel()
	clients.Wait()
	result.Messages, result.Delivered = int(last), r.delivered.Load()
	for _, end := range r.ends {
		result.Took = append(result.Took, end.Sub(began))
	}
	slices.Sort(result.Took)
	switch {
	case err != nil:
	case len(r.errs) > 0:
		err = r.errs[0]
	case len(r.ends) != result.Concerned:
		err = fmt.Errorf("%d subscriptions have ended, and %d are concerned", len(r.ends), result.Concerned)
	case result.Delivered != last*int64(result.Others):
		err = fmt.Errorf("the others have got %d messages of %d", result.Delivered, last*int64(result.Others))
	}
	return result, err
}

// await waits for a condition, for a while.
func (r *run) await(ctx context.Context, condition func() bool) {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// publishFor publishes the next numbers in the rooms for so long.
func (r *run) publishFor(ctx context.Context, d time.Duration, rooms ...string) error {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		n := r.last.Load() + 1
		for _, room := range rooms {
			if err := r.publish(ctx, room, n); err != nil {
				return err
			}
		}
		r.last.Store(n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *run) publish(ctx context.Context, room string, n int64) error {
	text := strconv.FormatInt(n, 10)
	if r.closed.Load() {
		text += " secret"
	}
	var resp *http.Response
	var err error
	r.await(ctx, func() bool { // connections may wait at the old listener, until that is closed
		resp, err = r.request(ctx, http.MethodPost, room, text, r.Publisher)
		return err == nil
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("publishing in %s: %s", room, resp.Status)
	}
	return nil
}

func (r *run) request(ctx context.Context, method, target, body string, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, h)
	return r.http.Do(req)
}
