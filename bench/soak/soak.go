// Package soak checks the promise of the protocol from outside: many clients
// on mixed transports, cut again and again while numbered messages are
// published, see every number once and in order.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what to run. All must be set.
type Options struct {
	URL      string // of the room, without a query
	Clients  int
	Messages int
	Cuts     int           // of each client's connection
	Every    time.Duration // between two messages
	Progress func(Progress)
}

// Progress is how far a run has come.
type Progress struct {
	Published, Delivered, Cuts int64
	Done                       int64 // clients that have seen everything
}

// run is one run's shared state.
type run struct {
	Options
	http      *http.Client
	published atomic.Int64
	delivered atomic.Int64
	cuts      atomic.Int64
	done      atomic.Int64
}

// Run publishes and reads until every client has seen every message, or ctx is
// done. An error names the first client that lost, repeated or confused one.
func Run(ctx context.Context, o Options) (Progress, error) {
	r := &run{Options: o}
	transport := &http.Transport{
		MaxIdleConnsPerHost: o.Clients, DisableCompression: true,
		DialContext: (&net.Dialer{}).DialContext,
	}
	defer transport.CloseIdleConnections()
	r.http = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	cursor, err := r.cursor(ctx)
	if err != nil {
		return r.progress(), err
	}
	var clients sync.WaitGroup
	for i := range o.Clients {
		clients.Go(func() {
			c := newClient(r, cursor, uint64(i))
			if err := c.read(ctx); err != nil {
				cancel(fmt.Errorf("client %d after message %d: %w", i, c.seen, err))
			}
		})
	}
	var publisher sync.WaitGroup
	publisher.Go(func() {
		if err := r.publish(ctx); err != nil {
			cancel(err)
		}
	})
	stop := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { r.report(stop) })
	publisher.Wait()
	clients.Wait()
	close(stop)
	reporter.Wait()
	return r.progress(), context.Cause(ctx)
}

func (r *run) progress() Progress {
	return Progress{Published: r.published.Load(), Delivered: r.delivered.Load(), Cuts: r.cuts.Load(), Done: r.done.Load()}
}

func (r *run) report(stop <-chan struct{}) {
	if r.Progress == nil {
		return
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			r.Progress(r.progress())
		}
	}
}

// publish posts the numbers from 1 on.
func (r *run) publish(ctx context.Context) error {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for n := 1; n <= r.Messages; n++ {
		resp, err := r.request(ctx, http.MethodPost, "", strings.NewReader(strconv.Itoa(n)))
		if err != nil {
			return fmt.Errorf("publishing %d: %w", n, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("publishing %d: %s", n, resp.Status)
		}
		r.published.Store(int64(n))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// cursor returns where the room stands now.
func (r *run) cursor(ctx context.Context) (string, error) {
	resp, err := r.request(ctx, http.MethodHead, "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	cursor := strings.Trim(resp.Header.Get("ETag"), `"`)
	if cursor == "" {
		return "", fmt.Errorf("%s has no cursor: %s", r.URL, resp.Status)
	}
	return cursor, nil
}

func (r *run) request(ctx context.Context, method, query string, body io.Reader, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+query, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return r.http.Do(req)
}

// errCut ends a connection on purpose.
var errCut = errors.New("cut")

// client is one reader.
type client struct {
	*run
	rand   *rand.Rand
	cursor string
	seen   int   // the last number seen
	cutAt  []int // the numbers after which the connection is cut, rising
}

// newClient returns a client that is cut as often as the options say, each time after a
// random number, but never after the last.
func newClient(r *run, cursor string, seed uint64) *client {
	c := &client{run: r, cursor: cursor, rand: rand.New(rand.NewPCG(seed, 1))}
	c.cutAt = c.rand.Perm(r.Messages - 1)[:min(r.Cuts, r.Messages-1)]
	for i := range c.cutAt {
		c.cutAt[i]++ // numbers begin at 1
	}
	slices.Sort(c.cutAt)
	return c
}

// read reads until everything was seen, each time over a random transport.
func (c *client) read(ctx context.Context) error {
	transports := []func(context.Context) error{c.webSocket, c.events, c.ndjson, c.longPoll, c.poll}
	for c.seen < c.Messages {
		connection, cut := context.WithCancel(ctx)
		err := transports[c.rand.IntN(len(transports))](connection)
		cut()
		switch {
		case ctx.Err() != nil:
			return nil // somebody else has failed, or time is up
		case errors.Is(err, errCut):
			c.cuts.Add(1)
		case errors.Is(err, errBroken):
			return err
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("reading: %w", err)
		}
	}
	c.done.Add(1)
	return nil
}

// errBroken is wrapped by every breach of the promise.
var errBroken = errors.New("the promise is broken")

// message takes an envelope: {"id":"<cursor>",…,"data":"<number>",…}.
func (c *client) message(envelope string) error {
	if strings.HasPrefix(envelope, `{"op":"gap"`) {
		return fmt.Errorf("%w: %s", errBroken, envelope)
	}
	id, number := field(envelope, `"id":"`), field(envelope, `"data":"`)
	if id == "" {
		return nil // ready
	}
	n, err := strconv.Atoi(number)
	if err != nil || n != c.seen+1 {
		return fmt.Errorf("%w: got %q, want %d", errBroken, number, c.seen+1)
	}
	c.seen, c.cursor = n, id
	c.delivered.Add(1)
	if len(c.cutAt) > 0 && c.seen == c.cutAt[0] {
		c.cutAt = c.cutAt[1:]
		return errCut
	}
	if c.seen == c.Messages {
		return io.EOF
	}
	return nil
}

// field returns the string after a key. (A real client would parse JSON; two
// thousand on one machine would measure nothing else.)
func field(envelope, key string) string {
	_, rest, ok := strings.Cut(envelope, key)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
