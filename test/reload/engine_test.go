package reload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func init() {
	caddy.RegisterModule(new(testEngine))
}

// testEngine is an engine in memory that has to be opened, as one with a file has.
type testEngine struct {
	Path string `json:"path,omitempty"`
	Sync string `json:"sync,omitempty"`
}

// opened is an engine of it.
type opened struct {
	*hub.Memory
	path string
	log  *slog.Logger
}

// disk is what all engines have in common: who holds a file, and what was done.
var disk = struct {
	mu    sync.Mutex
	held  map[string]bool
	calls []string
	fail  error // of the next Open
}{held: make(map[string]bool)}

func note(call string) {
	disk.mu.Lock()
	defer disk.mu.Unlock()
	disk.calls = append(disk.calls, call)
}

// calls returns what was done since the last call.
func calls() string {
	disk.mu.Lock()
	defer disk.mu.Unlock()
	all := strings.Join(disk.calls, ", ")
	disk.calls = nil
	return all
}

// called checks what was done since the last call.
func called(t *testing.T, when, want string) {
	t.Helper()
	if got := calls(); got != want {
		t.Errorf("%s: the engines were told %q, want %q", when, got, want)
	}
}

func (*testEngine) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.realtime.engines.test", New: func() caddy.Module { return new(testEngine) }}
}

// UnmarshalCaddyfile reads: engine test <path> [<sync>].
func (m *testEngine) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.Args(&m.Path, &m.Sync)
	return nil
}

func (m *testEngine) Engine(_ string, log *slog.Logger) (hub.Engine, error) {
	return &opened{hub.NewMemory(), m.Path, log}, nil
}

func (m *testEngine) Storage(string) string { return m.Path }

func (m *testEngine) Apply(e hub.Engine) error {
	note("apply " + e.(*opened).path + " " + m.Sync)
	e.(*opened).log.Info("an engine has other options", "sync", m.Sync)
	return nil
}

// Open implements [hub.Opener].
func (e *opened) Open(context.Context) error {
	note("open " + e.path)
	disk.mu.Lock()
	defer disk.mu.Unlock()
	if err := disk.fail; err != nil {
		disk.fail = nil
		return err
	}
	if disk.held[e.path] {
		return errors.New("the file is locked")
	}
	disk.held[e.path] = true
	return nil
}

// Close implements [hub.Engine].
func (e *opened) Close(ctx context.Context) error {
	note("close " + e.path)
	disk.mu.Lock()
	delete(disk.held, e.path)
	disk.mu.Unlock()
	return e.Memory.Close(ctx)
}

// engineBlock is the block of a site whose hub has an engine.
func engineBlock(engine string, more ...string) string {
	return "realtime {\n" + caddytest.Open + "engine " + engine + "\n" + strings.Join(more, "\n") + "\n}"
}

// startEngine runs Caddy with a hub on an engine.
func startEngine(t *testing.T, block string) *caddytest.Site {
	t.Helper()
	calls()
	s := caddytest.StartAdministered(t, block)
	t.Cleanup(func() { // after Caddy has been stopped
		caddytest.Eventually(t, "the files to be free", func() bool { return !holding("/a") && !holding("/b") })
	})
	caddytest.StopAfter(t) // before that
	return s
}

// holding reports whether an engine holds a file.
func holding(path string) bool {
	disk.mu.Lock()
	defer disk.mu.Unlock()
	return disk.held[path]
}

// load loads a block, which may be refused.
func load(t *testing.T, s *caddytest.Site, block string) error {
	t.Helper()
	return caddy.Load(configuration(t, s, block, "", ""), true)
}

// closes waits until an engine has been closed, and forgets that.
func closes(t *testing.T, path string) {
	t.Helper()
	caddytest.Eventually(t, "the end of "+path, func() bool {
		disk.mu.Lock()
		defer disk.mu.Unlock()
		if i := slices.Index(disk.calls, "close "+path); i >= 0 {
			disk.calls = slices.Delete(disk.calls, i, i+1)
			return true
		}
		return false
	})
}

// caddy validate checks a configuration while a Caddy runs it.
func TestValidationOpensNoEngine(t *testing.T) {
	validate := func(when, block string) {
		t.Helper()
		var config caddy.Config
		if err := json.Unmarshal(configuration(t, caddytest.New(t), block, "", ""), &config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&config); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		called(t, when, "")
	}
	calls()
	validate("alone", engineBlock("test /a"))
	s := startEngine(t, engineBlock("test /a"))
	called(t, "at the start", "open /a")
	s.Post("lobby", "kept")
	validate("beside a Caddy that runs it", engineBlock("test /a always"))
	validate("with another file", engineBlock("test /b"))
	if texts := s.Page("lobby").Texts(); !slices.Equal(texts, []string{"kept"}) {
		t.Errorf("the room has %q", texts)
	}
}

// A hub with another engine is another hub: the old one drains.
func TestReloadToAnotherEngine(t *testing.T) {
	s := startEngine(t, engineBlock("memory"))
	for _, step := range []struct{ to, opens, closes string }{
		{"test /a", "open /a", ""},
		{"test /b", "open /b", "/a"},
		{"memory", "", "/b"},
	} {
		s.Post("lobby", "before")
		c := s.Dial("lobby?last=1")
		caddytest.Receive(t, c)
		s.Reload(engineBlock(step.to))
		if texts := s.Page("lobby").Texts(); len(texts) != 0 {
			t.Errorf("%s: the new hub begins with %q", step.to, texts)
		}
		s.Post("lobby", "after")
		if _, b, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
			t.Errorf("%s: a client of the old hub got %q and %v, want 1012", step.to, b, err)
		}
		if step.closes != "" {
			closes(t, step.closes)
		}
		called(t, step.to, step.opens)
	}
}

// Options of an engine come into force with their configuration, and not before.
func TestEngineOptions(t *testing.T) {
	s := startEngine(t, engineBlock("test /a fast"))
	s.Post("lobby", "kept")
	called(t, "at the start", "open /a")
	for how, refusal := range refusals {
		awkwardLoad = func() { called(t, how+", before it is refused", "") }
		err := caddy.Load(configuration(t, s, engineBlock("test /a slow")+"\n"+refusal.site, refusal.app, refusal.loader), true)
		if err == nil {
			t.Fatalf("%s: it was loaded", how)
		}
		called(t, how, "")
	}
	s.Reload(engineBlock("test /a slow"))
	called(t, "after a good reload", "apply /a slow")
	if texts := s.Page("lobby").Texts(); !slices.Equal(texts, []string{"kept"}) {
		t.Errorf("the room has %q", texts)
	}
}

// An engine that a refused configuration has opened is closed, and can be opened again.
func TestRefusedConfigurationClosesItsEngine(t *testing.T) {
	s := startEngine(t, engineBlock("test /a"))
	calls()
	c := s.Dial("lobby")
	for how, refusal := range refusals {
		awkwardLoad = func() {}
		err := caddy.Load(configuration(t, s, engineBlock("test /b")+"\n"+refusal.site, refusal.app, refusal.loader), true)
		if err == nil {
			t.Fatalf("%s: it was loaded", how)
		}
		caddytest.Eventually(t, how+": the end of what was opened", func() bool { return !holding("/b") })
		if got := calls(); got != "" && got != "open /b, close /b" {
			t.Errorf("%s: %s", how, got)
		}
		s.Post("lobby", how)
		if got := caddytest.Receive(t, c); got != how {
			t.Errorf("%s: the old hub sends %q", how, got)
		}
	}
	s.Reload(engineBlock("test /b"))
	if !holding("/b") {
		t.Errorf("after a good reload: %s", calls())
	}
}

// A configuration whose engine cannot be opened is refused. The next attempt begins anew.
func TestEngineThatCannotBeOpened(t *testing.T) {
	s := startEngine(t, engineBlock("memory", "hub x"))
	s.Post("lobby", "kept")
	for range 2 {
		disk.mu.Lock()
		disk.fail = errors.New("the disk is ill")
		disk.mu.Unlock()
		err := load(t, s, engineBlock("test /a", "hub x"))
		if err == nil || !strings.Contains(err.Error(), `opening the engine of hub "x": the disk is ill`) {
			t.Fatalf("loading: %v", err)
		}
		closes(t, "/a")
		called(t, "the first attempt", "open /a")
		if texts := s.Page("lobby").Texts(); !slices.Equal(texts, []string{"kept"}) {
			t.Errorf("the old hub has %q", texts)
		}
	}
	s.Reload(engineBlock("test /a", "hub x"))
	s.Post("lobby", "on the disk")
	called(t, "the next attempt", "open /a")
}

// A file cannot belong to two hubs, in one configuration or at a reload.
func TestStorageOfAnotherHub(t *testing.T) {
	s := startEngine(t, engineBlock("test /a", "hub one"))
	for block, want := range map[string]string{
		engineBlock("test /a", "hub one") + "\n" + strings.Replace(engineBlock("test /a", "hub two"), "realtime", "realtime /b/*", 1): `hubs "one" and "two" have the same engine test (/a)`,
		engineBlock("test /a", "hub two"): `hub "one" of the running configuration has its storage, /a`,
		engineBlock("test /a", "hub one") + "\n" + strings.Replace(engineBlock("test /b", "hub one"), "realtime", "realtime /b/*", 1):     `hub "one" has two engines, test (`,
		engineBlock("test /a", "hub one") + "\n" + strings.Replace(engineBlock("memory", "hub one"), "realtime", "realtime /b/*", 1):      `hub "one" has two engines, `,
		engineBlock("test /a x", "hub one") + "\n" + strings.Replace(engineBlock("test /a y", "hub one"), "realtime", "realtime /b/*", 1): `hub "one" has the engine test (/a) with two different sets of options`,
	} {
		if err := load(t, s, block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nwas answered with %v, want %s", block, err, want)
		}
		s.Post("lobby", "as before")
	}
	s.Reload(`respond "nothing live here"`)
	s.Reload(engineBlock("test /a", "hub two"))
	s.Post("lobby", "another hub")
}

// One handler chooses the engine for all of its hub, whatever their order.
func TestAnyHandlerChoosesTheEngine(t *testing.T) {
	for i, block := range []string{
		"realtime {\nhub one\n}\nrealtime /live/* {\nhub one\nengine test /a\n}",
		"realtime {\nhub one\nengine test /a\n}\nrealtime /live/* {\nhub one\n}",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s := startEngine(t, block)
			called(t, "at the start", "open /a")
			s.Post("lobby", "shared")
			if body := caddytest.ReadAll(t, s.Do("GET", "/live/lobby", "")); !strings.Contains(body, "shared") {
				t.Errorf("the other handler has %s", body)
			}
		})
	}
}
