package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

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
		authors := js[[]string](p, `[...document.querySelectorAll('li.message .author')].map((node) => node.textContent)`)
		if want := []string{"Ann", "Bob"}; !slices.Equal(authors, want) {
			t.Errorf("%s sees authors %q", p.name, authors)
		}
		p.wait(`!document.querySelector('.pending')`)
	}
	if own := js[[]bool](bob, `[...document.querySelectorAll('li.message')].map((li) => li.classList.contains('own'))`); !slices.Equal(own, []bool{false, true}) {
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
		if wide := js[bool](bob, `document.documentElement.scrollWidth > document.documentElement.clientWidth`); wide {
			t.Errorf("%s: wider than the screen", look.file)
		}
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

// A reload of the page keeps the nickname, and the history is there at once,
// with what was one's own.
func TestPageReload(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "Ann from Bergen")[0]
	ann.Say("first")
	ann.WaitText("first")
	s.publish(t, "Bob", "second")
	ann.WaitText("second")

	ann.do(chromedp.Reload())
	ann.WaitExactly("first", "second")
	ann.WaitState("open")
	if got := js[string](ann, `document.querySelector('#name').value`); got != ann.name {
		t.Errorf("nickname %q", got)
	}
	if own := js[[]string](ann, `[...document.querySelectorAll('li.own .text')].map((node) => node.textContent)`); !slices.Equal(own, []string{"first"}) {
		t.Errorf("own messages: %q", own)
	}
	ann.Say("third")
	ann.WaitExactly("first", "second", "third")
}

// Away to another page and back again: whatever the browser kept of this one,
// nothing is missing in it and nothing is there twice.
func TestBackAndForward(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "Ann")[0]
	s.publish(t, "Bob", "before")
	ann.WaitText("before")
	js[chromedp.Void](ann, `location.href = '/favicon.svg'`)
	ann.wait(`location.pathname === '/favicon.svg'`)
	s.publish(t, "Bob", "meanwhile")
	js[chromedp.Void](ann, `history.back()`)
	ann.wait(`location.pathname === '/'`)
	ann.WaitExactly("before", "meanwhile")
	ann.WaitState("open")
	ann.Say("after")
	ann.WaitExactly("before", "meanwhile", "after")
}

// Whatever looks like markup is shown as text, in texts and in names.
func TestMarkupIsText(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann := pages[0]
	evil := []string{
		`<img src=x onerror="window.owned = true">`,
		`<script>window.owned = true</script><b>bold</b> &amp; &lt;i&gt;`,
		`javascript:window.owned=true http://example.com/"onclick="window.owned=true`,
	}
	for _, text := range evil {
		ann.Say(text)
		ann.WaitText(text)
	}
	s.publish(t, "<b>Bob</b>", "from a name")
	want := append(slices.Clone(evil), "from a name")
	for _, p := range pages {
		p.WaitExactly(want...)
		if got := js[string](p, `[...document.querySelectorAll('.author')].at(-1).textContent`); got != "<b>Bob</b>" {
			t.Errorf("author %q", got)
		}
		if n := js[int](p, `document.querySelectorAll('#log img, #log script, #log b, #log [onclick]').length`); n > 0 {
			t.Errorf("%s's page made %d elements of it", p.name, n)
		}
		if js[bool](p, `'owned' in window`) {
			t.Errorf("%s's page ran it", p.name)
		}
	}
}

// Without JavaScript the composer is a form that publishes, and brings back the
// page.
func TestWithoutScript(t *testing.T) {
	s := startSite(t)
	pages := openPages(t, s.URL(), "Ann", "Mute")
	ann, mute := pages[0], pages[1]
	mute.Script(false)
	mute.do(chromedp.Reload())
	mute.do(chromedp.SendKeys(chromedp.CSS("#text"), "I have no script"))
	mute.do(chromedp.Click(chromedp.CSS("#send")))
	ann.WaitExactly("I have no script")
	mute.wait(`location.pathname === '/' && document.readyState === 'complete' && document.querySelector('#text')?.value === ''`)
}
