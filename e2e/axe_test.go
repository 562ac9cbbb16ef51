package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// wantAccessible lets axe-core look at the page, and at what is in the element.
func (p *chatPage) wantAccessible(what string) {
	p.t.Helper()
	source, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		p.t.Skipf("%v: run npm ci --prefix e2e", err)
	}
	p.eval(string(source) + `; void axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes, incomplete }) => {
		window.axed = violations.flatMap(({ id, nodes }) =>
			nodes.map(({ target, html, failureSummary }) => [id, target.flat().join(' '), html, failureSummary].join('\n\t')));
		window.axePasses = passes.length;
	}, (error) => { window.axed = [String(error)]; });`)
	p.wait(`window.axed`)
	for _, violation := range js[[]string](p, `axed`) {
		p.t.Errorf("%s: %.800s", what, violation)
	}
	if n := js[int](p, `axePasses`); n < 10 {
		p.t.Errorf("%s: axe looked at %d things only", what, n)
	}
}

// Nothing that axe-core can find is wrong with the element in trouble; what it
// looks like otherwise is for TestImages.
func TestAxeInTrouble(t *testing.T) {
	s := startSite(t, "max_message_size 1KiB")
	ann := s.open(t, "Ann")[0]
	s.publish(t, "Zoe", "before")
	ann.Say(strings.Repeat("too long ", 200))
	ann.wait(`parts('failed').length === 1 && part('error').textContent`)
	ann.eval(`part('people').querySelector('summary').click()`)
	s.Refuse()
	s.Cut(faultproxy.RST)
	ann.Say("not sent yet")
	ann.wait(`parts('pending').length === 1 && part('status').textContent`)
	for _, dark := range []bool{false, true} {
		ann.Look(dark, dark)
		ann.wantAccessible("trouble")
	}
}
