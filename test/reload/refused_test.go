package reload

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

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

// A configuration that is refused has no effect, at whichever stage, and the next
// one that is good has all of it.
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
