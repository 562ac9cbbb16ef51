package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

const tokenSecret = "a secret of at least thirty-two bytes"

// tokens is an option: users show tokens, which end when they say.
const tokens = "jwt {\n\t\t\tsecret \"" + tokenSecret + "\"\n\t\t\tleeway off\n\t\t}"

// token returns a user's token.
func token(t *testing.T, user, name string, life time.Duration) string {
	t.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": user, "name": name, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// An issuer is the server of an app, which gives its user tokens.
type issuer struct {
	*httptest.Server
	life   atomic.Int64 // of a token
	issued atomic.Int64
	refuse atomic.Bool // answers 503
}

func newIssuer(t *testing.T, user, name string, life time.Duration) *issuer {
	t.Helper()
	i := new(issuer)
	i.life.Store(int64(life))
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if i.refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		i.issued.Add(1)
		fmt.Fprintln(w, token(t, user, name, time.Duration(i.life.Load())))
	}))
	t.Cleanup(i.Close)
	return i
}

// read makes a client with a token by the issuer, which reads the room of the test.
func (p *chatPage) read(url, room string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`import('/rt/-/realtime.js').then(({ Realtime }) => {
		const ask = async () => {
			const answer = await fetch('`+url+`');
			if (!answer.ok) throw answer;
			return (await answer.text()).trim();
		};
		Object.assign(window, { got: [], changes: [], faults: [], rt: new Realtime('/rt/', { token: ask }) });
		rt.addEventListener('statechange', ({ detail }) => changes.push(detail.state));
		rt.addEventListener('error', ({ detail }) => faults.push(detail.status + ' ' + detail.title));
		rt.subscribe('`+room+`', { last: 100 }).addEventListener('message', ({ detail }) => got.push(detail.data + ' ' + (detail.from?.name ?? '')));
	})`, chromedp.EvalAwaitPromise))
	p.wait(`rt.state === 'open'`)
}

// A page's user is the one of its token, over each transport. The token is renewed before it
// ends, and over a WebSocket or a stream that is no break.
func TestTokens(t *testing.T) {
	caddy := startSite(t, tokens, "allow publish users")
	for _, test := range ways {
		t.Run(test.transport, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			app := newIssuer(t, "ann", "Ann", 5*time.Second)
			ann := openPage(t, s.URL()+"/e2e/blank?foreign", "Ann")
			ann.read(app.URL, room(t))
			if got := js[string](ann, `rt.transport + ' ' + rt.user.name`); got != test.transport+" Ann" {
				t.Errorf("connected as %q", got)
			}
			ann.eval(`changes.length = 0`)
			var want []string
			for begun, n := time.Now(), 0; time.Since(begun) < 12*time.Second; n++ {
				text := fmt.Sprint("message ", n)
				want = append(want, text+" Ann")
				ann.do(chromedp.Evaluate[chromedp.Void](`rt.publish(`+quote(room(t))+`, `+quote(text)+`)`, chromedp.EvalAwaitPromise))
				ann.wait(fmt.Sprintf(`got.length === %d`, n+1))
			}
			if got := js[[]string](ann, `got`); !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
			if changes := js[[]string](ann, `changes`); test.transport != "poll" && len(changes) > 0 {
				t.Errorf("the connection was %q", changes)
			}
			if n := app.issued.Load(); n < 3 {
				t.Errorf("%d tokens were issued", n)
			}
			ann.wait(`faults.length === 0`)
		})
	}
}

// A token that ends while the app gives none is followed by another, when there is one: nothing
// is lost, nothing comes twice. An app that gives bad ones is told so.
func TestTokensExpire(t *testing.T) {
	s := startSite(t, tokens)
	app := newIssuer(t, "ann", "Ann", 4*time.Second)
	ann := openPage(t, s.URL()+"/e2e/blank?foreign", "Ann")
	ann.read(app.URL, room(t))
	app.refuse.Store(true)
	ann.wait(`changes.at(-1) === 'waiting' || changes.at(-1) === 'connecting'`)
	ann.eval(`rt.publish(` + quote(room(t)) + `, 'typed')`)
	s.post(t, room(t), `"meanwhile"`)
	app.refuse.Store(false)
	ann.wait(`got.includes('typed Ann') && got.includes('meanwhile ') && rt.state === 'open'`)
	if got := js[[]string](ann, `got`); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	app.life.Store(int64(-time.Hour))
	s.Cut(faultproxy.RST)
	ann.wait(`rt.state === 'closed'`)
	if got := js[[]string](ann, `faults`); !slices.Equal(got, []string{"401 refused"}) {
		t.Errorf("told %q", got)
	}
	if n := app.issued.Load(); n > 8 {
		t.Errorf("%d tokens were asked for", n)
	}
}

// Tabs of one user share a connection, and another takes it over with a token of its own. A
// tab of another user has its own.
func TestTokensTabs(t *testing.T) {
	s := startSite(t, tokens)
	holder := openPage(t, s.URL()+"/e2e/blank", "no")
	app, other := newIssuer(t, "ann", "Ann", time.Minute), newIssuer(t, "ben", "Ben", time.Minute)
	first, second, ben := holder.Tab(s.URL()+"/e2e/blank?foreign", "first"), holder.Tab(s.URL()+"/e2e/blank?foreign", "second"), holder.Tab(s.URL()+"/e2e/blank?foreign", "Ben")
	first.read(app.URL, room(t))
	second.read(app.URL, room(t))
	if n := s.Upgrades(); n != 1 {
		t.Errorf("%d connections", n)
	}
	ben.read(other.URL, room(t))
	for _, p := range []*chatPage{first, second, ben} {
		p.eval(`rt.publish(` + quote(room(t)) + `, ` + quote("by "+p.name) + `)`)
	}
	for _, p := range []*chatPage{first, second, ben} {
		p.wait(`['by first Ann', 'by second Ann', 'by Ben Ben'].every((it) => got.includes(it))`)
	}
	first.end()
	second.eval(`rt.publish(` + quote(room(t)) + `, 'alone')`)
	ben.wait(`got.includes('alone Ann')`)
	second.wait(`got.length === 4 && rt.user.id === 'ann'`)
}

// The chat marks names that the server has verified. No name that somebody has chosen has such a mark.
func TestVerifiedNames(t *testing.T) {
	s := startSite(t, tokens)
	chosen := []string{"Ann", "Ann ✓", "Ann✔\ufe0f", "Ann ✅", "✓ Ann", "Ann\u202e ✓\u202c", "\u2067✓\u2069Ann", "Аnn ☑"}
	for _, name := range chosen {
		s.publish(t, name, "by "+name)
	}
	app := newIssuer(t, "ann", "Ann", time.Hour)
	ann := openPage(t, s.URL()+"/e2e/blank?foreign", "Ann")
	ann.do(chromedp.Evaluate[chromedp.Void](`import('/rt/-/realtime-chat.js').then(() => {
		const chat = document.createElement('realtime-chat');
		chat.setAttribute('room', `+quote(room(t))+`);
		chat.setAttribute('token-url', `+quote(app.URL)+`);
		document.body.append(chat);
	})`, chromedp.EvalAwaitPromise))
	ann.WaitTransport("websocket")
	bob := openPage(t, s.address(t), "Bob")
	bob.WaitTransport("websocket")
	bob.wait(`part('log').role === 'log'`) // the history is in
	ann.Say("it is me")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitText("it is me")
		const mark = `getComputedStyle(node, '::after').content`
		marks := js[[]string](p, `parts('author').map((node) => node.textContent + ' ' + `+mark+`)`)
		for _, got := range marks[:len(chosen)] {
			if got != "Ann none" && got != "Аnn none" {
				t.Errorf("%s sees %q by somebody", p.name, got)
			}
		}
		if got := marks[len(chosen)]; got != `Ann "✓"` {
			t.Errorf("%s sees %q by Ann", p.name, got)
		}
	}
	bob.wait(`parts('author').some((node) => node.title === 'ann' && getComputedStyle(node, '::after').backgroundColor !== 'rgba(0, 0, 0, 0)')`)
	ann.wait(`part('name').getClientRects().length === 0 && parts('own').length === 1`)
	bob.wait(`part('list').querySelector('.verified')?.textContent === 'Ann'`)
	bob.wait(`part('news').textContent.includes('Ann ✓: it is me')`)
}
