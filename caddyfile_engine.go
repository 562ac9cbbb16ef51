package realtime

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalEngine reads the name of an engine, and has its module read the rest.
func (h *Handler) unmarshalEngine(d *caddyfile.Dispenser) error {
	name, err := word(d, checkEngine)
	if err != nil {
		return err
	}
	module, err := caddyfile.UnmarshalModule(d, engines+"."+name)
	if err != nil {
		return err
	}
	h.EngineRaw = caddyconfig.JSONModuleObject(module, "name", name, nil)
	return nil
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	engine memory
func (*MemoryEngine) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the engine's name
	return endOfOption(d, "engine memory")
}

// Interface guard
var _ caddyfile.Unmarshaler = (*MemoryEngine)(nil)
