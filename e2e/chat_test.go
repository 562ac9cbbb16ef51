package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// Two lines of HTML, and nothing else, are a chat.
func TestTwoLines(t *testing.T) {
	s := startSite(t, shortGrace)
	var pages []*chatPage
	for _, name := range []string{"Ann", "Bob"} {
		pages = append(pages, openPage(t, s.URL()+"/two-lines/"+room(t), name))
	}
	ann, bob := pages[0], pages[1]
	for _, p := range pages {
		p.WaitTransport("websocket")
		p.Name(p.name)
		p.WaitMembers(2)
		if room := js[string](p, `chat.room`); room != "two-lines/testtwolines" {
			t.Errorf("the page's room is %q", room)
		}
	}
	// The list, when opened, shows who is here.
	ann.wait(`part('list').textContent.includes('Ann') && part('list').textContent.includes('Bob')`)
	ann.eval(`part('input').focus()`)
	ann.Type("Hello")
	bob.wait(`part('typing').textContent.includes('Ann')`)
	if js[string](ann, `part('typing').textContent`) != "" {
		t.Error("Ann is told that she is typing herself")
	}
	ann.Press(kb.Enter)
	bob.WaitText("Hello")
	bob.wait(`part('typing').textContent === ''`)
	bob.Say("Hello Ann")
	for _, p := range pages {
		p.WaitExactly("Hello", "Hello Ann")
		p.WaitPending(0)
	}
	bob.end()
	ann.WaitMembers(1)
}

// Two people talk over WebSocket, and it looks right on every screen.
func TestChat(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	ann.Say("Hello Bob, can you read me?")
	bob.WaitText("Hello Bob, can you read me?")
	bob.Say("Loud and clear.")
	ann.WaitExactly("Hello Bob, can you read me?", "Loud and clear.")
	bob.WaitExactly("Hello Bob, can you read me?", "Loud and clear.")

	for _, p := range pages {
		if state, transport := p.State(), p.Transport(); state != "open" || transport != "websocket" {
			t.Errorf("%s's page is %s by %s", p.name, state, transport)
		}
		authors := js[[]string](p, `parts('author').map((node) => node.textContent)`)
		if want := []string{"Ann", "Bob"}; !slices.Equal(authors, want) {
			t.Errorf("%s sees authors %q", p.name, authors)
		}
		p.WaitPending(0)
	}
	if own := js[[]bool](bob, `parts('message').map((node) => node.part.contains('own'))`); !slices.Equal(own, []bool{false, true}) {
		t.Errorf("Bob's own messages: %v", own)
	}
	shots := shotsDir(t)
	for _, look := range []struct {
		file        string
		phone, dark bool
	}{
		{"desktop-light.png", false, false},
		{"desktop-dark.png", false, true},
		{"phone-light.png", true, false},
		{"phone-dark.png", true, true},
	} {
		bob.Look(look.phone, look.dark)
		bob.Screenshot(filepath.Join(shots, look.file))
		bob.wantNarrow(look.file)
	}
}

// wantNarrow fails the test if the page, or the log in it, can be scrolled
// sideways.
func (p *chatPage) wantNarrow(what string) {
	p.t.Helper()
	for _, wide := range js[[]string](p, `[document.documentElement, chat, part('panel'), part('log'), ...parts('message'), ...parts('header'), part('composer')]
		.filter((node) => node?.checkVisibility() && node.scrollWidth > node.clientWidth + 1)
		.map((node) => node.nodeName + ' ' + (node.part ?? '') + ' ' + node.scrollWidth + ' > ' + node.clientWidth)`) {
		p.t.Errorf("%s: wider than its place: %s", what, wide)
	}
}

func shotsDir(t *testing.T) string {
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	t.Logf("screenshots are in %s", dir)
	return dir
}

// A reload of the page keeps the name, the text that is not sent yet, and what
// was one's own; and the history is there at once.
func TestPageReload(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "Ann from Bergen")[0]
	ann.Say("first")
	ann.WaitText("first")
	s.publish(t, "Bob", "second")
	ann.WaitText("second")
	ann.Type("half a sente")
	ann.wait(`part('input').value === 'half a sente'`)

	ann.do(chromedp.Reload())
	ann.WaitExactly("first", "second")
	ann.WaitState("open")
	if got := js[string](ann, `part('name').value`); got != ann.name {
		t.Errorf("name %q", got)
	}
	if own := js[[]string](ann, `parts('own').map((node) => node.querySelector('[part~=text]').textContent)`); !slices.Equal(own, []string{"first"}) {
		t.Errorf("own messages: %q", own)
	}
	if got := js[string](ann, `part('input').value`); got != "half a sente" {
		t.Errorf("unsent text: %q", got)
	}
	ann.Say("nce")
	ann.WaitExactly("first", "second", "half a sentence")
	if got := js[string](ann, `part('input').value`); got != "" {
		t.Errorf("text after it was sent: %q", got)
	}
}

// A message that waits for the network still waits after a reload of the page, and is
// sent once.
func TestPageReloadWithOutbox(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	s.publish(t, "Zoe", "before")
	ann.WaitText("before")
	s.Break("/rt/") // the connection, not the page
	s.Cut(faultproxy.RST)
	ann.wait(`chat.realtime.state !== 'open'`)
	ann.Say("first")
	ann.Say("second")
	ann.WaitPending(2)
	s.publish(t, "Zoe", "meanwhile")

	ann.do(chromedp.Reload())
	ann.WaitPending(2)
	if got := js[[]string](ann, `parts('pending').map((node) => node.querySelector('[part~=text]').textContent)`); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("after the reload there wait %q", got)
	}
	ann.Say("third")
	ann.WaitPending(3)
	s.Resume()
	for _, p := range pages {
		p.WaitExactly("before", "meanwhile", "first", "second", "third")
		p.WaitPending(0)
	}
	if own := js[int](ann, `parts('own').length`); own != 3 {
		t.Errorf("%d own messages", own)
	}
	if authors := js[string](bob, `parts('author').map((node) => node.textContent).join()`); authors != "Zoe,Zoe,Ann,Ann,Ann" {
		t.Errorf("authors %s", authors)
	}
}

// Away to another page and back again: the browser keeps this one as it was,
// without its connection, and then nothing is missing in it and nothing is there
// twice.
func TestBackAndForward(t *testing.T) {
	s := startSite(t, shortGrace)
	ann := s.open(t, "Ann")[0]
	s.publish(t, "Bob", "before")
	ann.WaitText("before")
	ann.eval(`part('input').focus()`)
	ann.Type("half")
	ann.eval(`location.href = '/e2e/blank'`)
	ann.wait(`location.pathname === '/e2e/blank' && document.readyState === 'complete'`)
	eventually(t, "nobody is connected", func() bool { return s.members(t) == "0" })
	s.publish(t, "Bob", "meanwhile")
	ann.eval(`history.back()`)
	ann.wait(`location.pathname === '/e2e/chat' && chat?.realtime`)
	ann.WaitExactly("before", "meanwhile")
	ann.WaitState("open")
	if got := js[[]bool](ann, `persisted`); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("the browser did not keep the page: %v, because of %s", got,
			js[string](ann, `JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)`))
	}
	if got := js[string](ann, `part('input').value`); got != "half" {
		t.Errorf("unsent text: %q", got)
	}
	ann.Say(" a word")
	ann.WaitExactly("before", "meanwhile", "half a word")
}

// Without JavaScript the composer is a form that publishes, and brings back the
// page.
func TestWithoutScript(t *testing.T) {
	s := startSite(t)
	pages := openPages(t, s.URL(), "Ann", "Mute")
	ann, mute := pages[0], pages[1]
	mute.Script(false)
	mute.do(chromedp.Reload())
	mute.do(chromedp.SendKeys(chromedp.CSS("[name=text]"), "I have no script"))
	mute.do(chromedp.Click(chromedp.CSS("form [type=submit], form button")))
	ann.WaitExactly("I have no script")
	mute.wait(`location.pathname === '/' && document.readyState === 'complete' && document.querySelector('[name=text]')?.value === ''`)
}
