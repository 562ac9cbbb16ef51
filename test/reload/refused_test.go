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
	"github.com/coder/websocket"

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
	// A valid configuration takes effect at once, and can be replaced again.
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

// A hub that a configuration makes takes the options of all its handlers, in any order.
func TestNewHubTakesTheSettingsOfAnyHandler(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nhub two\n}\nrealtime /live/* {\nhub two\n"+caddytest.Open+"max_message_size 10\n}")
	if resp := s.Do("POST", "/rt/lobby", "this is too long"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s, want 413", resp.Status)
	}
}

// aborting ends an event before others hear of it.
type aborting struct{}

func (aborting) Handle(context.Context, caddy.Event) error { return caddy.ErrEventAborted }

// refusedReloads are configurations that Caddy refuses, each at another stage; the
// realtime options are put into it.
var refusedReloads = map[string]func(block string) (site string, change func(map[string]any)){
	"in validation": func(block string) (string, func(map[string]any)) {
		return block + "\n@bad path_regexp ([\nrespond @bad x", nil
	},
	"port taken": func(block string) (string, func(map[string]any)) {
		return block + "\n}\nhttp://192.0.2.1:1 {\nbind 192.0.2.1", nil
	},
	"after all has started": func(block string) (string, func(map[string]any)) {
		return block, func(config map[string]any) {
			config["admin"] = map[string]any{"disabled": true, "config": map[string]any{
				"persist": false, "load": map[string]any{"module": "http", "url": "http://127.0.0.1:1/"},
			}}
		}
	},
}

// A configuration that is refused at any stage has no effect, and the next valid one
// takes effect completely.
func TestRefusedReloadsChangeNothing(t *testing.T) {
	const before = "realtime {\n" + caddytest.Open + "room * {\nhistory 50\n}\n}"
	const small = "realtime {\n" + caddytest.Open + "max_message_size 10\nhistory_memory 1000\nroom * {\nhistory 1\npresence off\n}\n}"
	for name, refuse := range refusedReloads {
		t.Run(name, func(t *testing.T) {
			s := caddytest.Start(t, before)
			for i := range 20 {
				s.Post("lobby", fmt.Sprint("message ", i))
			}
			c := s.Dial("lobby?envelope=1")
			caddytest.ReceiveEnvelope(t, c)
			block, change := refuse(small)
			config, _, err := caddytest.Adapt(s.Caddyfile(block))
			if err != nil {
				t.Fatal(err)
			}
			if change != nil {
				var all map[string]any
				caddytest.Decode(t, string(config), &all)
				change(all)
				if config, err = json.Marshal(all); err != nil {
					t.Fatal(err)
				}
			}
			if err := caddy.Load(config, true); err == nil {
				t.Fatal("the bad configuration was loaded")
			}
			for range 3 {
				s.Post("lobby", "long enough for the old limit")
				if got := caddytest.ReceiveEnvelope(t, c); got.Text() != "long enough for the old limit" {
					t.Errorf("got %+v", got)
				}
			}
			if n := len(s.Page("lobby?last=100").Messages); n != 23 {
				t.Errorf("%d messages are left, want 23", n)
			}
			if resp := s.Do("GET", "/rt/lobby?members", ""); resp.StatusCode != http.StatusOK {
				t.Errorf("presence: %s", resp.Status)
			}

			s.Reload(small)
			caddytest.Refused(t, s.Do("POST", "/rt/lobby", "this is too long"), 413, "max_message_size is 10")
			if n := len(s.Page("lobby?last=100").Messages); n > 1 {
				t.Errorf("%d messages are left, want 1", n)
			}
			s.Reload(before)
			s.Post("lobby", "long enough again for the old limit")
			_ = c.Close(websocket.StatusNormalClosure, "")
		})
	}
}

// New options apply even if no request comes through the new configuration.
func TestReloadsTakeEffectWithoutARequest(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	c := s.Dial("", caddytest.Session)
	for range 3 {
		s.Post("lobby", "x")
	}
	kept := func() int {
		caddytest.Speak(t, c, `{"op":"history","room":"lobby","ref":1}`)
		return strings.Count(caddytest.Hear(t, c, `"ref":1`), `"data":"x"`)
	}
	if n := kept(); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	s.Reload("realtime {\n" + caddytest.Open + "room * {\nhistory 1\n}\n}")
	caddytest.Eventually(t, "the new history", func() bool { return kept() == 1 })
}
