package realtime

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The part of the pool that ends hubs. Hooks of Caddy begin it, and do not wait for it; the end of the
// process does.

func init() {
	caddy.OnExit(waitForDrains)
}

const (
	// goodbyeTime is how long those who have been sent away may take to read what is due to them and to say
	// goodbye, where the option drain is off.
	goodbyeTime = 2 * time.Second
	// closeTime is how long an engine may take beyond that to close, such as to bring to the disk what is not
	// there yet.
	closeTime = 10 * time.Second
	// slack is the share of the option drain that is left for those who are sent away last.
	slack = 5
)

// spread returns the part of a time in which clients are sent away.
func spread(d time.Duration) time.Duration { return d - d/slack }

// patience returns how long Caddy waits for open requests when a server shuts down; 0: without limit.
func patience(ctx caddy.Context) time.Duration {
	for _, m := range ctx.Modules() {
		if app, ok := m.(*caddyhttp.App); ok {
			return time.Duration(app.GracePeriod)
		}
	}
	return 0
}

// drains are the hubs that are ending.
var drains draining

type draining struct {
	mu  sync.Mutex
	all []*pooledHub
}

func (d *draining) add(p *pooledHub) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, p)
}

func (d *draining) remove(p *pooledHub) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = slices.DeleteFunc(d.all, func(o *pooledHub) bool { return o == p })
}

func (d *draining) list() []*pooledHub {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// exiting says that the process exits.
var exiting = struct {
	once  sync.Once
	begun chan struct{} // closed when that begins
}{begun: make(chan struct{})}

// drainAll drains all hubs: the process exits.
func drainAll() {
	exiting.once.Do(func() { close(exiting.begun) })
	for _, p := range pooled() {
		p.drain()
	}
}

// waitForDrains waits for the hubs that are ending, before the process exits. Each takes a bounded
// time, which has begun long ago if Caddy had to wait for other requests.
func waitForDrains(context.Context) {
	for _, p := range drains.list() {
		<-p.ended
	}
}

// drain begins to end the hub, which then takes no new sessions. It does not wait. Further calls do
// nothing.
func (p *pooledHub) drain() {
	p.ending.Do(func() {
		p.hub.StopAccepting() // now: the server's shutdown must find it so
		within := p.hub.Settings().Drain
		ctx, hurry := context.WithTimeout(context.Background(), cmp.Or(within, goodbyeTime))
		p.hurry = hurry
		drains.add(p)
		go p.end(ctx, within) // ends within that time, goodbyeTime and closeTime; waitForDrains waits for it
	})
}

// Destruct implements [caddy.Destructor]: no configuration uses the hub any more. Usually it is being
// drained since the last one began to stop.
func (p *pooledHub) Destruct() error {
	p.drain()
	return nil
}

// end ends the hub within so much time; 0: at once, but for what has to be written. ctx is over when that
// is, or when somebody needs the hub's storage.
func (p *pooledHub) end(ctx context.Context, within time.Duration) {
	defer close(p.ended)
	defer drains.remove(p)
	defer p.hurry()
	defer func() {
		if v := recover(); v != nil {
			p.hub.Logger().Error("panic while a hub ends", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	log, begin, sessions := p.hub.Logger(), time.Now(), p.hub.Stats().Sessions
	if sessions > 0 {
		log.Info("clients are asked to reconnect: their hub ends", "hub", p.name, "connections", sessions, "drain", within)
	}
	defer func() { // also if there was a panic
		late := p.hub.Stats().Sessions
		p.close(ctx)
		if sessions > 0 {
			log.Info("the hub has ended", "hub", p.name, "duration", time.Since(begin), "cut", late)
		}
	}()
	p.hub.Drain(ctx, spread(within))
}

// close closes the hub and its connections. Those that have not gone when ctx is done are cut.
func (p *pooledHub) close(ctx context.Context) {
	defer p.idle.Close()                        // every session has ended, so no connection waits for input any more
	if errors.Is(ctx.Err(), context.Canceled) { // in a hurry, and they have just been told
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), goodbyeTime)
		defer cancel()
	}
	defer p.conns.Wait(ctx)
	defer close(p.released)
	closing, cancel := context.WithTimeout(context.Background(), goodbyeTime+closeTime)
	defer cancel()
	if err := p.hub.Close(closing); err != nil {
		p.hub.Logger().Error("closing a hub", "hub", p.name, "error", err)
	}
}
