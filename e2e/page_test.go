package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// prelude runs before the page's own scripts. It notes each state that the
// connection goes through, with its transport, and finds parts of the element.
const prelude = `window.states = [];
window.stateTimes = [];
window.persisted = [];
document.addEventListener('realtime-status', ({ detail }) => {
	const now = detail.state + ' ' + detail.transport;
	stateTimes.push(Math.round(performance.now()) + ' ' + now);
	if (states.at(-1) !== now) states.push(now);
});
addEventListener('pageshow', (event) => persisted.push(event.persisted));
Object.defineProperty(window, 'chat', { get: () => document.querySelector('realtime-chat') });
window.parts = (name) => [...(chat?.shadowRoot?.querySelectorAll('[part~=' + name + ']') ?? [])];
window.part = (name) => parts(name)[0];
window.messages = () => parts('message').filter((node) => node.dataset.id);
window.texts = () => messages().map((node) => node.querySelector('[part~=text]').textContent);
window.gaps = () => parts('message').filter((node) => node.dataset.mark?.includes('missing'));`

// A chatPage is a page with a <realtime-chat> in a tab of its own, usually with
// storage of its own: one person at one computer.
type chatPage struct {
	t    *testing.T
	name string
	ctx  context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	faults  []string // errors of the page's script, violations of its policy
	network []string // what the network did to it
}

// openPages opens address for each of names and waits until all are connected.
func openPages(t *testing.T, address string, names ...string) []*chatPage {
	t.Helper()
	pages := make([]*chatPage, len(names))
	for i, name := range names {
		pages[i] = openPage(t, address, name)
	}
	for _, p := range pages {
		p.WaitState("open")
		p.Name(p.name)
	}
	return pages
}

// openPage opens address in a new tab, which is closed, and must have had no
// script error, when t ends.
func openPage(t *testing.T, address, name string) *chatPage {
	t.Helper()
	parent, err := browser()
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t, name, parent, chromedp.WithNewBrowserContext())
	p.do(chromedp.Navigate(address))
	return p
}

// Tab opens address in another tab of the same browser: with the same storage.
func (p *chatPage) Tab(address, name string) *chatPage {
	p.t.Helper()
	tab := newPage(p.t, name, p.ctx)
	tab.do(chromedp.Navigate(address))
	return tab
}

// newPage makes a tab that knows of no address yet.
func newPage(t *testing.T, name string, parent context.Context, options ...chromedp.ContextOption) *chatPage {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(parent, options...)
	p := &chatPage{t: t, name: name, ctx: ctx, end: closeTab}
	t.Cleanup(func() {
		if t.Failed() {
			p.describe()
		}
		closeTab()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, fault := range p.faults {
			t.Errorf("%s's page: %s", name, fault)
		}
	})
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	p.beforeScripts(prelude)
	return p
}

// beforeScripts lets each document that the page loads run something first.
func (p *chatPage) beforeScripts(source string) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
		return err
	}))
}

// listen collects the page's errors, without those that the network causes.
func (p *chatPage) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		fault := ev.ExceptionDetails.Text
		if ev.ExceptionDetails.Exception != nil {
			fault += " " + ev.ExceptionDetails.Exception.Description
		}
		p.faults = append(p.faults, fault)
	case *cdplog.EventEntryAdded:
		switch said := ev.Entry.Text + " " + ev.Entry.URL; {
		case ev.Entry.Level != "error":
		case ev.Entry.Source == "network":
			p.network = append(p.network, said)
		default:
			p.faults = append(p.faults, said)
		}
	}
}

func (p *chatPage) do(action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		p.t.Fatalf("%s's page: %v", p.name, err)
	}
}

// js evaluates an expression in the page.
func js[T any](p *chatPage, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s's page: %s: %v", p.name, expression, err)
	}
	return value
}

// eval runs statements in the page.
func (p *chatPage) eval(statements string) {
	p.t.Helper()
	js[chromedp.Void](p, statements)
}

// wait fails the test unless the expression becomes true in time. It asks from
// outside, since the page's policy forbids chromedp.Poll to run text as code;
// and a page that is just loading may not answer.
func (p *chatPage) wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`!!(`+expression+`)`))
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("%s's page: in vain: %s (%v)", p.name, expression, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// Name enters the writer's name, as its user would: with the event that follows.
func (p *chatPage) Name(name string) {
	p.t.Helper()
	p.eval(fmt.Sprintf(`{
		part('name').value = %q;
		part('name').dispatchEvent(new Event('change', { bubbles: true }));
	}`, name))
}

// Type puts text into what has the focus, as an input method does.
func (p *chatPage) Type(text string) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// Press presses keys on the keyboard and lets them go again.
func (p *chatPage) Press(keys string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	if keys != kb.Enter {
		p.do(chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
		return
	}
	// A key's character is part of its press: who prevents one prevents both.
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			key := input.DispatchKeyEventParams{
				Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13,
			}
			if kind == input.DispatchKeyEventTypeKeyDown {
				key.Text = "\r"
			}
			for _, modifier := range modifiers {
				key.Modifiers |= int64(modifier)
			}
			_, keyErr := cdp.Call(ctx, t, input.DispatchKeyEvent, key)
			err = errors.Join(err, keyErr)
		}
		return err
	}))
}

// Say types text into the composer and presses Enter.
func (p *chatPage) Say(text string) {
	p.t.Helper()
	p.eval(`part('input').focus()`)
	p.Type(text)
	p.Press(kb.Enter)
}

// Pick chooses a transport by hand; "" stands for the page's own choice.
func (p *chatPage) Pick(transport string) {
	p.t.Helper()
	p.eval(fmt.Sprintf(`chat.setAttribute('transport', %q)`, transport))
}

// WaitTransport waits until the page is connected by transport.
func (p *chatPage) WaitTransport(transport string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`chat.realtime?.state === 'open' && chat.realtime.transport === %q`, transport))
}

// Texts are the messages in the log that the server has, oldest first.
func (p *chatPage) Texts() []string { return js[[]string](p, `texts()`) }

// soon returns the texts that are shown as soon as there are n, or after a while. The chat shows the
// newest messages first, and the others in the next frames.
func (p *chatPage) soon(n int) []string {
	p.t.Helper()
	limit := time.NewTimer(patience / 6)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got := p.Texts()
		if len(got) >= n {
			return got
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return got
		}
	}
}

// WaitText waits until a message of this text, which the server has, is shown.
func (p *chatPage) WaitText(text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`texts().includes(%s)`, quote(text)))
}

// quote returns a literal of JavaScript.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string can be written
	}
	return string(literal)
}

// WaitExactly waits for the last text and wants just these, once each and in
// order, with no gap announced among them.
func (p *chatPage) WaitExactly(want ...string) {
	p.t.Helper()
	p.WaitText(want[len(want)-1])
	if got := p.soon(len(want)); !slices.Equal(got, want) {
		p.t.Errorf("%s's page has\n\t%s\nwant\n\t%s", p.name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	p.WaitGaps(0)
	ids := js[[]string](p, `messages().map((node) => node.dataset.id)`)
	if slices.Sort(ids); len(slices.Compact(ids)) != len(want) {
		p.t.Errorf("%s's page has ids %q", p.name, ids)
	}
}

// WaitPending waits until n messages are not at the server yet.
func (p *chatPage) WaitPending(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`parts('pending').length === %d && parts('failed').length === 0`, n))
}

// WaitGaps waits until n gaps are announced.
func (p *chatPage) WaitGaps(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`gaps().length === %d`, n))
}

// WaitMembers waits until the page shows n people in the room.
func (p *chatPage) WaitMembers(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`part('people')?.querySelector('summary').textContent.trim() === '%d here'`, n))
}

// wantMembers fails the test unless the page shows n people in the room now.
func (p *chatPage) wantMembers(n int) {
	p.t.Helper()
	if got := js[string](p, `part('people')?.querySelector('summary').textContent.trim()`); got != fmt.Sprintf("%d here", n) {
		p.t.Errorf("%s's page shows %q, want %d", p.name, got, n)
	}
}

// State and Transport are what the page says of its connection.
func (p *chatPage) State() string     { return js[string](p, `chat.realtime.state`) }
func (p *chatPage) Transport() string { return js[string](p, `chat.realtime.transport`) }

// WaitState waits for one state of the connection.
func (p *chatPage) WaitState(state string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`chat?.realtime?.state === %q`, state))
}

// States are the states gone through since the page was loaded, or since the
// last call of ForgetStates, each with its transport.
func (p *chatPage) States() []string { return js[[]string](p, `window.states`) }
func (p *chatPage) ForgetStates()    { p.eval(`window.states = []`) }

// Look makes the screen a desktop's or a phone's, and light or dark.
func (p *chatPage) Look(phone, dark bool) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(1280, 800))
	if phone {
		p.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait))
	}
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	p.wait(fmt.Sprintf(`matchMedia('(prefers-color-scheme: %s)').matches`, scheme))
}

// Script allows or forbids the page to run scripts, from its next load on.
func (p *chatPage) Script(allowed bool) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed})
		return err
	}))
}

// Screenshot writes what is to be seen into a file.
func (p *chatPage) Screenshot(file string) {
	p.t.Helper()
	// Two frames after the last change everything is painted, and scrolled.
	p.do(chromedp.Evaluate[chromedp.Void](`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))`,
		chromedp.EvalAwaitPromise))
	p.Capture(file)
}

// Capture is Screenshot for a page without script, which knows of no frames.
func (p *chatPage) Capture(file string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// describe logs where a page stands whose test failed.
func (p *chatPage) describe() {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	said, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[chat?.realtime?.state, chat?.realtime?.transport, part('error')?.textContent, part('people')?.textContent,
		...(window.stateTimes ?? []), ...parts('message').slice(-50)].map((it) =>
		it?.outerHTML ? it.className + ' ' + it.dataset.id + ' ' + it.innerText.replace(/\s+/g, ' ').slice(0, 200) : it).join('\n\t')`))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Logf("%s's page (%v): %s\n\t%s", p.name, err, said, strings.Join(p.network, "\n\t"))
}
