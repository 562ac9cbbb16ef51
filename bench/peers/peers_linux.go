package peers

import (
	"context"
	_ "embed" // for what the children need
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/process"
	"github.com/caddy-realtime/realtime/bench/site"
)

// Server is one of the servers that are measured, while it runs.
type Server struct {
	*process.Process
	Name, Version string
	Port, TLSPort int         // TLSPort 0: it has none
	Publish       load.Kind   // of connections that can publish
	Kinds         []load.Kind // that it serves
	// Path returns the URL's path of a room.
	Path func(room string) string
	// Collect asks for a collection of garbage; nil: it has none.
	Collect func() error
}

// Has reports whether it serves connections of a kind.
func (s *Server) Has(k load.Kind) bool { return slices.Contains(s.Kinds, k) }

// Maker starts one server.
type Maker struct {
	Name  string
	Start func(ctx context.Context, o Options) (*Server, error)
}

// Options says where servers find what they need.
type Options struct {
	Self  string // this program's file
	Dir   string // for what is needed while they run
	Cache string // for what is downloaded, and kept
	Hub   string // more lines for our directive
}

// Start starts the server of that name.
func Start(ctx context.Context, name string, o Options) (*Server, error) {
	for _, m := range Makers {
		if m.Name == name {
			return m.Start(ctx, o)
		}
	}
	return nil, errors.New("there is no server " + name)
}

// Names of the servers.
const (
	Ours     = "realtime"
	Loop     = "Go loop"
	LoopC    = "C loop"
	Channels = "goroutines"
	Nchan    = "Nchan"
	Nchan2   = "Nchan, 2 workers"
	SocketIO = "Socket.IO"
)

// Makers are all servers, ours first.
var Makers = []Maker{
	{Ours, startOurs},
	{LoopC, startLoopC},
	{Loop, func(_ context.Context, o Options) (*Server, error) { return startOwn(o, Loop, "loop") }},
	{Channels, func(_ context.Context, o Options) (*Server, error) { return startOwn(o, Channels, "channels") }},
	{Nchan, func(ctx context.Context, o Options) (*Server, error) { return startNchan(ctx, o, Nchan, 1) }},
	{Nchan2, func(ctx context.Context, o Options) (*Server, error) { return startNchan(ctx, o, Nchan2, 2) }},
	{SocketIO, startSocketIO},
}

func underRT(room string) string { return "/rt/" + room }

func startOurs(ctx context.Context, o Options) (*Server, error) {
	program := filepath.Join(o.Dir, "caddy.bin")
	if _, err := os.Stat(program); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/caddy-realtime/realtime/cmd/caddy")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build ./cmd/caddy: %w: %s", err, out)
		}
	}
	ports, err := process.FreePorts(3)
	if err != nil {
		return nil, err
	}
	text, err := site.Caddyfile(site.Options{Plain: ports[0], TLS: ports[1], Admin: ports[2], Dir: o.Dir, Hub: o.Hub})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+o.Dir, "XDG_CONFIG_HOME="+o.Dir, "HOME="+o.Dir)
	s := &Server{
		Name: Ours, Port: ports[0], TLSPort: ports[1], Path: underRT,
		Kinds: []load.Kind{load.WebSocket, load.Events, load.Lines},
		Collect: func() error {
			r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap?gc=1", ports[2]))
			if err != nil {
				return err
			}
			defer r.Body.Close()
			_, err = io.Copy(io.Discard, r.Body)
			return err
		},
	}
	if out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "Caddy {{.Version}}", "github.com/caddyserver/caddy/v2").Output(); err == nil {
		s.Version = strings.TrimSpace(string(out))
	}
	s.Process, err = process.Start(cmd, filepath.Join(o.Dir, "caddy.log"), ports...)
	return s, err
}

//go:embed files/floor.c
var loopSource []byte

func startLoopC(ctx context.Context, o Options) (*Server, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return nil, errors.New("there is no C compiler")
	}
	source, program := filepath.Join(o.Dir, "floor.c"), filepath.Join(o.Dir, "floor")
	if _, err := os.Stat(program); err != nil {
		if err := os.WriteFile(source, loopSource, 0o600); err != nil {
			return nil, err
		}
		if out, err := exec.CommandContext(ctx, cc, "-O2", "-o", program, source).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cc: %w: %s", err, out)
		}
	}
	ports, err := process.FreePorts(1)
	if err != nil {
		return nil, err
	}
	s := &Server{Name: LoopC, Port: ports[0], Path: underRT, Kinds: []load.Kind{load.WebSocket}}
	if out, err := exec.CommandContext(ctx, cc, "--version").Output(); err == nil {
		s.Version, _, _ = strings.Cut(string(out), "\n")
	}
	s.Process, err = process.Start(exec.Command(program, strconv.Itoa(ports[0])), filepath.Join(o.Dir, "floor.log"), ports...)
	return s, err
}

// startOwn starts a server that this program has in it.
func startOwn(o Options, name, serve string) (*Server, error) {
	ports, err := process.FreePorts(1)
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Port: ports[0], Path: underRT, Kinds: []load.Kind{load.WebSocket}}
	s.Process, err = process.Start(exec.Command(o.Self, "serve", serve, strconv.Itoa(ports[0])), filepath.Join(o.Dir, serve+".log"), ports...)
	s.Collect = func() error { return s.Signal(syscall.SIGUSR1) }
	return s, err
}
