package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/secret"
	"github.com/caddy-realtime/realtime/internal/serve"
)

// App applies the settings and the rules of the realtime handlers to their hubs. It has no
// options; the handlers load it.
//
// Hubs outlive configurations. So a configuration must not change a hub that another
// one uses as long as it can still be refused, which is possible in Provision, in
// Start, and even while its servers already answer. Only the end of the previous
// configuration is proof. Handlers leave their hub's options here when they are
// provisioned. Start takes the hubs from the pool, when all handlers are known: a configuration
// that is only checked touches none. A new hub gets its options at once, the others when the
// old configuration stops. A configuration that is refused has nothing to undo.
type App struct {
	adopted    map[string]*adoption // by the hub's name
	handlers   []*Handler           // that are provisioned, and get their hubs in open
	refused    serve.RefusedOrigins
	settled    sync.Once
	servers    map[*caddyhttp.Server]bool // that keepConns has been called for
	generation string                     // unlike that of any other configuration
	users      map[string]userSources     // by the hub's name

	ctx     context.Context //nolint:containedctx // that of the configuration, which ends before it is cleaned up
	opening sync.Once       // see open
	opened  chan struct{}   // closed when the handlers have their hubs, or failed is set
	failed  error
}

// adoption holds the options of one configuration for one hub.
type adoption struct {
	hubOptions
	engine *engineChoice // nil: no handler has chosen one
	pooled *pooledHub    // nil: it has not been taken
	made   bool          // this configuration has made the hub: no other uses it
	log    *slog.Logger
}

// openTime is how long it may take to open the hubs of a configuration.
const openTime = time.Minute

// errNotStarted is the error for requests to a configuration that was refused before it was started.
var errNotStarted = errors.New("the configuration was refused")

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "realtime",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision subscribes to the event "stopping", the end of this configuration: another
// one is in force then, or the process exits. Caddy emits it before it waits for anything.
func (a *App) Provision(ctx caddy.Context) error {
	a.generation = secret.NewID()
	a.ctx, a.opened = ctx, make(chan struct{})
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	return events.(*caddyevents.App).On("stopping", a)
}

// adopt notes the options of a handler for its hub, and the engine that it chooses, if it does.
func (a *App) adopt(name string, o hubOptions, engine *engineChoice, log *slog.Logger) error {
	if a.adopted == nil {
		a.adopted = make(map[string]*adoption)
	}
	was := a.adopted[name]
	switch {
	case was == nil:
		a.adopted[name] = &adoption{hubOptions: o, log: log}
	case o.own && was.own && !was.equal(o):
		return fmt.Errorf("hub %q has conflicting options: %w", name, errConfigured)
	case o.own:
		was.hubOptions = o
	}
	if engine == nil {
		return nil
	}
	return a.choose(name, engine)
}

// open takes the hubs of the configuration, on a goroutine of its own, and gives them to the handlers.
// It does not wait: opened is closed when that is done. Start calls it, or a request, if the server has
// been started before. Only the first call does something.
func (a *App) open() {
	a.opening.Do(func() { go a.takeHubs() }) // endOpening joins it
}

// takeHubs is what open does. If it fails, Cleanup gives back what it took.
func (a *App) takeHubs() {
	defer close(a.opened)
	defer func() {
		if v := recover(); v != nil {
			a.failed = fmt.Errorf("panic while the hubs were opened: %v\n%s", v, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(a.ctx, openTime)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(a.adopted)) {
		if a.failed = a.adopted[name].take(ctx, name); a.failed != nil {
			return
		}
	}
	for _, h := range a.handlers {
		h.attach(a.adopted[h.Hub].pooled)
	}
}

// take takes the hub from the pool, and opens it if it is new.
func (o *adoption) take(ctx context.Context, name string) (err error) {
	if o.engine == nil {
		o.engine = memoryChoice
	}
	o.pooled, o.made, err = takeHub(name, o.engine, o.settings, o.log)
	if err != nil {
		return err
	}
	if o.made {
		if err := o.pooled.apply(o.hubOptions); err != nil {
			return err
		}
	}
	return o.pooled.open(ctx)
}

// ready waits until the handlers have their hubs. It returns an error that wraps [hub.ErrUnavailable] if
// they get none, or ctx ends first.
func (a *App) ready(ctx context.Context) error {
	select {
	case <-a.opened:
	default:
		a.open()
		select {
		case <-a.opened:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", hub.ErrUnavailable, ctx.Err())
		}
	}
	if a.failed != nil {
		return fmt.Errorf("%w: %w", hub.ErrUnavailable, a.failed)
	}
	return nil
}

// endOpening waits until open is done, and keeps it from beginning. The context of the configuration has ended.
func (a *App) endOpening() {
	a.opening.Do(func() {
		a.failed = errNotStarted
		close(a.opened)
	})
	<-a.opened
}

// noteUsers refuses a handler whose users could have the ids of another's. The handler gets to
// know which ids belong to others: those with a longer prefix.
func (a *App) noteUsers(h *Handler) error {
	source := h.userSource()
	if source == "" {
		return nil
	}
	if a.users == nil {
		a.users = make(map[string]userSources)
	}
	if a.users[h.Hub] == nil {
		a.users[h.Hub] = make(userSources)
	}
	h.users = a.users[h.Hub]
	if was, known := h.users[h.UserPrefix]; known && was != source {
		return fmt.Errorf("hub %q has users from two sources, %s and %s, so that one id could be two people: set user_prefix in one of the handlers", h.Hub, was, source)
	}
	h.users[h.UserPrefix] = source
	return nil
}

// keepConns makes the server add each connection to the contexts of its requests. It
// does so once, however many handlers the server has.
func (a *App) keepConns(srv *caddyhttp.Server) {
	if a.servers[srv] {
		return
	}
	if a.servers == nil {
		a.servers = make(map[*caddyhttp.Server]bool)
	}
	a.servers[srv] = true
	srv.RegisterConnContext(serve.WithConn)
}

// settle applies the options: Caddy now runs this configuration. Errors are not
// expected, since the options have been checked.
func (a *App) settle() {
	a.settled.Do(func() {
		for name, o := range a.adopted {
			if o.made {
				continue
			}
			if err := o.pooled.apply(o.hubOptions); err != nil {
				o.log.Error("applying the hub's options", "hub", name, "error", err)
			}
			if err := o.engine.module.Apply(o.pooled.engine); err != nil {
				o.log.Error("applying the engine's options", "hub", name, "error", err)
			}
			o.pooled.setLogger(o.log)
		}
	})
}

// Handle implements caddyevents.Handler for the end of this configuration: it applies the options of
// the next one, and drains the hubs that nobody will use any more.
func (a *App) Handle(context.Context, caddy.Event) error {
	if caddy.Exiting() {
		drainAll() // also if a new configuration has just started: it is about to end, too
		return nil
	}
	// There is no app if nothing follows. If the new configuration was refused it is the old
	// one, which is settled already.
	app, err := caddy.ActiveContext().AppIfConfigured("realtime")
	if next, ok := app.(*App); ok && err == nil {
		next.settle()
	}
	for _, o := range a.adopted {
		if o.pooled == nil {
			continue
		}
		if used, _ := hubs.References(o.pooled.hubKey); used == 1 {
			o.pooled.drain()
		}
	}
	return nil
}

// Start implements caddy.App: it takes the hubs. The configuration may still be refused.
func (a *App) Start() error {
	a.open()
	<-a.opened
	return a.failed
}

// Stop implements caddy.App. Another handler may have aborted the event, so this is the
// last opportunity to do what is to be done then.
func (a *App) Stop() error { return a.Handle(context.Background(), caddy.Event{}) }

// Cleanup gives the hubs back.
func (a *App) Cleanup() error {
	a.endOpening()
	var errs []error
	for _, o := range a.adopted {
		if o.pooled != nil {
			errs = append(errs, releaseHub(o.pooled.hubKey))
		}
	}
	return errors.Join(errs...)
}

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = (*App)(nil)
)
