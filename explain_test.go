package realtime

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// TestExplainRunning asks a Caddy that runs.
func TestExplainRunning(t *testing.T) {
	port := caddytest.FreePort(t)
	caddytest.StopAfter(t)
	caddytest.Load(t, fmt.Sprintf("{\nadmin 127.0.0.1:%d\npersist_config off\n}\nhttp://127.0.0.1:%d {\nrealtime {\nallow publish users\n}\n}\n", port, caddytest.FreePort(t)))
	e := explanation{room: "lobby", address: fmt.Sprintf("127.0.0.1:%d", port)}
	config, err := e.load()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.print(&out, config); err != nil || !strings.Contains(out.String(), "allow publish users") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// explained is the configuration that TestExplain asks about.
const explained = `{
	admin off
}
http://localhost:9080 {
	@office remote_ip 192.0.2.0/24
	handle_path /a/* {
		realtime {
			allow publish signal users
			room office/* {
				allow all @office
			}
			room dm/{user}/* {
				allow subscribe publish owner
			}
			room board {
				allow moderate claim roles admin editor
			}
			backend shop sha256:0000000000000000000000000000000000000000000000000000000000000000 {
				allow publish
			}
		}
	}
	realtime /other/* {
		hub other
		rooms declared
		room news
		allow publish nobody
	}
}`

// TestExplain checks what the command says about a configuration.
func TestExplain(t *testing.T) {
	config, _, err := caddytest.Adapt(explained)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		e    explanation
		want string // a line, with single spaces
		err  string
	}{
		{"anonymous", explanation{room: "lobby"}, "publish no allow publish users", ""},
		{"a user", explanation{room: "lobby", user: "ann"}, "publish yes allow publish users", ""},
		{"no line", explanation{room: "lobby"}, "history yes nothing allows history, so it is open to anyone", ""},
		{"an owner", explanation{room: "dm/ann/1", user: "ann", verb: "subscribe"}, "subscribe yes room dm/{user}/*: allow subscribe owner", ""},
		{"not the owner", explanation{room: "dm/ann/1", user: "ben", verb: "history"}, "history no room dm/{user}/*: allow subscribe owner", ""},
		{"a matcher", explanation{room: "office/1", matching: []string{"@office"}}, "show yes room office/*: allow show @office", ""},
		{"no matcher", explanation{room: "office/1", user: "ann"}, "show no room office/*: allow show @office", ""},
		{"another hub", explanation{room: "lobby", hub: "other", user: "ann"}, "publish no allow publish nobody", ""},
		{"a room that does not exist", explanation{room: "lobby", hub: "other"}, "but whoever may gets 404: rooms declared, and no room block matches lobby", ""},
		{"a guest", explanation{room: "lobby", guest: true}, "publish no allow publish users", ""},
		{"a guest and a user", explanation{room: "lobby", guest: true, user: "ann"}, "", "exclude each other"},
		{"a claim", explanation{room: "board", claims: []string{"roles=admin"}}, "moderate yes room board: allow moderate claim roles admin editor", ""},
		{"another claim", explanation{room: "board", claims: []string{"roles=reader"}}, "moderate no room board: allow moderate claim roles admin editor", ""},
		{"moderate", explanation{room: "lobby", user: "ann"}, "moderate no nothing allows moderate, so it is nobody's", ""},
		{"a backend", explanation{room: "lobby", backend: "shop"}, "publish yes the allow of backend shop", ""},
		{"what a backend lacks", explanation{room: "lobby", backend: "shop"}, "subscribe no the allow of backend shop", ""},
		{"no such backend", explanation{room: "lobby", backend: "till"}, "", "no backend"},
		{"no such hub", explanation{room: "lobby", hub: "third"}, "", "no realtime handler"},
		{"a bad room", explanation{room: "a//b"}, "", "--room"},
		{"a bad verb", explanation{room: "a", verb: "fly"}, "", "--verb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			err := test.e.print(&out, config)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want one about %q", err, test.err)
			}
			found := test.want == ""
			for line := range strings.Lines(out.String()) {
				found = found || strings.Join(strings.Fields(line), " ") == test.want
			}
			if !found {
				t.Errorf("%s\nhas no line %q", out.String(), test.want)
			}
		})
	}
}

// Nothing is said of a room that exists.
func TestExplainDeclaredRoom(t *testing.T) {
	config, _, err := caddytest.Adapt(explained)
	if err != nil {
		t.Fatal(err)
	}
	for room, hub := range map[string]string{"news": "other", "lobby": ""} {
		var out strings.Builder
		if err := (&explanation{room: room, hub: hub}).print(&out, config); err != nil || strings.Contains(out.String(), "404") {
			t.Errorf("%s: %v, %s", room, err, out.String())
		}
	}
}
