package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// wantOne fails the test unless the tabs of one browser are one member, with
// one connection that is the nth.
func (s *site) wantOne(t *testing.T, nth int) {
	t.Helper()
	eventually(t, "the tabs are one member", func() bool { return s.members(t) == "1" })
	if n := s.Upgrades(); n != nth {
		t.Errorf("%d connections have been made, not %d", n, nth)
	}
}

// tabsOf opens tabs of the holder's browser, each of which is connected.
func (s *site) tabsOf(t *testing.T, holder *chatPage, names ...string) (tabs []*chatPage) {
	t.Helper()
	for _, name := range names {
		p := holder.Tab(s.address(t), name)
		p.WaitTransport("websocket")
		tabs = append(tabs, p)
	}
	return tabs
}

// The tabs of one browser share a connection. When the tab that has it goes, another
// takes it over, and the others go on: nothing is lost, nothing comes twice, and nobody
// sees them leave.
func TestTabs(t *testing.T) {
	s := startSite(t)
	// The browser ends with the page that was opened first, so that is another one.
	holder := openPage(t, s.URL()+"/e2e/blank", "no")
	tabs := s.tabsOf(t, holder, "first", "second", "third")
	tabs[0].Name("Ann")
	s.wantOne(t, 1)
	var said []string
	say := func(i int) {
		text := fmt.Sprint("message ", len(said))
		said = append(said, text)
		if i < 0 {
			s.publish(t, "Zoe", text)
		} else {
			tabs[i].Say(text)
		}
		for _, p := range tabs {
			p.WaitExactly(said...)
			p.WaitPending(0)
		}
	}
	for _, i := range []int{0, 1, 2, -1} {
		say(i)
	}
	tabs[2].do(chromedp.Reload())
	tabs[2].WaitExactly(said...)
	if own := js[int](tabs[2], `parts('own').length`); own != 3 {
		t.Errorf("of the messages of all tabs %d are one's own after a reload", own)
	}

	for connection := 2; len(tabs) > 1; connection++ {
		// Messages that are on their way while the tab is closed:
		last := len(tabs) - 1
		for _, text := range numbered(fmt.Sprint("meanwhile ", connection), 5) {
			s.publish(t, "Zoe", text)
		}
		tabs[last].Say(fmt.Sprint("typed ", connection))
		tabs[0].end()
		tabs = tabs[1:]
		s.publish(t, "Zoe", fmt.Sprint("at last ", connection))
		for _, p := range tabs {
			p.WaitText(fmt.Sprint("at last ", connection))
			p.WaitText(fmt.Sprint("typed ", connection))
		}
		said = s.texts(t)
		for _, p := range tabs {
			p.WaitTransport("websocket")
		}
		s.wantOne(t, connection)
		for i := range tabs {
			say(i)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(said)))); n != 4+2*7+2+1 {
		t.Errorf("the room has %q", said)
	}
}

// Messages that wait in one tab are sent although another tab has the connection. A tab
// that begins to read later gets what it asks for, and no other tab gets a message
// twice.
func TestTabsFaults(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "first")[0]
	tabs := []*chatPage{ann, ann.Tab(s.address(t), "second")}
	s.publish(t, "Zoe", "before")
	for _, p := range tabs {
		p.WaitText("before")
	}
	s.Refuse()
	s.Cut(faultproxy.RST)
	for _, p := range tabs {
		p.wait(`chat.realtime.state !== 'open'`)
		p.Say("typed in the " + p.name)
		p.WaitPending(1)
	}
	for _, text := range numbered("missed", 10) {
		s.publish(t, "Zoe", text)
	}
	s.Resume()
	for _, p := range tabs {
		for _, q := range tabs {
			p.WaitText("typed in the " + q.name)
		}
		p.WaitPending(0)
	}
	tabs = append(tabs, ann.Tab(s.address(t, "history=5"), "third"))
	tabs[2].WaitText("typed in the second") // the shared connection is open before
	tabs[2].WaitText("typed in the first")  // the page has its own history
	s.publish(t, "Zoe", "after")
	stored := s.texts(t)
	if len(stored) != 14 {
		t.Errorf("the room has %q", stored)
	}
	tabs[0].WaitExactly(stored...)
	tabs[1].WaitExactly(stored...)
	tabs[2].WaitExactly(stored[len(stored)-6:]...)
}
