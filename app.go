package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

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
// provisioned. A new hub gets them at once, the others when the old configuration
// stops. A configuration that is refused has nothing to undo.
type App struct {
	adopted    map[string]*adoption // by the hub's name
	refused    serve.RefusedOrigins
	settled    sync.Once
	servers    map[*caddyhttp.Server]bool // that keepConns has been called for
	generation string                     // unlike that of any other configuration
	users      map[string]userSources     // by the hub's name
}

// adoption holds the options of one configuration for one hub.
type adoption struct {
	hubOptions
	pooled   *pooledHub
	made     bool // this configuration has made the hub: no other uses it
	handlers int  // of this configuration that use the hub
	log      *slog.Logger
}

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
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	return events.(*caddyevents.App).On("stopping", a)
}

// adopt notes the options of a handler for its hub. made says that the hub was made for
// the handler.
func (a *App) adopt(name string, p *pooledHub, made bool, o hubOptions, log *slog.Logger) error {
	if a.adopted == nil {
		a.adopted = make(map[string]*adoption)
	}
	was := a.adopted[name]
	if was != nil {
		was.handlers++
	}
	switch {
	case was == nil:
		was = &adoption{hubOptions: o, pooled: p, made: made, handlers: 1, log: log}
		a.adopted[name] = was
	case o.own && was.own && !was.equal(o):
		return fmt.Errorf("hub %q has conflicting options: %w", name, errConfigured)
	case o.own:
		was.hubOptions = o
	default:
		return nil
	}
	if was.made {
		return p.apply(o)
	}
	return nil
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
			o.pooled.hub.SetLogger(o.log)
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
	for name, o := range a.adopted {
		if used, _ := hubs.References(poolKey(name)); used == o.handlers {
			o.pooled.drain()
		}
	}
	return nil
}

// Start implements caddy.App. The configuration may still be refused.
func (*App) Start() error { return nil }

// Stop implements caddy.App. Another handler may have aborted the event, so this is the
// last opportunity to do what is to be done then.
func (a *App) Stop() error { return a.Handle(context.Background(), caddy.Event{}) }

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddyevents.Handler = (*App)(nil)
)
