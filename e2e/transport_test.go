package e2e

import (
	"cmp"
	"slices"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// If a transport does not get through, or only seems to, the client finds one that
// does, and everything works over it. The client needs time to find out, so the cases
// run in parallel.
func TestFallback(t *testing.T) {
	caddy := startSite(t, shortGrace)
	for _, test := range []struct {
		name    string
		upgrade faultproxy.UpgradeMode
		hold    faultproxy.Hold
		want    string
	}{
		{"nothing", faultproxy.UpgradePass, faultproxy.HoldNothing, "websocket"},
		{"socket refused", faultproxy.UpgradeRefused, faultproxy.HoldNothing, "sse"},
		{"socket killed", faultproxy.UpgradeKilled, faultproxy.HoldNothing, "sse"},
		{"socket silent", faultproxy.UpgradeSilent, faultproxy.HoldNothing, "sse"},
		{"bodies held", faultproxy.UpgradePass, faultproxy.HoldBody, "websocket"},
		{"bodies held, no socket", faultproxy.UpgradeRefused, faultproxy.HoldBody, "poll"},
		{"responses held, no socket", faultproxy.UpgradeRefused, faultproxy.HoldAll, "poll"},
		{"responses held, socket killed", faultproxy.UpgradeKilled, faultproxy.HoldAll, "poll"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			s.publish(t, "Zoe", "before")
			ann := openPage(t, s.address(t), "Ann")
			ann.WaitTransport(test.want)
			ann.Name("Ann")
			caddy.talk(t, ann, "before")
			if upgrades := s.Upgrades(); upgrades == 0 || test.upgrade == faultproxy.UpgradePass && upgrades > 1 {
				t.Errorf("a WebSocket was tried %d times", upgrades)
			}
			ann.WaitTransport(test.want)
		})
	}
}

// talk opens Bob's page, which has no trouble. Bob and Ann do all that can be done in
// their room, which has some messages already.
func (s *site) talk(t *testing.T, ann *chatPage, said ...string) {
	t.Helper()
	bob := openPage(t, s.address(t), "Bob")
	bob.WaitTransport("websocket")
	bob.Name("Bob")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitMembers(2)
		p.wait(`part('list').textContent.includes('Ann') && part('list').textContent.includes('Bob')`)
	}
	for _, line := range []struct {
		from, to *chatPage
		text     string
	}{{bob, ann, "Can you read me?"}, {ann, bob, "Loud and clear."}} {
		line.from.eval(`part('input').focus()`)
		line.from.Type(line.text)
		eventually(t, line.from.name+" is seen typing", func() bool {
			line.from.eval(`part('input').dispatchEvent(new Event('input'))`)
			return js[bool](line.to, `part('typing').textContent.includes('`+line.from.name+`')`)
		})
		line.from.Press(kb.Enter)
		line.to.WaitText(line.text)
	}
	s.publish(t, "Zoe", "So do I.")
	said = append(said, "Can you read me?", "Loud and clear.", "So do I.")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitExactly(said...)
		p.WaitPending(0)
	}
	if got := s.texts(t); !slices.Equal(got, said) {
		t.Errorf("the room has %q", got)
	}
	// Older messages can be asked for.
	ann.eval(`chat.realtime.history(chat.room, { limit: 1 }).then((page) => { window.page = page })`)
	ann.wait(`window.page?.messages[0].data.text === 'So do I.' && page.more`)
	bob.end()
	ann.WaitMembers(1)
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
	for _, transport := range append(transports, "") {
		by := cmp.Or(transport, "the client's choice")
		said = append(said, "before "+by)
		s.publish(t, "Zoe", "before "+by)
		for _, p := range pages {
			p.Pick(transport)
		}
		for _, p := range pages {
			if transport == "" {
				p.WaitState("open")
			} else {
				p.WaitTransport(transport)
			}
		}
		say(ann, "Bob, this is "+by)
		say(bob, "Ann, it works by "+by)
	}
	ann.WaitExactly(said...)
	bob.WaitExactly(said...)
}
