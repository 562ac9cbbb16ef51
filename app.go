package realtime

import (
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
)

// App puts the settings of the realtime handlers into force. It has no options
// and is loaded by the handlers.
//
// Hubs outlive configurations, so a new configuration must not change a hub that
// another one uses before it is in force for good: Caddy may refuse it after its
// apps have started, even after its listeners have taken requests. Handlers leave
// their hub's settings here when they are provisioned. Start hands them to hubs that
// nobody else uses; the others get them once Caddy says that this is the
// configuration in force.
type App struct {
	adopted map[string]*adoption
	refused refusedOrigins

	pending atomic.Bool // some hubs still have other settings
	mu      sync.Mutex  // held while settings are put into force
	stop    chan struct{}
	stopped sync.Once
	waiting sync.WaitGroup // the goroutine that asks Caddy
}

// adoption is what one configuration wants of one hub.
type adoption struct {
	pooled   *pooledHub
	settings *hub.Settings
	own      bool // some handler has given options, these are them
	handlers int  // of this configuration
	log      *slog.Logger
	done     bool // the settings are in force; guarded by App.mu
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "realtime",
		New: func() caddy.Module { return new(App) },
	}
}

// adopt notes what a handler wants of its hub.
func (a *App) adopt(name string, p *pooledHub, s *hub.Settings, own bool, log *slog.Logger) error {
	if a.adopted == nil {
		a.adopted = make(map[string]*adoption)
	}
	was := a.adopted[name]
	switch {
	case was == nil:
		a.adopted[name] = &adoption{pooled: p, settings: s, own: own, handlers: 1, log: log}
		return nil
	case own && was.own && !reflect.DeepEqual(s, was.settings):
		return fmt.Errorf("hub %q is told two different things: %w", name, errConfigured)
	case own:
		was.settings, was.own = s, true
	}
	was.handlers++
	return nil
}

// Start puts the settings of new hubs into force, and waits in the background for
// those of the others. Stop, or Cleanup, ends that.
func (a *App) Start() error {
	a.stop = make(chan struct{})
	for name, o := range a.adopted {
		if n, _ := hubs.References(poolKey(name)); n > o.handlers {
			a.pending.Store(true)
			continue
		}
		if err := o.configure(); err != nil {
			return fmt.Errorf("hub %q: %w", name, err)
		}
	}
	if a.pending.Load() {
		a.waiting.Go(a.wait)
	}
	return nil
}

// Bounds of the time between two questions whether a configuration is in force.
const (
	askFirst = time.Millisecond
	askLast  = 250 * time.Millisecond
)

// wait waits until the configuration is in force, or is given up.
func (a *App) wait() {
	every := askFirst
	timer := time.NewTimer(every)
	defer timer.Stop()
	for !a.settle() {
		select {
		case <-a.stop:
			return
		case <-timer.C:
			every = min(2*every, askLast)
			timer.Reset(every)
		}
	}
}

// settle puts the settings into force if the configuration is. It reports whether
// nothing is left to do. Handlers call it, so that whoever comes by a new
// configuration meets its limits.
func (a *App) settle() bool {
	if !a.pending.Load() {
		return true
	}
	if !a.inForce() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, o := range a.adopted {
		if o.done {
			continue
		}
		if err := o.configure(); err != nil { // they have been checked
			o.log.Error("putting options into force", "hub", name, "error", err)
		}
	}
	a.pending.Store(false)
	return true
}

// inForce reports whether this is the app of the configuration in force, which can
// no longer be refused.
func (a *App) inForce() bool {
	v, err := caddy.ActiveContext().AppIfConfigured("realtime") // it loads nothing
	return err == nil && v == any(a)
}

// configure puts the settings into force.
func (o *adoption) configure() error {
	o.done = true
	o.pooled.hub.SetLogger(o.log)
	return o.pooled.hub.Configure(o.settings)
}

// Stop implements [caddy.App]. What the configuration did not put into force needs
// no undoing.
func (a *App) Stop() error { return a.Cleanup() }

// Cleanup implements [caddy.CleanerUpper]: one kind of a refused configuration is
// started and never stopped.
func (a *App) Cleanup() error {
	if a.stop != nil {
		a.stopped.Do(func() { close(a.stop) })
		a.waiting.Wait()
	}
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
