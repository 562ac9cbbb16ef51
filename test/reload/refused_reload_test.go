package reload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func init() {
	caddy.RegisterModule(new(awkward))
	caddy.RegisterModule(new(awkwardLoader))
}

// awkward is an app that can be made to fail, or wait.
type awkward struct {
	Fail  string `json:"fail,omitempty"`  // in provision, validate or start
	Abort bool   `json:"abort,omitempty"` // the event stopping, before others hear of it
	Wait  bool   `json:"wait,omitempty"`  // in Stop, for awkwardStop
}

// awkwardStop and awkwardLoad are what the app and the loader do.
var (
	awkwardStop func()
	awkwardLoad func()
)

var errAwkward = errors.New("awkward")

func (*awkward) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "realtime_test", New: func() caddy.Module { return new(awkward) }}
}

func (a *awkward) failIn(phase string) error {
	if a.Fail == phase {
		return errAwkward
	}
	return nil
}

func (a *awkward) Provision(ctx caddy.Context) error {
	// Everything else comes first.
	for _, name := range []string{"events", "http"} {
		app, err := ctx.App(name)
		if err != nil {
			return err
		}
		if events, ok := app.(*caddyevents.App); ok && a.Abort {
			if err := events.On("stopping", aborting{}); err != nil {
				return err
			}
		}
	}
	return a.failIn("provision")
}

func (a *awkward) Validate() error { return a.failIn("validate") }
func (a *awkward) Start() error    { return a.failIn("start") }

func (a *awkward) Stop() error {
	if a.Wait {
		awkwardStop()
	}
	return nil
}

// awkwardLoader is what fails when everything has been started.
type awkwardLoader struct{}

func (*awkwardLoader) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.config_loaders.realtime_test", New: func() caddy.Module { return new(awkwardLoader) }}
}

func (*awkwardLoader) LoadConfig(caddy.Context) ([]byte, error) {
	awkwardLoad()
	return nil, errAwkward
}

// configuration adds to a site's configuration, as JSON.
func configuration(t *testing.T, s *caddytest.Site, block, app, loader string) []byte {
	t.Helper()
	config, _, err := caddytest.Adapt(s.Caddyfile(block))
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	if app != "" {
		c["apps"].(map[string]any)["realtime_test"] = json.RawMessage(app)
	}
	if loader != "" {
		c["admin"].(map[string]any)["config"] = map[string]any{"persist": false, "load": json.RawMessage(loader)}
	}
	config, err = json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// refusals are the ways in which a configuration that parses can still be refused.
// None of them has a block of realtime that could not be.
var refusals = map[string]struct{ site, app, loader string }{
	"provision of its own server":     {site: "@bad path_regexp ([\nrespond @bad x"},
	"provision of another app":        {app: `{"fail": "provision"}`},
	"validation of another app":       {app: `{"fail": "validate"}`},
	"start of another app":            {app: `{"fail": "start"}`},
	"a port that cannot be had":       {site: "}\nhttp://192.0.2.1:1 {\nbind 192.0.2.1"},
	"what comes after all the starts": {loader: `{"module": "realtime_test"}`},
}

// smaller are options that would do harm, each such that holds would find it.
var smaller = []string{
	"room * {\nhistory 1\n}",
	"max_message_size 10\nhistory_memory 3KB",
	"max_message_size 10",
	"room * {\npresence off\n}",
	"max_connections 1",
	"max_connections_per_address 1",
	"rate 1/h 1",
}

// holds says what is missing of what the first configuration has promised. One member
// is in the room.
func holds(t *testing.T, s *caddytest.Site, kept int) error {
	if resp := s.Do("POST", "/rt/lobby", "long enough for the old limit"); resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("a POST got %s %s", resp.Status, caddytest.ReadAll(t, resp))
	}
	texts := s.Page("lobby?last=100").Texts()
	if len(texts) != kept+1 || texts[0] != "message 0" {
		return fmt.Errorf("the history is %q, want %d messages", texts, kept+1)
	}
	// Such a request sees what another connection would see.
	if resp := s.Do("HEAD", "/rt/lobby", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("Realtime-Members") != "1" {
		return fmt.Errorf("a HEAD got %s and %q members", resp.Status, resp.Header.Get("Realtime-Members"))
	}
	return nil
}

func TestRefusedReloadHasNoEffect(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Stream("lobby", "text/event-stream").Until("id: ")
	kept := 0
	for ; kept < 10; kept++ {
		s.Post("lobby", "message "+strconv.Itoa(kept))
	}
	for how, refusal := range refusals {
		for _, options := range smaller {
			name := how + ", " + strings.ReplaceAll(options, "\n", " ")
			loaded := 0
			awkwardLoad = func() {
				loaded++
				// Its servers answer now, as do the old ones.
				for range 4 {
					if err := holds(t, s, kept); err != nil {
						t.Errorf("%s: before it is refused: %v", name, err)
					}
					kept++
				}
			}
			given := caddytest.Open
			if word, _, _ := strings.Cut(options, " "); strings.Contains(caddytest.Open, word+" ") {
				given = ""
			}
			err := caddy.Load(configuration(t, s, "realtime {\n"+given+options+"\n}\n"+refusal.site, refusal.app, refusal.loader), true)
			if err == nil || refusal.loader != "" && loaded != 1 {
				t.Fatalf("%s: loading gave %v, after %d loads", name, err, loaded)
			}
			if err := holds(t, s, kept); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			kept++
		}
	}
	// What is good is taken up at once, and given up again.
	for range 3 {
		s.Reload("realtime {\n" + caddytest.Open + "max_message_size 10\n}")
		if resp := s.Do("POST", "/rt/lobby", "long enough for the old limit"); resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("after a good reload a POST got %s", resp.Status)
		}
		s.Reload("realtime {\n" + caddytest.Open + "}")
		if err := holds(t, s, kept); err != nil {
			t.Errorf("after the options were taken out: %v", err)
		}
		kept++
	}
	s.Reload("realtime {\n" + caddytest.Open + "room * {\nhistory 1\n}\n}")
	if texts := s.Page("lobby?last=100").Texts(); len(texts) != 1 {
		t.Errorf("with history 1 there are %d messages", len(texts))
	}
}

// New limits are applied as soon as Caddy itself says that they are in force.
func TestReloadTakesEffectWhileTheOldOneStops(t *testing.T) {
	s := caddytest.Start(t, "respond x")
	for name, app := range map[string]string{
		"another app stops slowly":      `{"wait": true}`,
		"another app aborts the events": `{"abort": true}`,
	} {
		status := 0
		awkwardStop = func() { status = s.Do("POST", "/rt/lobby", "this is too long").StatusCode }
		if err := caddy.Load(configuration(t, s, "realtime {\n"+caddytest.Open+"}", app, ""), true); err != nil {
			t.Fatal(err)
		}
		s.Post("lobby", "this is not too long")
		s.Reload("realtime {\n" + caddytest.Open + "max_message_size 10\n}")
		if status == 0 {
			awkwardStop()
		}
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d, want 413", name, status)
		}
	}
}

// A hub that a configuration makes takes what any of its handlers says, whichever
// of them came first.
func TestNewHubTakesTheSettingsOfAnyHandler(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nhub two\n}\nrealtime /live/* {\nhub two\n"+caddytest.Open+"max_message_size 10\n}")
	if resp := s.Do("POST", "/rt/lobby", "this is too long"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s, want 413", resp.Status)
	}
}

// aborting ends an event before others hear of it.
type aborting struct{}

func (aborting) Handle(context.Context, caddy.Event) error { return caddy.ErrEventAborted }
