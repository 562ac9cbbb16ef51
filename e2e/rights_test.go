package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// A visitor who may only read is told so in place of the composer, and writes once signed
// in. A reload that takes the right away hides the composer, and keeps the draft.
func TestChatRights(t *testing.T) {
	s := startSite(t, "room closed/* {\n\t\t\tallow publish signal users\n\t\t}", "room secret {\n\t\t\tallow all users\n\t\t}")
	zoe := openPage(t, s.URL()+"/e2e/chat?room=closed/x", "Zoe")
	zoe.WaitTransport("websocket")
	zoe.wait(`part('closed')?.innerText.includes('Sign in to write') && part('composer').getClientRects().length === 0`)
	zoe.eval(`document.cookie = 'user=ann; path=/'`)
	zoe.do(chromedp.Reload())
	zoe.WaitTransport("websocket")
	zoe.wait(`part('composer').getClientRects().length > 0`)
	zoe.Say("now I may")
	zoe.WaitText("now I may")
	zoe.Type("a draft")
	s.options[0] = "room closed/* {\n\t\t\tallow publish signal nobody\n\t\t}"
	s.load(t, "second")
	zoe.wait(`part('closed')?.innerText.includes('You can only read here') && part('composer').getClientRects().length === 0`)
	s.options[0] = "room closed/* {\n\t\t\tallow publish signal users\n\t\t}"
	s.load(t, "third")
	zoe.wait(`part('composer').getClientRects().length > 0 && part('input').value === 'a draft'`)

	// A room that nobody may read without signing in, and one that is taken away.
	ann := zoe.Tab(s.URL()+"/e2e/chat?room=secret", "Ann")
	ann.WaitTransport("websocket")
	ann.Say("only for us")
	s.options[1] = "room secret {\n\t\t\tallow all nobody\n\t\t}"
	s.load(t, "fourth")
	ann.wait(`part('closed')?.innerText.toLowerCase().includes('not allowed')`)
}
