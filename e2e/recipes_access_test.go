package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/test/recipes"
)

// An accessRecipe is a section of ACCESS.md in its site, beside the application.
type accessRecipe struct {
	*recipe
	app *recipes.App
}

// The recipes of ACCESS.md, by their headings.
var accessRecipes = map[string]func(accessRecipe){
	"A public room":                      publicRoom,
	"Writers sign in":                    writersSignIn,
	"A site with a password":             siteWithPassword,
	"Cookies of your application":        appCookies,
	"Tokens of your application":         appTokens,
	"Tokens of an identity provider":     providerTokens,
	"A room for each user":               roomForEachUser,
	"Members read, staff write":          staffWrite,
	"Guests":                             guests,
	"A link in a mail":                   linkInMail,
	"A backend with a key":               backendWithKey,
	"A backend on the same machine":      backendHere,
	"Behind Cloudflare or another proxy": behindCloudflare,
}

var heading = regexp.MustCompile(`(?m)^###? (.*)$`)

// Every recipe of ACCESS.md works with the element in a browser.
func TestAccessDocument(t *testing.T) {
	d := readDocument(t, "docs/ACCESS.md")
	page := d.find(t, "page", func(e example) bool { return e.language == "html" })
	text := readAllOf(t, d.file)
	at := heading.FindAllStringSubmatchIndex(text, -1)
	tested := 0
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		title, section := text[m[2]:m[3]], document{d.file, examplesOf(text[m[1]:end])}
		site := slices.IndexFunc(section.examples, func(e example) bool { return e.language == "caddyfile" && e.name == "site" })
		if site < 0 {
			continue
		}
		test := accessRecipes[title]
		if tested++; test == nil {
			t.Errorf("nothing tests the recipe %q in a browser", title)
			continue
		}
		own := slices.IndexFunc(section.examples, func(e example) bool { return e.language == "html" && !strings.HasPrefix(e.name, "file ") })
		shown := example{"html", title, page}
		if own >= 0 {
			shown.text = section.examples[own].text
		}
		t.Run(title, func(t *testing.T) {
			app := recipes.Start(t)
			caddyfile := strings.Replace(section.examples[site].text, docURL+" {", docURL+" {\n\troot * .\n\tfile_server", 1)
			r := accessRecipe{d.prepare(t, shown, app.Here(caddyfile)), app}
			r.load()
			r.place(shown.text)
			test(r)
		})
	}
	if tested != len(accessRecipes) {
		t.Errorf("%d recipes, and %d tests", tested, len(accessRecipes))
	}
}

// in makes the page that of another room.
func (r accessRecipe) in(room string) accessRecipe {
	r.t.Helper()
	r.place(strings.ReplaceAll(r.text, `"lobby"`, quote(room)))
	return r
}

// as opens the page at somebody's whose password the browser knows.
func (r accessRecipe) as(user string) *chatPage {
	r.t.Helper()
	p := r.blank(user)
	for _, site := range []string{strings.Replace(r.URL(), "://", "://"+user+":secret@", 1), r.URL()} {
		p.do(chromedp.Navigate(site + "/blog/example.html"))
	}
	return p
}

// with opens the page at somebody's whose browser has a cookie.
func (r accessRecipe) with(name, cookie string) *chatPage {
	r.t.Helper()
	p := r.open(name)
	p.eval(`document.cookie = ` + quote(cookie+"; path=/"))
	p.do(chromedp.Reload())
	return p
}

// sees waits until a message is the last one, by this author.
func (r accessRecipe) sees(p *chatPage, text, author string, verified bool) {
	r.t.Helper()
	p.WaitText(text)
	p.wait(fmt.Sprintf(`texts().at(-1) === %s && messages().at(-1).querySelector('[part~=author]').textContent === %s`, quote(text), quote(author)))
	if got := js[bool](p, `!!messages().at(-1).querySelector('[part~=verified]')`); got != verified {
		r.t.Errorf("%s is verified: %v", author, got)
	}
}

// closed waits until the page says in place of the composer why nobody can write.
func (r accessRecipe) closed(p *chatPage, words string) {
	r.t.Helper()
	p.wait(`part('closed')?.innerText.toLowerCase().includes(` + quote(strings.ToLower(words)) + `) && part('composer').getClientRects().length === 0`)
}

// fetches returns the status of a request of the page's script.
func (r accessRecipe) fetches(p *chatPage, room string, headers map[string]string) int {
	r.t.Helper()
	if headers == nil {
		headers = make(map[string]string)
	}
	text, err := json.Marshal(headers)
	if err != nil {
		r.t.Fatal(err)
	}
	p.eval(fmt.Sprintf(`window.fetched = 0; fetch(%s, { method: 'POST', body: 'hi', headers: %s }).then(({ status }) => { fetched = status })`, quote("/rt/"+room), text))
	p.wait(`fetched > 0`)
	return js[int](p, `fetched`)
}

// token is what the program of the document prints.
func (r accessRecipe) token(user, claims string) string {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "token.mjs")
	if err := os.WriteFile(file, []byte(r.find(r.t, "token.mjs", func(e example) bool { return e.name == "file token.mjs" })), 0o600); err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.CommandContext(r.t.Context(), "node", file, user, claims).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// signIn is the page that asks for a password.
const signIn = `<!doctype html><title>Sign in</title><p>Welcome. <a href="/blog/example.html">Back</a>`

func publicRoom(r accessRecipe) {
	ann, bob := r.open("Ann"), r.open("Bob")
	ann.WaitTransport("websocket")
	ann.Name("Ann")
	ann.Say("Hello")
	r.sees(bob, "Hello", "Ann", false)
	r.closed(r.in("other").open("Zoe"), "sign")
}

func writersSignIn(r accessRecipe) {
	zoe := r.open("Zoe")
	r.closed(zoe, "Sign in to write")
	if href := js[string](zoe, `chat.querySelector('[slot=sign-in]').href`); href != r.URL()+"/sign-in.html" {
		r.t.Errorf("the link leads to %s", href)
	}
	r.write("sign-in.html", signIn)
	zoe.do(chromedp.Navigate(strings.Replace(r.URL(), "://", "://ann:secret@", 1) + "/sign-in.html"))
	zoe.wait(`document.title === 'Sign in'`)
	zoe.eval(`document.querySelector('a').click()`)
	zoe.WaitTransport("websocket")
	zoe.Say("now I may")
	r.sees(r.open("Bob"), "now I may", "ann", true)
	firefoxSays(r, "ann", "", "http://ann:secret@"+strings.TrimPrefix(r.URL(), "http://")+"/sign-in.html")
}

func siteWithPassword(r accessRecipe) {
	ben := r.as("ben")
	ben.WaitTransport("websocket")
	ben.Say("Hello")
	r.sees(r.as("ann"), "Hello", "ben", true)
	r.in("staff/plan")
	r.closed(r.as("ben"), "not allowed")
	ann := r.as("ann")
	ann.WaitTransport("websocket")
	ann.Say("the plan")
	r.sees(r.as("ann"), "the plan", "ann", true)
	firefoxSays(r, "ann", "", "http://ann:secret@"+strings.TrimPrefix(r.URL(), "http://")+"/blog/example.html")
}

func appCookies(r accessRecipe) {
	zoe := r.open("Zoe")
	r.closed(zoe, "Sign in to write")
	if status := r.fetches(zoe, "lobby", map[string]string{"Remote-User": "ann"}); status != http.StatusUnauthorized {
		r.t.Errorf("with a forged header: %d", status)
	}
	ann := r.with("Ann", "session=ann")
	ann.WaitTransport("websocket")
	ann.Say("Hello")
	r.sees(zoe, "Hello", "Ann Archer", true)
	firefoxSays(r, "Ben Archer", "session=ben; path=/", "")
}

func appTokens(r accessRecipe) {
	zoe := r.open("Zoe")
	r.closed(zoe, "Sign in to write")
	ann := r.with("Ann", "session=ann")
	ann.WaitTransport("websocket")
	ann.Say("Hello")
	r.sees(zoe, "Hello", "ann", true)
	r.recipe.language = "js"
	r.place(r.find(r.t, "module", func(e example) bool { return e.name == "client" }))
	r.waitNoted(r.with("Ben", "session=ben"), "ben hi")
	r.sees(zoe, "hi", "ben", true)
}

// The provider changes its key: new pages come in by it, and those that are open do not notice.
func providerTokens(r accessRecipe) {
	r.place(r.find(r.t, "page with a token", func(e example) bool { return e.name == "token" }))
	r.write("token", r.app.Token(r.t, "ann", nil))
	ann := r.open("Ann")
	ann.WaitTransport("websocket")
	ann.Say("Hello")
	ann.WaitText("Hello")
	ann.ForgetStates()
	r.app.Rotate(r.t)
	r.app.Withdraw()
	r.write("token", r.app.Token(r.t, "ben", nil))
	ben := r.open("Ben")
	ben.WaitTransport("websocket")
	ben.Say("by the new key")
	r.sees(ann, "by the new key", "ben", true)
	ann.Say("still here")
	r.sees(ben, "still here", "ann", true)
	if states := ann.States(); len(states) > 0 || js[int](ann, `sockets`) != 1 {
		r.t.Errorf("Ann's page has reconnected: %q", states)
	}
}

func roomForEachUser(r accessRecipe) {
	r.in("dm/ann/inbox")
	ann, ben := r.as("ann"), r.as("ben")
	ann.WaitTransport("websocket")
	ann.Say("my notes")
	r.sees(r.as("ann"), "my notes", "ann", true)
	r.closed(ben, "not allowed")
	if status := r.fetches(ben, "dm/ann/inbox", nil); status != http.StatusCreated {
		r.t.Errorf("Ben writes to Ann: %d", status)
	}
	r.sees(ann, "hi", "ben", true)
	if texts := ben.Texts(); len(texts) > 0 {
		r.t.Errorf("Ben reads %q", texts)
	}
}

func staffWrite(r accessRecipe) {
	r.in("news/today")
	r.closed(r.open("Zoe"), "sign")
	ben := r.with("Ben", "session="+r.token("ben", `{"groups":["it"]}`))
	r.closed(ben, "You can only read here")
	ann := r.with("Ann", "session="+r.token("ann", `{"groups":["staff"],"name":"Ann Archer"}`))
	ann.WaitTransport("websocket")
	ann.Say("closed on Monday")
	r.sees(ben, "closed on Monday", "Ann Archer", true)
	firefoxSays(r, "ann", "session="+r.token("ann", `{"groups":["staff"]}`)+"; path=/", "")
}

func guests(r accessRecipe) {
	ann, bob := r.open("Ann"), r.open("Bob")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitTransport("websocket")
		p.Name(p.name)
	}
	ann.Say("today")
	r.sees(bob, "today", "Ann", false)
	ann.do(chromedp.Reload())
	ann.WaitTransport("websocket")
	ann.Say("tomorrow")
	r.sees(bob, "tomorrow", "Ann", false)
	bob.Say("and I")
	r.sees(ann, "and I", "Bob", false)
	var ids []string
	for _, from := range r.from("lobby") {
		if !strings.HasPrefix(from.ID, "~g") || !from.Guest {
			r.t.Errorf("a message is from %+v", from)
		}
		ids = append(ids, from.ID)
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		r.t.Errorf("the messages are from %q", ids)
	}
	firefoxSays(r, "", "", "")
	if all := r.from("lobby"); !all[len(all)-1].Guest {
		r.t.Errorf("in Firefox a guest is %+v", all[len(all)-1])
	}
}

type sender struct {
	ID    string
	Guest bool
}

// from are those who have written what a room holds.
func (r accessRecipe) from(room string) (all []sender) {
	r.t.Helper()
	resp, err := http.Get("http://" + r.backend + "/rt/" + room)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Messages []struct{ From sender } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		r.t.Fatal(err)
	}
	for _, m := range page.Messages {
		all = append(all, m.From)
	}
	return all
}

func linkInMail(r accessRecipe) {
	invite := r.find(r.t, "invite.html", func(e example) bool { return e.name == "file invite.html" })
	r.write("invite.html", "<!doctype html><title>Mail</title>"+invite)
	bob := r.blank("Bob")
	follow := func() {
		bob.do(chromedp.Navigate(r.URL() + "/invite.html"))
		bob.wait(`document.title === 'Mail'`)
		bob.eval(`document.querySelector('a').click()`)
		bob.wait(`location.pathname === '/rt/board/7' && location.search === ''`)
		bob.WaitTransport("websocket")
	}
	follow()
	r.closed(bob, "only read")
	writes := strings.Replace(invite, `"subscribe,history" "24h"`, `"subscribe,publish,history" "24h" "Ben B."`, 1)
	r.write("invite.html", "<!doctype html><title>Mail</title>"+writes)
	follow()
	bob.Say("I will be there")
	bob.WaitText("I will be there")
	bob.do(chromedp.Reload())
	r.sees(bob, "I will be there", "Ben B.", true)
	r.closed(r.in("board/7").open("Zoe"), "sign")
}

func backendWithKey(r accessRecipe) {
	zoe := r.in("orders/7").open("Zoe")
	r.closed(zoe, "sign in to write")
	r.post("orders/7", "paid", "Authorization: Bearer "+os.Getenv("SHOP_KEY"))
	zoe.WaitText("paid")
	if status := r.fetches(zoe, "orders/7", map[string]string{"Authorization": "Bearer " + os.Getenv("SHOP_KEY")}); status != http.StatusForbidden {
		r.t.Errorf("a page with the key: %d", status)
	}
}

func backendHere(r accessRecipe) {
	zoe := r.in("orders/7").open("Zoe")
	r.closed(zoe, "sign in to write")
	private := *r.site
	private.backend = r.app.Here("127.0.0.1:8081")
	by := *r.recipe
	by.site = &private
	by.post("orders/7", "paid")
	zoe.WaitText("paid")
}

func behindCloudflare(r accessRecipe) {
	zoe := r.open("Zoe")
	zoe.WaitTransport("websocket")
	zoe.Name("Zoe")
	zoe.Say("Hello")
	r.sees(zoe, "Hello", "Zoe", false)
	for i, want := range []int{http.StatusCreated, http.StatusTooManyRequests} {
		if status := r.fetches(zoe, "office/lunch", map[string]string{"Cf-Connecting-Ip": "192.0.2.7"}); status != want {
			r.t.Errorf("message %d from the office: %d, want %d", i, status, want)
		}
	}
	if status := r.fetches(zoe, "office/lunch", map[string]string{"Cf-Connecting-Ip": "203.0.113.5"}); status != http.StatusUnauthorized {
		r.t.Errorf("from elsewhere: %d", status)
	}
}

// firefoxSays lets Firefox sign in, by a cookie or a page that asks for a password, and write into the chat. Unless author is
// empty, the message must be by that one.
func firefoxSays(r accessRecipe, author, cookie, page string) {
	r.t.Helper()
	firefox, err := exec.LookPath("firefox-esr")
	if err != nil {
		if firefox, err = exec.LookPath("firefox"); err != nil {
			r.t.Fatal("no Firefox here: install it (Debian: apt-get install firefox-esr)")
		}
	}
	node := exec.CommandContext(r.t.Context(), "node", "firefox_recipe.mjs", firefox, r.URL()+"/blog/example.html", author, cookie, page)
	node.Env = append(os.Environ(), "HOME="+r.t.TempDir())
	if out, err := node.CombinedOutput(); err != nil {
		r.t.Errorf("Firefox: %v\n%s", err, out)
	}
}
