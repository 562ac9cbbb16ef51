package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A look is a page as somebody may see it.
type look struct {
	file        string // of its picture, if it ends in .png
	path        string // of the page
	talk        []line
	open        bool // the bubble
	phone, dark bool
}

// A line is said by Ann, whose page it is, or by somebody else.
type line struct{ who, text string }

var harbour = []line{
	{"Ann", "Morning! Is the 9:15 still the first boat out today?"},
	{"Jonas Berg", "It is. Wind is fine, and there is coffee on board."},
	{"Ann", "Perfect. We are five, one with a bicycle 🚲"},
	{"Jonas Berg", "Bicycles go in front. I’ll keep you a place by the rail."},
	{"Jonas Berg", "If you come by the east pier, ring twice: https://example.com/piers#east"},
	{"Ann", "Will do. By the way: I walked through the tunnel just now, and not one message got lost."},
	{"Mei 美", "That’s the idea 😄"},
	{"Jonas Berg", "I even changed the server’s configuration in the meantime."},
	{"Ann", "I didn’t notice a thing. See you at the pier!"},
}

var arabic = []line{
	{"Ann", "صباح الخير! هل رحلة الساعة 9:15 هي الأولى اليوم؟"},
	{"يوسف", "نعم. الريح مناسبة، والقهوة جاهزة على متن القارب ☕"},
	{"Ann", "رائع. نحن خمسة، ومعنا دراجة واحدة."},
	{"يوسف", "الدراجات في المقدمة. العنوان هنا: https://example.com/pier"},
	{"Jonas Berg", "See you at the pier!"},
	{"Ann", "إلى اللقاء!"},
}

// looks are those that the pictures show and axe-core looks at.
var looks = []look{
	{file: "chat.png", path: "/?room=lobby", talk: harbour},
	{file: "chat-dark.png", path: "/?room=lobby", talk: harbour, dark: true},
	{file: "chat-phone.png", path: "/?room=lobby", talk: harbour, phone: true},
	{file: "chat-dark-phone.png", path: "/?room=lobby", talk: harbour, phone: true, dark: true},
	{file: "full.png", path: "/rt/harbour", talk: harbour},
	{file: "full-dark-phone.png", path: "/rt/harbour", talk: harbour, phone: true, dark: true},
	{file: "bubble.png", path: "/e2e/boats?room=harbour", talk: harbour, open: true},
	{file: "bubble-closed-phone.png", path: "/e2e/boats?room=harbour", talk: harbour, phone: true},
	{file: "bubble-dark-phone.png", path: "/e2e/boats?room=harbour", talk: harbour, open: true, phone: true, dark: true},
	{file: "arabic.png", path: "/e2e/chat?lang=ar&dir=rtl&room=%D8%A7%D9%84%D9%85%D8%B1%D9%81%D8%A3", talk: arabic},
	{file: "arabic-dark-phone.png", path: "/e2e/chat?lang=ar&dir=rtl&form=full&room=%D8%A7%D9%84%D9%85%D8%B1%D9%81%D8%A3", talk: arabic, phone: true, dark: true},
	{file: "empty", path: "/e2e/chat?room=harbour", talk: nil},
	{file: "ticker.png", path: "/ticker.html"},
	{file: "ticker-dark-phone.png", path: "/ticker.html", phone: true, dark: true},
	{file: "seats.png", path: "/seats.html"},
	{file: "seats-dark-phone.png", path: "/seats.html", phone: true, dark: true},
}

// show opens the page, at a Caddy of its own, and lets people talk there.
func (l look) show(t *testing.T, options ...string) *chatPage {
	t.Helper()
	s := startSite(t, options...)
	p := openPage(t, s.URL()+"/favicon.svg", "Ann")
	p.Look(l.phone, l.dark)
	p.do(chromedp.Navigate(s.URL() + l.path))
	p.wait(`document.querySelector('realtime-chat, realtime-value')?.matches(':defined')`)
	// Examples do not show the test's own address.
	p.wait(`[...document.querySelectorAll('[data-curl]')].every((code) => code.textContent.includes(location.origin))`)
	p.eval(`for (const code of document.querySelectorAll('[data-curl]')) code.textContent = code.textContent.replace(location.origin, 'https://example.com')`)
	if !js[bool](p, `!!chat`) {
		for room, data := range map[string]string{
			"ticker/coffee": `{"price": 6.52}`, "ticker/cocoa": `{"price": 7204}`, "ticker/wind": `{"price": 47.35}`,
			"seats": `{"EC42": 12, "ICE71": 3, "NJ466": 27}`,
		} {
			s.post(t, room, data)
		}
		p.wait(`[...document.querySelectorAll('realtime-value')].every((it) => it.value !== undefined)`)
		return p
	}
	room := l.path[strings.LastIndexAny(l.path, "=/")+1:]
	p.wait(`chat.realtime?.state === 'open' && encodeURIComponent(chat.room) === '` + room + `'`)
	p.Name("Ann")
	if l.open {
		p.eval(`part('toggle').click()`)
		p.wait(`part('panel').checkVisibility()`)
	}
	here := map[string]bool{"Ann": true}
	for _, line := range l.talk {
		if !here[line.who] { // who shows a state is there, for a while
			here[line.who] = true
			resp, err := http.Get("http://" + s.backend + "/rt/" + room + "?limit=1&state=" + url.QueryEscape(`{"name":"`+line.who+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		switch {
		case line.who != "Ann":
			s.post(t, room, fmt.Sprintf(`{"name": %s, "text": %s}`, quote(line.who), quote(line.text)))
		case js[bool](p, `part('panel').checkVisibility()`):
			p.Say(line.text)
		default:
			continue // she has not opened it yet
		}
		p.WaitText(line.text)
	}
	p.wait(fmt.Sprintf(`part('log').role === 'log' && chat.realtime.presence(chat.room).members === %d`, len(here)))
	return p
}
