package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// No visitor can make another's page slow: what is long is built when somebody
// looks at it, and of addresses the first fifty are links.
func TestHeavyMessages(t *testing.T) {
	s := startSite(t)
	heavy := strings.Repeat("https://example.com/a(b)c ", 2400)
	for i := range 20 {
		s.publish(t, "Eve", fmt.Sprint(i, " ", heavy))
	}
	for i := range 20 {
		s.publish(t, "Eve", fmt.Sprint(i, " ", heavy[:1990]))
	}
	ann := s.open(t, "Ann")[0]
	ann.wait(`messages().length === 40`)
	if links := js[int](ann, `Math.max(...messages().map((node) => node.querySelectorAll('a').length))`); links > 50 || links == 0 {
		t.Errorf("%d links in one message", links)
	}
	if built := js[int](ann, `Math.max(...parts('more').map((node) => node.parentNode.textContent.length))`); built > 100 {
		t.Errorf("%d characters of a folded text are built", built)
	}
	ann.eval(`parts('more')[0].click()`)
	ann.wait(`parts('more')[0].parentNode.textContent.length > 50_000`)
	if links := js[int](ann, `parts('more')[0].parentNode.querySelectorAll('a').length`); links != 50 {
		t.Errorf("%d links after it was opened", links)
	}
}

// Nobody looks like somebody else.
func TestSpoofing(t *testing.T) {
	s := startSite(t)
	ann := openPage(t, s.URL()+"/e2e/blank", "Ann")
	ann.beforeScripts(`window.e2eSockets = []; window.WebSocket = class extends WebSocket {
		constructor(...a) { super(...a); e2eSockets.push(this); }
	}`)
	ann.do(chromedp.Navigate(s.address(t)))
	ann.WaitState("open")
	ann.wait(`part('log').role === 'log'`)
	// Messages as a server sends them that knows its users.
	for i, message := range []string{
		`{"data":{"text":"real"},"from":{"id":"b","name":"Bob"}}`,
		`{"data":{"text":"claimed","name":"Bob"}}`,
		`{"data":{"text":"glued","name":"nnBob"},"from":{"id":"a"}}`,
		`{"data":{"text":"zero","name":"Z"},"from":{"id":"0"}}`,
		`{"data":{"text":"unseen","name":"Bo\u200bb"}}`,
		`{"data":{"text":"by id"},"from":{"id":"bob"}}`,
	} {
		ann.wire(i+1, message)
	}
	ann.WaitText("by id")
	got := js[[]string](ann, `messages().map((node) => [
		node.querySelector('[part~=text]').textContent, node.querySelector('[part~=author]').textContent,
		node.querySelector('[part~=verified]') ? 'verified' : '', node.part.contains('own') ? 'own' : '', node.part.contains('follow') ? 'follow' : ''].join())`)
	for i, want := range []string{"real,Bob,verified,,", "claimed,Bob,,,", "glued,nnBob,,,", "zero,Z,,,", "unseen,Bob,,,", "by id,bob,verified,,"} {
		if i >= len(got) || got[i] != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}

// wire has the page's connection bring a message that no server here would.
func (p *chatPage) wire(offset int, message string) {
	p.t.Helper()
	p.eval(fmt.Sprintf(`{
		const message = %s;
		const socket = e2eSockets.at(-1);
		socket.dispatchEvent(new MessageEvent('message', { data: JSON.stringify({ id: 'e2e.%d', room: chat.room, at: new Date().toISOString(), ...message }) }));
	}`, message, offset))
}

// A message that was written without a network is sent even if the application has
// removed the element or changed its name. A draft is there again.
func TestElementIsRemoved(t *testing.T) {
	s := startSite(t)
	pages := s.open(t, "Ann", "Bob")
	ann, bob := pages[0], pages[1]
	s.Refuse()
	s.Cut(faultproxy.RST)
	ann.wait(`chat.realtime.state !== 'open'`)
	ann.Say("written without a network")
	ann.WaitPending(1)
	ann.eval(`part('input').focus()`)
	ann.Type("half a sente")
	ann.eval(`globalThis.removed = chat; chat.remove()`)
	s.Resume()
	bob.WaitText("written without a network")
	ann.eval(`document.querySelector('main').append(removed)`)
	ann.WaitText("written without a network")
	ann.wait(`part('input').value === 'half a sente'`)
	ann.eval(`chat.name = 'Anna'`)
	ann.wait(`!part('name').checkVisibility()`)
	ann.eval(`chat.send('as Anna')`)
	bob.WaitText("as Anna")
	bob.wait(`parts('author').at(-1).textContent === 'Anna'`)
	if n := js[int](ann, `texts().filter((text) => text === 'written without a network').length`); n != 1 {
		t.Errorf("it is there %d times", n)
	}
}

// Messages with an event are not shown, and do not end the history.
func TestHistoryBehindEvents(t *testing.T) {
	s := startSite(t, "room * {\n\t\t\thistory 1000\n\t\t}")
	s.publish(t, "Zoe", "the first")
	for range 180 {
		s.post(t, room(t)+"?event=tick", "1")
	}
	s.publish(t, "Zoe", "the last")
	ann := s.open(t, "Ann")[0]
	ann.WaitText("the last")
	ann.wait(`part('log').role === 'log'`)
	ann.WaitText("the first")
	if n := js[int](ann, `performance.getEntriesByType('resource').filter(({ name }) => name.includes('before=')).length`); n > 8 {
		t.Errorf("%d requests", n)
	}
}

// Screen readers read new messages, and no old ones.
func TestReadAloud(t *testing.T) {
	s := startSite(t)
	s.fill(t, room(t), 150)
	ann := s.open(t, "Ann")[0]
	ann.wait(`part('log').role === 'log' && part('log').ariaLive === 'off'`)
	ann.eval(`globalThis.said = []; new MutationObserver((all) => {
		for (const { addedNodes } of all) for (const node of addedNodes) said.push(node.textContent);
	}).observe(part('news'), { childList: true })`)
	before := js[int](ann, `messages().length`)
	ann.eval(`part('log').scrollTop = 0`)
	ann.wait(fmt.Sprintf(`messages().length > %d`, before))
	s.publish(t, "Zoe", "hello")
	ann.wait(`said.length === 1 && said[0] === 'Zoe: hello'`)
	s.Refuse()
	s.Cut(faultproxy.RST)
	ann.wait(`chat.realtime.state !== 'open'`)
	ann.wait(`!part('people').checkVisibility()`) // without a connection the number is hidden
	for _, text := range numbered("missed", 30) {
		s.publish(t, "Zoe", text)
	}
	s.Resume()
	ann.wait(`said.length === 2 && said[1].includes('30')`)
	ann.wait(`part('people').checkVisibility()`)
}

// A bubble that was open is open on the next page. A closed bubble counts messages,
// there and in the title.
func TestBubbleOnTheNextPage(t *testing.T) {
	s := startSite(t)
	ann := openPage(t, s.address(t, "form=bubble"), "Ann")
	ann.WaitState("open")
	ann.wait(`part('log').role === 'log'`)
	s.publish(t, "Zoe", "one")
	s.publish(t, "Zoe", "two")
	ann.wait(`part('badge').textContent === '2' && document.title.startsWith('(2) ')`)
	ann.do(chromedp.Navigate(s.address(t, "form=bubble")))
	ann.wait(`part('badge')?.textContent === '2' && document.title.startsWith('(2) ')`)
	ann.eval(`part('toggle').click()`)
	ann.wait(`part('panel').checkVisibility() && !document.title.startsWith('(')`)
	ann.do(chromedp.Navigate(s.address(t, "form=bubble")))
	ann.wait(`part('panel')?.checkVisibility()`)
	ann.wait(`document.activeElement !== chat`) // it takes the focus from nobody
}

// Mistakes of a page's author are reported in the console, and do no harm.
func TestSlips(t *testing.T) {
	s := startSite(t)
	ann := s.open(t, "Ann")[0]
	ann.eval(`globalThis.warned = []; console.warn = (text) => warned.push(text);
	document.body.insertAdjacentHTML('beforeend', '<div lang="en_US"><realtime-chat id="slip" room="slips" src="/rt"><main>swallowed</main></realtime-chat></div>')`)
	ann.wait(`slip.realtime?.state === 'open' && warned.length === 2`)
	if warned := js[string](ann, `warned.join(' ')`); !strings.Contains(warned, "</realtime-chat>") || !strings.Contains(warned, "slash") {
		t.Errorf("warned: %s", warned)
	}
	ann.eval(`slip.send('hi')`)
	ann.wait(`slip.shadowRoot.querySelector('[part~=time]')`)
}

// Refusals are shown in words that a visitor understands.
func TestRefusedInWords(t *testing.T) {
	s := startSite(t, "max_message_size 100")
	ann := openPage(t, s.address(t, "lang=de"), "Ann")
	ann.WaitState("open")
	ann.Say(strings.Repeat("x", 200))
	ann.wait(`part('error').textContent === 'Zu lang' && parts('failed').length === 1`)
	ann.eval(`part('discard').click()`)
	ann.Say("kurz")
	ann.WaitExactly("kurz")
}
