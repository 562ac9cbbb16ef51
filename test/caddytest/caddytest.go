// Package caddytest runs a whole Caddy inside a test, and has clients for every
// transport.
//
//	func TestMain(m *testing.M) { caddytest.Run(m) }
//
//	func TestHello(t *testing.T) {
//		s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
//		c := s.Dial("lobby")
//		s.Post("lobby", "hello")
//		if got := caddytest.Receive(t, c); got != "hello" {
//			t.Errorf("got %q", got)
//		}
//	}
//
// A process has one Caddy, so these tests run one after the other, those of several
// packages side by side. The package knows Caddy and not the module, so that the module's
// own tests can use it; other tests import the module for its directive.
package caddytest

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // what else sites are made of
)

// Open is what most tests say to realtime: no limit of rates, nor of connections by
// address.
const Open = "rate off\nmax_connections_per_address off\n"

// dir is the folder of this process.
var dir string

// Run is what TestMain does: it runs the tests with a folder of this process for Caddy's
// files.
func Run(m *testing.M) {
	var err error
	if dir, err = os.MkdirTemp("", "realtime-test"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	caddy.DefaultStorage.Path = dir // it has been looked up before
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		_ = os.Setenv(name, dir)
	}
	m.Run()
}

// Site is a site of the Caddy that runs in this process.
type Site struct {
	Port   int
	URL    string        // http://127.0.0.1:port
	Within time.Duration // how long a request of Do may take, with its answer
	Admin  string        // host and port of Caddy's admin API, see StartAdministered; empty: it is off

	t *testing.T
}

// New returns a site on a free port. It does not run before a configuration is loaded.
func New(t *testing.T) *Site {
	t.Helper()
	port := FreePort(t)
	return &Site{Port: port, URL: fmt.Sprintf("http://127.0.0.1:%d", port), Within: 20 * time.Second, t: t}
}

// Start runs Caddy with a site whose block is given, until the test ends.
func Start(t *testing.T, block string) *Site {
	t.Helper()
	s := New(t)
	s.Reload(block)
	StopAfter(t)
	return s
}

// StartAdministered is Start with Caddy's admin API.
func StartAdministered(t *testing.T, block string) *Site {
	t.Helper()
	s := New(t)
	s.Admin = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	s.Reload(block)
	StopAfter(t)
	return s
}

// StopAfter stops Caddy when the test ends.
func StopAfter(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

// In returns the site for a subtest.
func (s *Site) In(t *testing.T) *Site {
	in := *s
	in.t = t
	return &in
}

// By returns the site as clients reach it by another port, a proxy's.
func (s *Site) By(port int) *Site {
	by := *s
	by.Port, by.URL = port, fmt.Sprintf("http://127.0.0.1:%d", port)
	return &by
}

// Caddyfile returns the whole Caddyfile of the site with a block.
func (s *Site) Caddyfile(block string) string {
	return fmt.Sprintf("{\nadmin %s\npersist_config off\nauto_https off\n}\n%s {\n%s\n}\n", cmp.Or(s.Admin, "off"), s.URL, block)
}

// Reload gives the running Caddy a new configuration: the site with another block.
func (s *Site) Reload(block string) {
	s.t.Helper()
	Load(s.t, s.Caddyfile(block))
}

// Load runs Caddy with a whole Caddyfile.
func Load(t *testing.T, caddyfile string) {
	t.Helper()
	config, warnings, err := Adapt(caddyfile)
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, caddyfile)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Fatalf("warning: %s", w)
		}
	}
	LoadJSON(t, string(config))
}

// LoadJSON runs Caddy with a configuration, which alone accepts connections then.
func LoadJSON(t *testing.T, config string) {
	t.Helper()
	if err := caddy.Load([]byte(config), true); err != nil {
		t.Fatalf("loading: %v\n%s", err, config)
	}
	awaitOldListeners(t)
}

// Adapt returns the JSON that a Caddyfile stands for.
func Adapt(caddyfile string) ([]byte, []caddyconfig.Warning, error) {
	return caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
}

// Eventually waits for a condition, and fails the test if it does not come true.
func Eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for: %s", what)
		case <-tick.C:
		}
	}
}
