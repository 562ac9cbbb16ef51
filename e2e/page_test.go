package e2e

import (
	"context"
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
)

// recordStates runs before the page's own script and notes each state that the
// page goes through, with its transport.
const recordStates = `window.states = [];
new MutationObserver((changes) => {
	for (const { target } of changes) {
		const now = target.dataset.state + ' ' + target.dataset.transport;
		if (window.states.at(-1) !== now) window.states.push(now);
	}
}).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-state', 'data-transport'] });`

// A chatPage is the chat page in a tab of its own, with storage of its own: one
// person at one computer.
type chatPage struct {
	t    *testing.T
	name string
	ctx  context.Context

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
		p.set("#name", p.name)
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
	ctx, closeTab := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	p := &chatPage{t: t, name: name, ctx: ctx}
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
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: recordStates})
		return err
	}))
	p.do(chromedp.Navigate(address))
	return p
}

// listen takes what goes wrong. What the network does to a page is no fault of
// its own.
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

// set gives a control a value as its user would: with the event that follows.
func (p *chatPage) set(selector, value string) {
	p.t.Helper()
	js[chromedp.Void](p, fmt.Sprintf(`{
		const control = document.querySelector(%q);
		control.value = %q;
		control.dispatchEvent(new Event('change', { bubbles: true }));
	}`, selector, value))
}

// Say types text into the composer and presses Enter.
func (p *chatPage) Say(text string) {
	p.t.Helper()
	js[chromedp.Void](p, `document.querySelector('#text').focus()`)
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
			_, keyErr := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{
				Type: kind, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13,
			})
			err = errors.Join(err, keyErr)
		}
		return err
	}))
}

// Pick chooses a transport by hand.
func (p *chatPage) Pick(transport string) {
	p.t.Helper()
	p.set("#transport", transport)
}

// WaitTransport waits until the page is connected by transport.
func (p *chatPage) WaitTransport(transport string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.body.dataset.state === 'open' && document.body.dataset.transport === %q`, transport))
}

// texts are the messages that the server has, as an array in the page.
const texts = `[...document.querySelectorAll('#log li.message[data-id] .text')].map((node) => node.textContent)`

// Texts are the messages in the log that the server has, oldest first.
func (p *chatPage) Texts() []string { return js[[]string](p, texts) }

// WaitText waits until a message of this text, which the server has, is shown.
func (p *chatPage) WaitText(text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`%s.includes(%q)`, texts, text))
}

// WaitExactly waits for the last text and wants just these, once each and in
// order, with no gap announced among them.
func (p *chatPage) WaitExactly(want ...string) {
	p.t.Helper()
	p.WaitText(want[len(want)-1])
	if got := p.Texts(); !slices.Equal(got, want) {
		p.t.Errorf("%s's page has\n\t%s\nwant\n\t%s", p.name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	p.WaitGaps(0)
	ids := js[[]string](p, `[...document.querySelectorAll('#log li[data-id]')].map((li) => li.dataset.id)`)
	if slices.Sort(ids); len(slices.Compact(ids)) != len(want) {
		p.t.Errorf("%s's page has ids %q", p.name, ids)
	}
}

// WaitGaps wants so many dividers where messages are missing.
func (p *chatPage) WaitGaps(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelectorAll('#log .gap').length === %d`, n))
}

// State and Transport are what the page says of its connection.
func (p *chatPage) State() string     { return js[string](p, `document.body.dataset.state`) }
func (p *chatPage) Transport() string { return js[string](p, `document.body.dataset.transport`) }

// WaitState waits for one state of the connection.
func (p *chatPage) WaitState(state string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.body?.dataset.state === %q`, state))
}

// States are the states gone through since the page was loaded, or since the
// last call of ForgetStates, each with its transport.
func (p *chatPage) States() []string { return js[[]string](p, `window.states`) }
func (p *chatPage) ForgetStates()    { js[chromedp.Void](p, `window.states = []`) }

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
	said, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[document.querySelector('#status')?.textContent,
		...(window.states ?? []), ...[...document.querySelectorAll('#log > li')].slice(-50)].map((it) =>
		it.outerHTML ? it.className + ' ' + (it.dataset.id ?? '-') + ' ' + it.innerText.replace(/\s+/g, ' ') : it).join('\n\t')`))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Logf("%s's page (%v): %s\n\t%s", p.name, err, said, strings.Join(p.network, "\n\t"))
}
