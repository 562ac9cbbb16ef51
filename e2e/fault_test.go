package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// numbered are n texts to publish.
func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s %d", prefix, i+1)
	}
	return all
}

// The network is gone while somebody else goes on. When it is back, everything
// is there, once and in order, and so is what was typed in the meantime.
func TestNetworkCut(t *testing.T) {
	s := startSite(t)
	pages := s.openBy(t, transports...)
	s.publish(t, "Zoe", "before")
	for _, p := range pages {
		p.WaitText("before")
	}
	s.Refuse()
	s.Cut(faultproxy.RST)
	want := append([]string{"before"}, numbered("missed", 30)...)
	for _, p := range pages {
		p.wait(`chat.realtime.state !== 'open'`)
		p.Say("typed first by " + p.name)
		p.Say("typed by " + p.name)
		p.WaitPending(2)
		p.wait(`part('status').textContent !== ''`)
	}
	for _, text := range want[1:] {
		s.publish(t, "Zoe", text)
	}
	s.Resume()
	for _, p := range pages {
		p.WaitText("typed by " + p.name)
		p.WaitTransport(p.name)
		p.WaitPending(0)
		p.wait(`part('status').textContent === ''`)
	}
	s.publish(t, "Zoe", "after")
	stored := s.texts(t)
	typed := stored[min(len(stored), len(want)):]
	for _, p := range pages {
		p.WaitExactly(stored...)
		first, second := slices.Index(typed, "typed first by "+p.name), slices.Index(typed, "typed by "+p.name)
		if first < 0 || second < first {
			t.Errorf("what was typed by %s is in the room at %d and %d", p.name, first, second)
		}
	}
	if !slices.Equal(stored[:len(stored)-len(typed)], want) || len(typed) != 2*len(pages)+1 {
		t.Errorf("the room has %q", stored)
	}
}

// A client that was away for longer than the room's history reaches back gets one gap,
// and the messages that are still there.
func TestGap(t *testing.T) {
	s := startSite(t, "max_message_size 1KiB", "history_memory 40KiB")
	pages := s.openBy(t, transports...)
	s.publish(t, "Zoe", "before")
	for _, p := range pages {
		p.WaitText("before")
	}
	s.Refuse()
	s.Cut(faultproxy.RST)
	for _, p := range pages {
		p.wait(`chat.realtime.state !== 'open'`)
	}
	for _, text := range numbered("missed", 120) {
		s.publish(t, "Zoe", text)
	}
	stored := s.texts(t)
	if len(stored) == 0 || len(stored) > 90 || stored[0] == "before" {
		t.Fatalf("the room forgot nothing, or all: %q", stored)
	}
	s.Resume()
	for _, p := range pages {
		p.WaitText("missed 120")
		// Presence takes memory, too, so a few more messages may have gone since.
		got := p.soon(1 + len(stored)/2)
		if len(got) < 1+len(stored)/2 || got[0] != "before" || !slices.Equal(got[1:], stored[len(stored)-len(got)+1:]) {
			t.Errorf("%s's page has %q, the room had %q", p.name, got, stored)
		}
		p.WaitGaps(1)
	}
}

// The network comes and goes, at any moment, while somebody goes on talking.
func TestNetworkFlaps(t *testing.T) {
	s := startSite(t)
	pages := s.openBy(t, transports...)
	want := numbered("flap", 60)
	for i, text := range want {
		switch i % 10 {
		case 3:
			s.Cut(faultproxy.RST)
		case 5:
			s.Cut(faultproxy.FIN)
		case 7:
			s.Stall(faultproxy.ToClient)
		case 9:
			s.Resume()
		}
		s.publish(t, "Zoe", text)
		if i%20 == 0 { // let one of them catch up, so that cuts fall on open connections too
			pages[i/20].WaitText(text)
		}
	}
	for _, p := range pages {
		p.WaitExactly(want...)
	}
}

// Connections that were good fall silent, and stay open: the client finds out
// and comes back, what was said meanwhile comes once, and so goes what was
// typed.
func TestSilence(t *testing.T) {
	s := startSite(t, "heartbeat 2s")
	pages := s.openBy(t, "websocket", "sse") // a poll is silent anyway
	s.publish(t, "Zoe", "before")
	for _, p := range pages {
		p.WaitText("before")
	}
	s.Freeze()
	for _, text := range numbered("missed", 3) {
		s.publish(t, "Zoe", text)
	}
	for _, p := range pages {
		p.Say("typed by " + p.name)
		p.WaitPending(1)
	}
	for _, p := range pages {
		p.WaitText("typed by " + p.name)
		p.WaitPending(0)
	}
	s.publish(t, "Zoe", "after")
	stored := s.texts(t)
	if len(stored) != 4+len(pages)+1 {
		t.Errorf("the room has %q", stored)
	}
	for _, p := range pages {
		p.WaitExactly(stored...)
	}
}

// Sockets that were good are dropped, and from then on each new one is as soon
// as it is open, or says nothing.
func TestSocketsGoBad(t *testing.T) {
	caddy := startSite(t, shortGrace)
	for name, mode := range map[string]faultproxy.UpgradeMode{
		"refused": faultproxy.UpgradeRefused, "killed": faultproxy.UpgradeKilled, "silent": faultproxy.UpgradeSilent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			ann := s.open(t, "Ann")[0]
			ann.WaitTransport("websocket")
			s.publish(t, "Zoe", "before")
			ann.WaitText("before")
			s.BlockUpgrade(mode)
			s.Cut(faultproxy.RST)
			s.publish(t, "Zoe", "meanwhile")
			ann.Say("typed")
			ann.WaitText("typed")
			ann.WaitTransport("sse")
			caddy.talk(t, ann, s.texts(t)...)
		})
	}
}
