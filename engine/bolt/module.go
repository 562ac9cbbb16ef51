package bolt

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-realtime/realtime/hub"
)

// The Caddy module. Nothing else of this package knows Caddy.

func init() {
	caddy.RegisterModule(new(Module))
}

// Module keeps the rooms of a hub in a file, so that they survive a restart. The file belongs to one hub of one
// process. It is opened when the configuration starts; if that fails, the configuration is refused. Another path is
// another hub, whose rooms begin empty.
type Module struct {
	// The file. It may have placeholders of the process, like `{env.DATA_DIR}`; a relative path
	// begins at the working directory. Default: `realtime/` and the hub's name, or `default` for the hub without
	// a name, and `.db`, in [Caddy's data directory](https://caddyserver.com/docs/conventions#data-directory).
	Path string `json:"path,omitempty"`

	// How often what was published is brought to the disk, from `1ms` to `1m`: a loss of power loses at most so
	// much. Or `always`: before each answer. The end of the process alone loses nothing. A change
	// applies at the reload. Default: `100ms`.
	Sync string `json:"sync,omitempty"`

	// How many bytes the file holds; at least 1048576 (1 MiB). When it is used up the oldest messages of the hub are
	// removed. A change applies at the reload. Default: 1073741824 (1 GiB). Systems with 32 bits have at most
	// 536870912 (512 MiB), which is the default there.
	Size int64 `json:"size,omitempty"`

	options Options // of the fields; set by Provision
}

const (
	always      = "always" // of Sync
	defaultSync = 100 * time.Millisecond
	minSync     = time.Millisecond
	maxSync     = time.Minute
	minSize     = 1 << 20
)

// maxSize and defaultSize are in bytes. A system with 32 bits cannot map a larger file.
var (
	maxSize     = maxSizeOf(math.MaxInt)
	defaultSize = min(1<<30, maxSize)
)

// maxSizeOf returns the greatest size where that is the greatest int.
func maxSizeOf(maxInt int64) int64 {
	if maxInt <= math.MaxInt32 {
		return 512 << 20
	}
	return math.MaxInt64
}

// CaddyModule returns the Caddy module information.
func (*Module) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.realtime.engines.bolt",
		New: func() caddy.Module { return new(Module) },
	}
}

// Provision checks the options and fills in the defaults. It touches no file.
func (m *Module) Provision(caddy.Context) (err error) {
	if err := errors.Join(checkSync(m.Sync), checkSize(m.Size)); err != nil {
		return err
	}
	if m.Path != "" {
		given := m.Path
		if m.Path, err = caddy.NewReplacer().ReplaceOrErr(given, true, true); err != nil {
			return fmt.Errorf("invalid path %q: %w", given, err)
		}
		if err := checkPath(m.Path); err != nil {
			return err
		}
		if m.Path, err = filepath.Abs(m.Path); err != nil {
			return fmt.Errorf("invalid path %q: %w", given, err)
		}
	}
	if m.Size == 0 {
		m.Size = defaultSize
	}
	m.options = Options{Sync: defaultSync, Size: m.Size}
	switch m.Sync {
	case "":
	case always:
		m.options.Sync = 0
		return nil
	default:
		m.options.Sync, _ = caddy.ParseDuration(m.Sync) // it has been checked
	}
	m.Sync = m.options.Sync.String() // equal times are equal options
	return nil
}

// Engine makes an engine for a hub. Its file is not touched before [Engine.Open].
func (m *Module) Engine(hubName string, log *slog.Logger) (hub.Engine, error) {
	return New(m.Storage(hubName), m.options, log), nil
}

// Storage returns the absolute path of the hub's file.
func (m *Module) Storage(hubName string) string {
	if m.Path != "" {
		return m.Path
	}
	if hubName == "" {
		hubName = "default"
	}
	path := filepath.Join(caddy.AppDataDir(), "realtime", hubName+".db")
	if absolute, err := filepath.Abs(path); err == nil { // without a home, Caddy's folder is relative
		return absolute
	}
	return path
}

// Apply puts the options in force on an engine of this path.
func (m *Module) Apply(e hub.Engine) error {
	engine, ok := e.(*Engine)
	if !ok {
		return fmt.Errorf("the engine is %T", e)
	}
	return engine.Configure(m.options)
}

// UnmarshalCaddyfile sets up the engine from Caddyfile tokens. Syntax:
//
//	engine bolt [<path>] {
//		sync always|<duration>
//		size <size>
//	}
func (m *Module) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the engine's name
	if d.NextArg() {
		m.Path = d.Val()
		if err := checkPath(m.Path); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("engine bolt: unexpected argument %q: it takes only a path", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := m.unmarshalOption(d, d.Val()); err != nil {
			return err
		}
	}
	return nil
}

func (m *Module) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	switch {
	case name != "sync" && name != "size":
		return d.Errf("engine bolt: unrecognized subdirective %q: must be sync or size", name)
	case name == "sync" && m.Sync != "", name == "size" && m.Size != 0:
		return d.Errf("engine bolt: %s already specified", name)
	case !d.NextArg():
		return d.ArgErr()
	}
	var err error
	if name == "sync" {
		m.Sync = d.Val()
		err = checkSync(m.Sync)
		if m.Sync == "" {
			err = errors.New("sync must not be empty")
		}
	} else {
		m.Size, err = parseSize(d.Val())
	}
	if err != nil {
		return d.WrapErr(fmt.Errorf("engine bolt: %w", err))
	}
	if d.NextArg() {
		return d.Errf("engine bolt: %s: unexpected argument %q", name, d.Val())
	}
	if nesting := d.Nesting(); d.NextBlock(nesting) {
		return d.Errf("engine bolt: %s does not take a block", name)
	}
	return nil
}

// parseSize reads a number of bytes, like 2GiB.
func parseSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("invalid size %q: must be a number of bytes, like 2GiB", text)
	}
	if n == 0 {
		return 0, errSize(0) // not the default
	}
	size := int64(min(n, math.MaxInt64))
	return size, checkSize(size)
}

// checkSync checks the option sync; empty stands for the default.
func checkSync(sync string) error {
	if sync == "" || sync == always {
		return nil
	}
	if d, err := caddy.ParseDuration(sync); err != nil || d < minSync || d > maxSync {
		return fmt.Errorf("invalid sync %q: must be always, or a duration from 1ms to 1m", sync)
	}
	return nil
}

// checkSize checks the option size; 0 stands for the default.
func checkSize(size int64) error {
	switch {
	case size != 0 && size < minSize:
		return errSize(size)
	case size > maxSize:
		return fmt.Errorf("invalid size %d: must be at most 512MiB (JSON: 536870912) on a system with 32 bits", size)
	}
	return nil
}

// errSize is the error for a size that is too small.
func errSize(size int64) error {
	return fmt.Errorf("invalid size %d: must be at least 1MiB (JSON: 1048576)", size)
}

// checkPath checks that a path can be that of a file.
func checkPath(path string) error {
	if path == "" || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) || filepath.Base(path) == "." || filepath.Base(path) == ".." {
		return fmt.Errorf("invalid path %q: must name a file", path)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Module)(nil)
	_ caddyfile.Unmarshaler = (*Module)(nil)
)
