package realtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-realtime/realtime/engine/bolt" // a standard engine
	"github.com/caddy-realtime/realtime/hub"
)

func init() {
	caddy.RegisterModule(new(MemoryEngine))
}

// EngineModule is a module that makes engines: it is what `engine` names, below the namespace
// `http.handlers.realtime.engines`. An engine outlives the configuration that has made it, as its hub
// does; the module ends with the configuration. Methods are called after Provision and Validate, and
// never by two goroutines at once. A module for Caddyfiles is a [caddyfile.Unmarshaler], too.
type EngineModule interface {
	caddy.Module
	// Engine makes an engine for the hub of a name, which is empty for the hub without one. An engine
	// that touches a file or the network is a [hub.Opener], and does so in Open: this configuration
	// may be refused, and the hub before it may have the same file until then. The logger is
	// good as long as the engine is, across reloads.
	Engine(hubName string, log *slog.Logger) (hub.Engine, error)
	// Storage names where the hub's rooms are, such as an absolute path. It is called before
	// Engine. A hub lives on in the next configuration if that has the same module, and the same
	// Storage, for its name; otherwise a new hub begins, and the old one drains. Two hubs cannot
	// have the same Storage, except for the empty one, which stands for storage that belongs to the
	// hub alone and ends with it. Errors and logs name it, so it must not have credentials.
	Storage(hubName string) string
	// Apply puts the options of this configuration in force on an engine that a module of the same type
	// and Storage has made for an earlier one. It is called when this configuration can no longer be
	// refused, and not for an engine that this configuration has made. An error is logged.
	Apply(e hub.Engine) error
}

// engines is the namespace of engines.
const engines = "http.handlers.realtime.engines"

// engineChoice is what a handler says about the engine of its hub.
type engineChoice struct {
	name    string // of the module, below the namespace
	module  EngineModule
	storage string
	options []byte // in JSON, with their defaults
}

// memoryChoice is the engine of a hub whose handlers say nothing about it.
var memoryChoice = &engineChoice{name: "memory", module: new(MemoryEngine)}

// String names the engine for errors.
func (c *engineChoice) String() string {
	if c.storage == "" {
		return c.name
	}
	return c.name + " (" + c.storage + ")"
}

// sharesStorage reports whether two engines have the same storage.
func (c *engineChoice) sharesStorage(other *engineChoice) bool {
	return c.storage != "" && c.name == other.name && c.storage == other.storage
}

// provisionEngine loads the engine's module; nil: the handler says nothing about the engine.
func (h *Handler) provisionEngine(ctx caddy.Context) (*engineChoice, error) {
	if len(h.EngineRaw) == 0 {
		return nil, nil //nolint:nilnil // nothing is no error
	}
	var given struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(h.EngineRaw, &given); err != nil {
		return nil, fmt.Errorf(`invalid engine: must be an object like {"name": "memory"}: %w`, err)
	}
	if err := checkEngine(given.Name); err != nil {
		return nil, err
	}
	loaded, err := ctx.LoadModule(h, "EngineRaw")
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	module, ok := loaded.(EngineModule)
	if !ok {
		return nil, fmt.Errorf("engine %s: the module is no engine: %T", given.Name, loaded)
	}
	options, err := json.Marshal(module)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", given.Name, err)
	}
	return &engineChoice{given.Name, module, module.Storage(h.Hub), options}, nil
}

// checkEngine checks that there is a module for the engine of a name.
func checkEngine(name string) error {
	var known []string
	for _, m := range caddy.GetModules(engines) {
		known = append(known, m.ID.Name())
	}
	if !slices.Contains(known, name) {
		return fmt.Errorf("unknown engine %q: this Caddy has %s; others must be built in", name, strings.Join(known, ", "))
	}
	return nil
}

// choose notes which engine a handler chooses for its hub. Of several handlers with one hub, one may
// choose for all.
func (a *App) choose(name string, c *engineChoice) error {
	was := a.adopted[name]
	switch first := was.engine; {
	case first == nil:
	case first.name != c.name || first.storage != c.storage:
		return fmt.Errorf("hub %q has two engines, %s and %s: %w", name, first, c, errConfigured)
	case !bytes.Equal(first.options, c.options):
		return fmt.Errorf("hub %q has the engine %s with two different sets of options: %w", name, c, errConfigured)
	}
	for other, o := range a.adopted {
		if other != name && o.engine != nil && o.engine.sharesStorage(c) {
			first, second := min(name, other), max(name, other)
			return fmt.Errorf("hubs %q and %q have the same engine %s: each hub needs a storage of its own", first, second, c)
		}
	}
	was.engine = c
	return nil
}

// MemoryEngine keeps rooms in the memory of this process, so that they end with it. A hub's option
// `history_memory` bounds them. It has no options.
type MemoryEngine struct{}

// CaddyModule returns the Caddy module information.
func (*MemoryEngine) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  engines + ".memory",
		New: func() caddy.Module { return new(MemoryEngine) },
	}
}

// Engine implements [EngineModule].
func (*MemoryEngine) Engine(string, *slog.Logger) (hub.Engine, error) { return hub.NewMemory(), nil }

// Storage implements [EngineModule].
func (*MemoryEngine) Storage(string) string { return "" }

// Apply implements [EngineModule]: there are no options.
func (*MemoryEngine) Apply(hub.Engine) error { return nil }

// errOpening says which hub could not be opened.
func errOpening(name string, err error) error {
	if errors.Is(err, hub.ErrDraining) {
		err = errors.New("the process exits")
	}
	return fmt.Errorf("opening the engine of hub %q: %w", name, err)
}

// Interface guard
var _ EngineModule = (*MemoryEngine)(nil)
