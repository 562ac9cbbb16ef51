package realtime

import (
	"fmt"
	"log/slog"
	"reflect"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
)

// App puts the settings of the realtime handlers into force. It has no options
// and is loaded by the handlers.
//
// Hubs outlive configurations, so a new configuration must not change them
// before all of it has been found good. Handlers leave their hub's settings here
// when they are provisioned; Start hands them to the hubs.
type App struct {
	adopted map[string]*adoption
	refused refusedOrigins
}

// adoption is what one configuration wants of one hub.
type adoption struct {
	pooled   *pooledHub
	settings *hub.Settings
	own      bool // some handler has given options, these are them
	log      *slog.Logger
	before   *hub.Settings // in force before Start
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
		a.adopted[name] = &adoption{pooled: p, settings: s, own: own, log: log}
	case own && was.own && !reflect.DeepEqual(s, was.settings):
		return fmt.Errorf("hub %q is told two different things: %w", name, errConfigured)
	case own:
		was.settings, was.own = s, true
	}
	return nil
}

// Start puts the settings into force. The configuration has been validated.
func (a *App) Start() error {
	for name, o := range a.adopted {
		before := o.pooled.hub.Settings()
		if err := o.pooled.hub.Configure(o.settings); err != nil {
			return fmt.Errorf("hub %q: %w", name, err)
		}
		o.before = before
		o.pooled.hub.SetLogger(o.log)
	}
	return nil
}

// Stop takes the settings back if no later configuration has set others: then
// this one is being given up because another of its apps could not start.
func (a *App) Stop() error {
	for _, o := range a.adopted {
		if o.before != nil && o.pooled.hub.Settings() == o.settings {
			_ = o.pooled.hub.Configure(o.before) // they were in force before
		}
	}
	return nil
}

// Interface guard
var _ caddy.App = (*App)(nil)
