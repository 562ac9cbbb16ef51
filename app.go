package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
)

// App puts the settings of the realtime handlers into force. It has no options
// and is loaded by the handlers.
//
// Hubs outlive configurations, so a configuration must not change one that another
// uses before it can no longer be refused. That is not known in Provision, nor in
// Start, nor when its servers already answer: only the end of the configuration
// before tells. Handlers leave their hub's settings here when they are provisioned.
// A hub that is new takes them at once, the others when the old configuration stops.
// So a configuration that is refused has nothing to undo.
type App struct {
	adopted map[string]*adoption
	refused refusedOrigins
	settled sync.Once
	servers map[*caddyhttp.Server]bool // those that keepConns has been called for
}

// adoption is what one configuration wants of one hub.
type adoption struct {
	pooled   *pooledHub
	made     bool // by this configuration: nobody else uses it
	settings *hub.Settings
	own      bool // some handler has given options, these are them
	log      *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "realtime",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision asks to be told of the end of this configuration, with which another
// one comes into force. Caddy tells it before it waits for anything.
func (*App) Provision(ctx caddy.Context) error {
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	return events.(*caddyevents.App).On("stopping", successor{})
}

// adopt notes what a handler wants of its hub. made says that the hub was made for
// the handler.
func (a *App) adopt(name string, p *pooledHub, made bool, s *hub.Settings, own bool, log *slog.Logger) error {
	if a.adopted == nil {
		a.adopted = make(map[string]*adoption)
	}
	was := a.adopted[name]
	switch {
	case was == nil:
		a.adopted[name] = &adoption{pooled: p, made: made, settings: s, own: own, log: log}
	case own && was.own && !reflect.DeepEqual(s, was.settings):
		return fmt.Errorf("hub %q has conflicting options: %w", name, errConfigured)
	case own:
		was.settings, was.own = s, true
		if was.made {
			return p.hub.Configure(s)
		}
	}
	return nil
}

// connKey is where a request's context has its connection.
type connKey struct{}

// keepConns has the server keep each connection in the contexts of its requests,
// once, however many handlers it has.
func (a *App) keepConns(srv *caddyhttp.Server) {
	if a.servers[srv] {
		return
	}
	if a.servers == nil {
		a.servers = make(map[*caddyhttp.Server]bool)
	}
	a.servers[srv] = true
	srv.RegisterConnContext(func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, nc)
	})
}

// settle puts the settings into force: this is the configuration that Caddy runs
// now. Errors cannot be: the settings have been checked.
func (a *App) settle() {
	a.settled.Do(func() {
		for name, o := range a.adopted {
			if o.made {
				continue
			}
			if err := o.pooled.hub.Configure(o.settings); err != nil {
				o.log.Error("applying the hub's settings", "hub", name, "error", err)
			}
			o.pooled.hub.SetLogger(o.log)
		}
	})
}

// successor puts the settings of the configuration into force that comes after one
// that stops. It is an events.Handler.
type successor struct{}

// Handle implements caddyevents.Handler.
func (successor) Handle(context.Context, caddy.Event) error {
	// It is nobody's at the process's end, and the old one's if the new one was refused.
	app, err := caddy.ActiveContext().AppIfConfigured("realtime")
	if a, ok := app.(*App); ok && err == nil {
		a.settle()
	}
	return nil
}

// Start implements caddy.App. Nothing is in force for good yet.
func (*App) Start() error { return nil }

// Stop implements caddy.App. Another handler of the event may have aborted it, so
// this is the latest moment for the configuration that comes after this one.
func (*App) Stop() error { return successor{}.Handle(context.Background(), caddy.Event{}) }

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddyevents.Handler = successor{}
)
