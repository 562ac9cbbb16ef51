package e2e

import (
	"fmt"
	"testing"
)

// WaitValue waits until the element of a room, or of a path in it, reads so.
func (p *chatPage) WaitValue(selector, want string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelector('realtime-value[%s]').textContent === %q`, selector, want))
}

// Prices that a backend publishes are in every page at once, written as its
// language has it; who comes later sees the last ones; and one connection
// carries them all.
func TestTicker(t *testing.T) {
	s := startSite(t)
	first := openPage(t, s.URL()+"/ticker.html", "first")
	first.wait(`customElements.get('realtime-value') && [...document.querySelectorAll('realtime-value')].every((it) => it.textContent === '–')`)
	s.post(t, "ticker/coffee", `{"price": 6.5}`)
	s.post(t, "ticker/cocoa", `{"price": 7204}`)
	s.post(t, "ticker/wind", `{"weather": "windy"}`) // that has no price
	second := openPage(t, s.URL()+"/ticker.html", "second")
	for _, p := range []*chatPage{first, second} {
		p.WaitValue(`room="ticker/coffee"`, "€6.50")
		p.WaitValue(`room="ticker/cocoa"`, "€7,204")
		p.WaitValue(`room="ticker/wind"`, "–")
	}
	s.post(t, "ticker/coffee", `{"price": 6.25}`)
	for _, p := range []*chatPage{first, second} {
		p.WaitValue(`room="ticker/coffee"`, "€6.25")
		p.wait(`document.querySelector('[room="ticker/coffee"]').getAttribute('trend') === 'down'`)
	}
	if n := s.Upgrades(); n != 2 {
		t.Errorf("two pages have made %d connections", n)
	}
	// Its button publishes over the same path.
	second.eval(`document.querySelector('[data-price="ticker/wind"]').click()`)
	first.wait(`/^€[45]\d\.\d\d$/.test(document.querySelector('[room="ticker/wind"]').textContent)`)
	// No markup comes of a value.
	s.post(t, "ticker/cocoa", `{"price": "<b>sold out</b>"}`)
	for _, p := range []*chatPage{first, second} {
		p.wait(`document.querySelector('[room="ticker/cocoa"]').textContent.startsWith('<b>sold out</b>')`)
	}
	// Nothing is lost over a cut.
	s.Refuse()
	s.Cut(0)
	s.post(t, "ticker/coffee", `{"price": 7}`)
	s.Resume()
	for _, p := range []*chatPage{first, second} {
		p.WaitValue(`room="ticker/coffee"`, "€7.00")
		p.wait(`document.querySelector('[room="ticker/coffee"]').getAttribute('trend') === 'up'`)
	}
}

// Seats booked in one window are gone in the other, over each transport; each element
// picks its own value from a room for all.
func TestSeats(t *testing.T) {
	for _, test := range ways {
		t.Run(test.transport, func(t *testing.T) {
			s := startSite(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			first := openPage(t, s.URL()+"/seats.html", "first")
			s.post(t, "seats", `{"EC42": 12, "ICE71": 1}`)
			s.post(t, "seats", `{"NJ466": 27}`)
			second := openPage(t, s.URL()+"/seats.html", "second")
			for _, p := range []*chatPage{first, second} {
				p.WaitValue(`path="EC42"`, "12")
				p.WaitValue(`path="ICE71"`, "1")
				p.WaitValue(`path="NJ466"`, "27")
			}
			first.eval(`document.querySelector('[data-seat="ICE71"]').click()`)
			second.WaitValue(`path="ICE71"`, "0")
			second.eval(`document.querySelector('[data-seat="EC42"]').click()`)
			for _, p := range []*chatPage{first, second} {
				p.WaitValue(`path="ICE71"`, "0")
				p.WaitValue(`path="EC42"`, "11")
				p.WaitValue(`path="NJ466"`, "27")
			}
		})
	}
}
