package e2e

import (
	"slices"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// Where no WebSocket gets through, two people chat by the next transport.
func TestUpgradeRefused(t *testing.T) {
	s := startSite(t)
	s.BlockUpgrade(faultproxy.UpgradeRefused)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	ann.Say("Can you read me?")
	bob.WaitText("Can you read me?")
	bob.Say("Loud and clear.")
	for _, p := range pages {
		p.WaitExactly("Can you read me?", "Loud and clear.")
		p.WaitTransport("sse")
	}
	if s.Upgrades() < len(pages) {
		t.Errorf("a WebSocket was tried %d times", s.Upgrades())
	}
}

// Where a transport seems to work but doesn't, the page finds one that does. It
// needs time to believe that, so the cases wait side by side.
func TestFallback(t *testing.T) {
	caddy := startSite(t)
	for _, test := range []struct {
		name    string
		upgrade faultproxy.UpgradeMode
		hold    faultproxy.Hold
		want    string
	}{
		{"socket killed", faultproxy.UpgradeKilled, faultproxy.HoldNothing, "sse"},
		{"socket silent", faultproxy.UpgradeSilent, faultproxy.HoldNothing, "sse"},
		{"bodies held", faultproxy.UpgradePass, faultproxy.HoldBody, "websocket"},
		{"bodies held, no socket", faultproxy.UpgradeRefused, faultproxy.HoldBody, "long-poll"},
		{"responses held, no socket", faultproxy.UpgradeRefused, faultproxy.HoldAll, "long-poll"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			ann := s.open(t, "Ann")[0]
			ann.WaitTransport(test.want)
			s.publish(t, "Bob", "Can you read me?")
			ann.WaitText("Can you read me?")
			ann.Say("Loud and clear.")
			ann.WaitExactly("Can you read me?", "Loud and clear.")
			if got := s.texts(t); !slices.Equal(got, []string{"Can you read me?", "Loud and clear."}) {
				t.Errorf("the room has %q", got)
			}
		})
	}
}

// Every transport chosen by hand carries both ways, and changing it in the
// middle of a talk loses nothing.
func TestPick(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	var said []string
	say := func(p *chatPage, text string) {
		said = append(said, text)
		p.Say(text)
		ann.WaitText(text)
		bob.WaitText(text)
	}
	for _, transport := range append(transports, "auto") {
		said = append(said, "before "+transport)
		s.publish(t, "Zoe", "before "+transport)
		for _, p := range pages {
			p.Pick(transport)
		}
		if transport == "auto" {
			transport = transports[0]
		}
		for _, p := range pages {
			p.WaitTransport(transport)
		}
		say(ann, "Bob, this is "+transport)
		say(bob, "Ann, it works by "+transport)
	}
	ann.WaitExactly(said...)
	bob.WaitExactly(said...)
}
