package e2e

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// A guest has a name of their own choice, and is the same one after a reload, in another tab and
// over each transport. In a room for users, they are asked to sign in.
func TestGuests(t *testing.T) {
	caddy := startSite(t, "guests", "room members {\n\t\t\tallow all users\n\t\t}", "room readers {\n\t\t\tallow publish users\n\t\t}")
	for _, test := range ways {
		t.Run(test.transport, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			zoe := openPage(t, s.address(t), "Zoe")
			zoe.WaitTransport(test.transport)
			zoe.wait(`chat.realtime.user?.guest && chat.realtime.user.id.startsWith('~g') && !chat.realtime.user.name`)
			zoe.Name("Zoe")
			zoe.Say("by a guest")
			zoe.WaitText("by a guest")
			id := js[string](zoe, `chat.realtime.user.id`)
			zoe.eval(`localStorage.removeItem('realtime:mine')`) // what the page itself remembers
			zoe.do(chromedp.Reload())
			zoe.WaitTransport(test.transport)
			zoe.WaitText("by a guest")
			tab := zoe.Tab(s.address(t), "Zoe's tab")
			tab.WaitTransport(test.transport)
			tab.WaitText("by a guest")
			bob := openPage(t, s.address(t), "Bob")
			bob.WaitTransport(test.transport)
			bob.WaitText("by a guest")
			for _, p := range []*chatPage{zoe, tab} {
				if got := js[string](p, `chat.realtime.user.id`); got != id {
					t.Errorf("%s is %s, not %s", p.name, got, id)
				}
				p.wait(`parts('own').length === 1 && part('name').getClientRects().length > 0 && part('author').textContent === 'Zoe'`)
			}
			bob.wait(`parts('own').length === 0 && part('author').textContent === 'Zoe' && !part('author').part.contains('verified')`)
			if js[string](bob, `chat.realtime.user.id`) == id {
				t.Error("two guests are one")
			}

			members := zoe.Tab(s.URL()+"/e2e/chat?room=members", "Zoe")
			members.wait(`part('closed')?.getClientRects().length > 0 && part('composer').getClientRects().length === 0`)
			members.wait(`!chat.shadowRoot.querySelector('slot[name=sign-in]').hidden`)
			if test.transport != "poll" { // which does not tell what may be done
				readers := zoe.Tab(s.URL()+"/e2e/chat?room=readers", "Zoe")
				readers.wait(`part('closed')?.innerText.includes('Sign in to write') && part('composer').getClientRects().length === 0`)
			}
		})
	}
}
