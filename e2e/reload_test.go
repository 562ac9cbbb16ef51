package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"
)

// New configurations while people talk on every transport: nothing is lost,
// nothing comes twice, and a WebSocket does not even notice.
func TestCaddyReload(t *testing.T) {
	s := startSite(t)
	pages := s.openBy(t, transports...)
	var said []string
	for round := range 3 {
		talk := func(when string) {
			for _, text := range numbered(fmt.Sprintf("%s reload %d,", when, round), 5) {
				said = append(said, text)
				s.publish(t, "Zoe", text)
			}
			for _, p := range pages {
				text := fmt.Sprintf("%s, %s reload %d", p.name, when, round)
				said = append(said, text)
				p.Say(text)
			}
		}
		talk("before")
		s.load(t, fmt.Sprint(round))
		talk("after")
		for _, p := range pages { // what is under way would only get entangled
			p.WaitPending(0)
		}
	}
	s.publish(t, "Zoe", "the end")
	stored := s.texts(t)
	for _, p := range pages {
		p.WaitExactly(stored...)
		p.WaitTransport(p.name)
		if states := p.States(); p.name == "websocket" && len(states) > 0 {
			t.Errorf("the WebSocket went through %q", states)
		}
	}
	said = append(said, "the end")
	slices.Sort(said)
	if slices.Sort(stored); !slices.Equal(stored, said) {
		t.Errorf("the room has\n%q\nand was told\n%q", stored, said)
	}
	resp, err := http.Head("http://" + s.backend)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Version"); got != "2" {
		t.Errorf("the last configuration is not in force, but version %q", got)
	}
}

// Caddy ends and comes back: the room is another one, the pages say so and go on.
func TestCaddyRestart(t *testing.T) {
	s := startSite(t)
	pages := s.openBy(t, transports...)
	s.publish(t, "Zoe", "before")
	for _, p := range pages {
		p.WaitText("before")
		p.WaitMembers(len(pages))
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		p.wait(`chat.realtime.state !== 'open'`)
	}
	s.load(t, "second")
	s.publish(t, "Zoe", "after")
	for _, p := range pages {
		p.WaitText("after")
		p.WaitTransport(p.name)
		if got := p.soon(2); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("%s's page has %q", p.name, got)
		}
		p.WaitGaps(1)
		p.wantMembers(len(pages))
	}
}

// Caddy ends and comes back with the rooms that a file has kept: nobody notices anything, and what is said meanwhile
// arrives.
func TestCaddyRestartWithAFile(t *testing.T) {
	s := startSite(t, "engine bolt "+filepath.Join(t.TempDir(), "rooms.db"))
	pages := s.openBy(t, transports...)
	s.publish(t, "Zoe", "before")
	want := []string{"before"}
	for _, p := range pages {
		p.WaitText("before")
		p.WaitMembers(len(pages))
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		p.wait(`chat.realtime.state !== 'open'`)
	}
	pages[0].Say("said meanwhile")
	s.load(t, "second")
	pages[0].WaitPending(0)
	s.publish(t, "Zoe", "after")
	want = append(want, "said meanwhile", "after")
	for _, p := range pages {
		p.WaitText("after")
		p.WaitTransport(p.name)
		if got := p.soon(3); !slices.Equal(got, want) {
			t.Errorf("%s's page has %q", p.name, got)
		}
		p.WaitGaps(0)
		p.wantMembers(len(pages))
	}
	pages[0].Screenshot(filepath.Join(shotsDir(t), "restart.png"))
	newcomer := openPage(t, s.address(t, ""), "newcomer")
	newcomer.WaitText("after")
	if got := newcomer.soon(3); !slices.Equal(got, want) {
		t.Errorf("who comes now has %q", got)
	}
}

// What people say while Caddy sends them away is refused and not lost: it arrives when Caddy is back,
// once and in order.
func TestCaddyStopKeepsWhatIsSaid(t *testing.T) {
	s := startSite(t, "drain 3s")
	pages := s.openBy(t, transports...)
	for range 60 { // who make the drain last
		c, _, err := websocket.Dial(t.Context(), "ws://"+s.backend+"/rt/crowd", nil)
		if err != nil {
			t.Fatal(err)
		}
		go c.CloseRead(t.Context())
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	said := make(map[string][]string)
	for i := range 3 {
		for _, p := range pages {
			text := fmt.Sprintf("%s says %d", p.name, i)
			said[p.name] = append(said[p.name], text)
			p.Say(text)
		}
	}
	for _, p := range pages {
		p.wait(`chat.realtime.state !== 'open'`)
	}
	s.load(t, "second")
	for _, p := range pages {
		p.WaitPending(0)
	}
	stored := s.texts(t)
	for _, p := range pages {
		p.WaitText(stored[len(stored)-1])
		if got := p.soon(len(stored)); !slices.Equal(got, stored) {
			t.Errorf("%s's page has %q, want %q", p.name, got, stored)
		}
		p.WaitGaps(1)
		var own []string
		for _, text := range stored {
			if strings.HasPrefix(text, p.name+" says") {
				own = append(own, text)
			}
		}
		if !slices.Equal(own, said[p.name]) {
			t.Errorf("of %s the room has %q, want %q", p.name, own, said[p.name])
		}
	}
}
