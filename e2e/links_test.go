package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/access/link"
)

const linkKey = "another secret of thirty-two bytes and more"

// linkTo returns the URL of a room with a link that gives these verbs.
func (s *site) linkTo(t *testing.T, room string, verbs ...string) string {
	t.Helper()
	key, err := link.NewKey(linkKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Sign(link.Link{Host: "127.0.0.1", Room: room, Name: "Mia", Verbs: verbs, Expires: time.Now().Add(time.Hour)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s.URL() + "/rt/" + room + "?link=" + text
}

// Whoever opens a link, in a mail or on another site, sees the room's page, and writes if the link
// allows that. The link is not in the address bar, and a reload needs none.
func TestLinks(t *testing.T) {
	s := startSite(t, "ui on", "room board/* {\n\t\t\tallow all granted\n\t\t}", "links \""+linkKey+"\" {\n\t\t\trooms board/*\n\t\t\tverbs subscribe publish history\n\t\t}")
	for _, test := range []struct {
		room  string
		verbs []string
		write bool
	}{
		{"board/1", []string{"subscribe", "publish", "history"}, true},
		{"board/2", []string{"subscribe", "history"}, false},
	} {
		mail := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<link rel="icon" href="data:,"><a href="%s">Come in</a>`, s.linkTo(t, test.room, test.verbs...))
		}))
		defer mail.Close()
		mia := openPage(t, strings.Replace(mail.URL, "127.0.0.1", "localhost", 1), "Mia")
		mia.eval(`document.querySelector('a').click()`)
		for range 2 {
			mia.WaitTransport("websocket")
			if got := js[string](mia, `location.href`); got != s.URL()+"/rt/"+test.room {
				t.Errorf("the page is %s", got)
			}
			mia.wait(fmt.Sprintf(`(part('composer').getClientRects().length > 0) === %v`, test.write))
			mia.do(chromedp.Reload())
		}
		mia.WaitTransport("websocket")
		if !test.write {
			mia.wait(`part('closed').innerText.includes('You can only read here')`)
			continue
		}
		mia.Say("hello")
		mia.WaitText("hello")
		mia.wait(`parts('author').at(-1).textContent === 'Mia' && parts('own').length === 1`)
	}
	// Without a link, nobody gets in.
	eve := openPage(t, s.URL()+"/e2e/chat?room=board/1", "Eve")
	eve.wait(`part('closed')?.getClientRects().length > 0 && part('composer').getClientRects().length === 0`)
}
