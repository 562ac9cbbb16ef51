package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// openUI opens the page that the option ui makes of the test's room.
func (s *site) openUI(t *testing.T, script bool) *chatPage {
	t.Helper()
	p := openPage(t, s.URL()+"/favicon.svg", "Ann")
	p.Script(script)
	p.do(chromedp.EmulateViewport(800, 600))
	// Not chromedp.Navigate, which waits for the page to be whole: with the log
	// in its frame it never is.
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.Navigate, page.NavigateParams{URL: s.URL() + "/rt/" + room(t)})
		return err
	}))
	p.wait(`document.querySelector('realtime-chat')`)
	return p
}

// framed is the document in the page's frame.
const framed = `document.querySelector('iframe')?.contentDocument`

// waitFramed waits until the last message in the frame reads so, and is to be
// seen.
func (p *chatPage) waitFramed(want string) {
	p.t.Helper()
	p.wait(framed + `?.querySelector('article:last-of-type p')?.textContent === '` + want + `'`)
	p.wait(framed + `.querySelector('article:last-of-type').getBoundingClientRect().bottom <= document.querySelector('iframe').clientHeight`)
}

// Without script the log comes live into the page's frame, stays at its end,
// and a form writes.
func TestUIWithoutScript(t *testing.T) {
	s := startSite(t, "ui on")
	for i := range 30 {
		s.publish(t, "Bob", fmt.Sprint("message ", i))
	}
	ann := s.openUI(t, false)
	ann.waitFramed("message 29")
	if n := js[int](ann, framed+`.querySelectorAll('article').length`); n != 30 {
		t.Errorf("the frame begins with %d messages", n)
	}
	for i := range 30 {
		s.publish(t, "Bob", fmt.Sprint("live ", i))
	}
	s.publish(t, "<i>Eve</i>", `<img src=x> https://example.com/`)
	ann.waitFramed(`<img src=x> https://example.com/`)
	if got := js[string](ann, framed+`.querySelector('article:last-of-type bdi').textContent`); got != "<i>Eve</i>" {
		t.Errorf("author %q", got)
	}
	if got := js[string](ann, framed+`.querySelector('article:last-of-type a').target + `+framed+`.querySelector('base').target`); got != "_top" {
		t.Errorf("a link opens in %q", got)
	}
	shots := shotsDir(t)
	ann.Capture(filepath.Join(shots, "ui-without-script.png"))

	ann.enter("name", "Ann", false)
	ann.enter("text", "by a form", true)
	ann.waitFramed("by a form")
	if got := js[string](ann, framed+`.querySelector('article:last-of-type bdi').textContent`); got != "Ann" {
		t.Errorf("the form's author is %q", got)
	}
	ann.wait(`location.pathname.startsWith('/rt/') && document.activeElement.name === 'text' && document.activeElement.value === ''`)
	ann.Look(true, true)
	ann.Capture(filepath.Join(shots, "ui-without-script-phone.png"))

	// A reader who has scrolled up stays there.
	ann.eval(framed + `.body.scrollTo(0, -1e6)`)
	ann.wait(framed + `.querySelector('article').getBoundingClientRect().top >= 0`)
	s.publish(t, "Bob", "not looked at")
	ann.wait(framed + `.querySelector('article:last-of-type p').textContent === 'not looked at'`)
	if top := js[float64](ann, framed+`.querySelector('article').getBoundingClientRect().top`); top < 0 || top > 100 {
		t.Errorf("the first message has moved to %g", top)
	}
}

// A log that ends, because its hub does, comes back.
func TestUILogComesBack(t *testing.T) {
	s := startSite(t, "ui on", "hub one")
	s.publish(t, "Bob", "in the first hub")
	ann := s.openUI(t, false)
	ann.waitFramed("in the first hub")
	s.options[1] = "hub two"
	s.load(t, "second")
	s.publish(t, "Bob", "in the second hub")
	ann.waitFramed("in the second hub")
	if n := js[int](ann, framed+`.querySelectorAll('article').length`); n != 1 {
		t.Errorf("the frame has %d messages", n)
	}
}

// With script the element takes over, by the page's policy, and nothing else
// opens a connection.
func TestUIWithScript(t *testing.T) {
	s := startSite(t, "ui on")
	ann := s.openUI(t, true)
	ann.wait(`customElements.get('realtime-chat') && document.querySelector('realtime-chat').shadowRoot?.textContent`)
	ann.wait(`document.querySelector('realtime-chat').shadowRoot.adoptedStyleSheets.some((sheet) => sheet.cssRules.length > 0)`)
	if js[bool](ann, `!!document.querySelector('iframe, form')`) {
		t.Error("what is for browsers without script is there")
	}
	if got := js[string](ann, `document.title + ' ' + document.querySelector('h1').textContent`); got != room(t)+" "+room(t) {
		t.Errorf("title and heading are %q", got)
	}
	// The policy lets no other style sheet in, nor any other script.
	ann.eval(`{
		const style = document.createElement('style');
		style.textContent = 'h1 { color: rgb(1, 2, 3) }';
		document.head.append(style);
		const script = document.createElement('script');
		script.textContent = 'window.owned = true';
		document.head.append(script);
	}`)
	if got := js[string](ann, `('owned' in window) + getComputedStyle(document.querySelector('h1')).color`); strings.HasPrefix(got, "true") || strings.Contains(got, "1, 2, 3") {
		t.Errorf("the policy lets in: %s", got)
	}
	ann.forgive("Content Security Policy", 2)
	ann.Capture(filepath.Join(shotsDir(t), "ui.png"))
}

// enter types into a field of the page's form, as its user would, and may press
// Enter.
func (p *chatPage) enter(field, text string, send bool) {
	p.t.Helper()
	p.eval(fmt.Sprintf(`document.querySelector('[name=%s]').focus()`, field))
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		if !send {
			return err
		}
		_, keyErr := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13,
		})
		return errors.Join(err, keyErr)
	}))
}

// forgive removes n faults that the test itself has provoked.
func (p *chatPage) forgive(part string, n int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var left []string
	for _, fault := range p.faults {
		if strings.Contains(fault, part) {
			n--
			continue
		}
		left = append(left, fault)
	}
	if p.faults = left; n != 0 {
		p.t.Errorf("%d faults too few that are of %q", n, part)
	}
}
