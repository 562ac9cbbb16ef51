package e2e

import (
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// focused is the part that has the focus, or the node's name outside of the
// element.
const focused = `(chat.shadowRoot.activeElement?.part.value || chat.shadowRoot.activeElement?.localName || document.activeElement.localName)`

// Everything can be reached and done without a mouse.
func TestKeyboard(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	s.publish(t, "Zoe", "see https://example.com/ for more")
	ann.WaitText("see https://example.com/ for more")
	ann.WaitMembers(2)
	ann.wait(`part('log').role === 'log'`)

	reachByTab(t, ann)
	sendByEnter(t, ann, bob)
	composeWithEnter(t, ann, bob)

	// The list opens by keyboard, and Escape closes it.
	ann.eval(`part('people').querySelector('summary').focus()`)
	ann.Press(kb.Enter)
	ann.wait(`part('people').open && part('list').checkVisibility()`)
	ann.Press(kb.Escape)
	ann.wait(`!part('people').open`)

	scrollByKeys(t, s, ann)
}

// reachByTab goes from the page's beginning to its end, and back.
func reachByTab(t *testing.T, ann *chatPage) {
	t.Helper()
	ann.eval(`document.activeElement.blur()`)
	var way []string
	for range 12 {
		ann.Press(kb.Tab)
		at := js[string](ann, focused)
		if at == "body" {
			break
		}
		way = append(way, at)
	}
	if want := []string{"summary", "log", "link", "name", "input", "send"}; !slices.Equal(way, want) {
		t.Errorf("Tab leads through %q, want %q", way, want)
	}
	ann.eval(`part('input').focus()`)
	ann.Press(kb.Tab, chromedp.ModifierShift)
	if at := js[string](ann, focused); at != "name" {
		t.Errorf("Shift+Tab leads from the input to %q", at)
	}
	ann.Press(kb.Tab)
}

// sendByEnter checks that Shift+Enter makes a line, that Enter sends both, and that the
// focus stays.
func sendByEnter(t *testing.T, ann, bob *chatPage) {
	t.Helper()
	ann.Press("one")
	ann.Press(kb.Enter, chromedp.ModifierShift)
	ann.Press("two")
	if got := js[string](ann, `part('input').value`); got != "one\ntwo" {
		t.Errorf("the input has %q", got)
	}
	if len(ann.Texts()) != 1 {
		t.Error("Shift+Enter sends")
	}
	ann.Press(kb.Enter)
	bob.WaitText("one\ntwo")
	ann.Press(kb.Enter) // of nothing
	ann.Press("   ")
	ann.Press(kb.Enter)
	ann.Say("three")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitExactly("see https://example.com/ for more", "one\ntwo", "three")
	}
	if at := js[string](ann, focused); at != "input" {
		t.Errorf("after sending the focus is on %q", at)
	}
	// Messages of others leave the focus alone, too.
	ann.Press("half")
	bob.Say("four")
	ann.WaitText("four")
	if at := js[string](ann, focused+` + ' ' + part('input').value`); at != "input half" {
		t.Errorf("after another's message the focus is on %q", at)
	}
}

// composeWithEnter checks that an input method's Enter is not ours.
func composeWithEnter(t *testing.T, ann, bob *chatPage) {
	t.Helper()
	ann.eval(`part('input').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))`)
	bob.Say("five")
	ann.WaitText("five")
	if got := js[string](ann, `part('input').value`); got != "half" {
		t.Errorf("while an input method composes, Enter leaves %q", got)
	}
}

// scrollByKeys checks that the log scrolls by keyboard, and leads back to its end.
func scrollByKeys(t *testing.T, s *site, ann *chatPage) {
	t.Helper()
	for _, text := range numbered("line", 40) {
		s.publish(t, "Zoe", text)
	}
	ann.WaitText("line 40")
	// The page follows the last line in a frame of its own, and would undo what is
	// pressed before.
	ann.wait(`part('log').scrollTop > 0 && part('log').scrollHeight - part('log').scrollTop - part('log').clientHeight < 2`)
	ann.eval(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`)
	ann.eval(`part('log').focus()`)
	ann.Press(kb.Home)
	ann.wait(`part('log').scrollTop === 0`)
	s.publish(t, "Zoe", "below")
	ann.WaitText("below")
	ann.wait(`part('jump').checkVisibility() && part('jump').textContent.includes('1')`)
	if top := js[float64](ann, `part('log').scrollTop`); top > 100 {
		t.Errorf("a message scrolls a reader away, to %g", top)
	}
	ann.eval(`part('jump').focus()`)
	ann.Press(kb.Enter)
	ann.wait(`part('log').scrollHeight - part('log').scrollTop - part('log').clientHeight < 2 && !part('jump').checkVisibility()`)
	if at := js[string](ann, focused); at != "input" {
		t.Errorf("after the jump the focus is on %q", at)
	}
}

// The bubble opens by keyboard, with the focus in its input, closes by Escape,
// with the focus where it was, and says what came meanwhile.
func TestKeyboardBubble(t *testing.T) {
	s := startSite(t)
	ann := openPage(t, s.address(t, "form=bubble"), "Ann")
	ann.WaitState("open")
	ann.wait(`!part('panel').checkVisibility()`)
	ann.Press(kb.Tab)
	if at := js[string](ann, focused); at != "toggle" {
		t.Errorf("Tab leads to %q", at)
	}
	ann.Press(kb.Enter)
	ann.wait(`part('panel').checkVisibility() && ` + focused + ` === 'input'`)
	ann.Press("hello")
	ann.Press(kb.Enter)
	ann.WaitText("hello")
	ann.Press(kb.Escape)
	ann.wait(`!part('panel').checkVisibility() && ` + focused + ` === 'toggle'`)
	s.publish(t, "Zoe", "are you there?")
	s.publish(t, "Zoe", "Ann?")
	ann.wait(`part('badge').textContent.trim() === '2'`)
	ann.Press(kb.Enter)
	ann.WaitExactly("hello", "are you there?", "Ann?")
	ann.wait(`part('badge').textContent === ''`)
	ann.wait(`parts('message').filter((node) => node.dataset.mark.includes('New messages')).length === 1`)
}
