package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

var (
	randomMessages = flag.Int("random.messages", 120, "how many messages TestRandom publishes")
	randomSeed     = flag.Uint64("random.seed", 0, "what its faults are made of; 0: something new")
)

// clientScript has a page do what TestRandom wants, and records the results. They
// outlive the page's navigations in localStorage.
const clientScript = `
const rooms = ['random/a', 'random/b'];
window.open_ = 0;
window.outcomes = [];
window.boot = async () => {
	const { Realtime } = await import('/rt/-/realtime.js');
	window.client = new Realtime('/rt/');
	window.faults = [];
	client.addEventListener('error', ({ detail }) => faults.push(detail.status + ' ' + detail.message));
	window.subs = rooms.map((room) => {
		const sub = client.subscribe(room, { last: 1000 });
		sub.got = [];
		sub.told = [];
		sub.addEventListener('message', ({ detail }) => sub.got.push(detail.data));
		for (const type of ['gap', 'error']) sub.addEventListener(type, ({ detail }) => sub.told.push(type + ' ' + JSON.stringify(detail)));
		return sub;
	});
	return true;
};
window.say = (room, text) => {
	open_++;
	client.publish(room, text)
		.then(() => outcomes.push([text, 0]), ({ status }) => outcomes.push([text, status]))
		.finally(() => open_--);
};
`

// randomTab is a tab of TestRandom.
type randomTab struct {
	*chatPage
	frozen bool
}

func (tab *randomTab) boot() {
	tab.t.Helper()
	tab.do(chromedp.Evaluate[chromedp.Void](`boot()`, chromedp.EvalAwaitPromise))
}

func (tab *randomTab) lifecycle(state page.SetWebLifecycleStateState) {
	tab.t.Helper()
	tab.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
		return err
	}))
	tab.frozen = state == page.SetWebLifecycleStateStateFrozen
}

// outcomes are what has become of messages: their statuses, 0 for those that the
// server has acknowledged.
type outcomes map[string]int

func (all outcomes) of(tab *randomTab) {
	for _, it := range js[[][2]any](tab.chatPage, `outcomes.splice(0)`) {
		all[it[0].(string)] = int(it[1].(float64))
	}
}

// Three tabs of one browser go through random faults: nothing is lost, nothing comes
// twice, each room's messages come in the order of its log, every promise is settled,
// and every subscription is alive.
func TestRandom(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-random.seed %d -random.messages %d", seed, *randomMessages)
	random := rand.New(rand.NewPCG(seed, 1))
	s := startSite(t, "room * {\n\t\t\thistory 10000\n\t\t}")
	holder := openPage(t, s.URL()+"/e2e/blank", "no")
	tabs := make([]*randomTab, 3)
	for i := range tabs {
		tabs[i] = &randomTab{chatPage: newPage(t, fmt.Sprint("tab ", i), holder.ctx)}
		tabs[i].beforeScripts(clientScript)
		tabs[i].do(chromedp.Navigate(s.URL() + "/e2e/blank"))
		tabs[i].boot()
	}
	t.Cleanup(func() {
		for _, tab := range tabs {
			if t.Failed() {
				t.Logf("%s: %s", tab.name, js[string](tab.chatPage, `JSON.stringify([client, faults, open_, subs.map(({ told, got, cursor }) => [told, got.length, got.at(-1), cursor])])`))
			}
		}
	})
	faults := s.faults(t, random, tabs)
	ended := outcomes{}
	said := map[string][]string{} // what was said, by tab and room
	for n := range *randomMessages {
		if n%8 == 7 {
			fault := faults[(n/8+random.IntN(2))%len(faults)]
			for _, tab := range tabs {
				if !tab.frozen {
					ended.of(tab)
				}
			}
			t.Logf("%d: %s", n, fault.name)
			fault.cause()
		}
		tab := tabs[random.IntN(len(tabs))]
		if tab.frozen {
			continue
		}
		room := []string{"random/a", "random/b"}[random.IntN(2)]
		text := fmt.Sprintf("%s: %d", tab.name, n)
		tab.eval(fmt.Sprintf(`say(%q, %q)`, room, text))
		said[tab.name+" "+room] = append(said[tab.name+" "+room], text)
	}
	s.Resume()
	s.BlockUpgrade(faultproxy.UpgradePass)
	for _, tab := range tabs {
		if tab.frozen {
			tab.lifecycle(page.SetWebLifecycleStateStateActive)
		}
	}
	s.check(t, tabs, ended, said)
}

// fault is one thing that can happen.
type fault struct {
	name  string
	cause func()
}

func (s *site) faults(t *testing.T, random *rand.Rand, tabs []*randomTab) []fault {
	any := func() *randomTab {
		for {
			if tab := tabs[random.IntN(len(tabs))]; !tab.frozen {
				return tab
			}
		}
	}
	thaw := func() {
		for _, tab := range tabs {
			if tab.frozen {
				tab.lifecycle(page.SetWebLifecycleStateStateActive)
			}
		}
	}
	sign := func(cookie string) {
		tab := any()
		tab.eval(`document.cookie = '` + cookie + `; path=/'`)
		tab.eval(`document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))`)
	}
	return []fault{
		{"all connections are reset", func() { s.Cut(faultproxy.RST) }},
		{"a tab navigates", func() {
			tab := any()
			tab.do(chromedp.Navigate(s.URL() + "/e2e/blank"))
			tab.boot()
		}},
		{"a client is closed, and another made", func() {
			tab := any()
			tab.eval(`client.close()`)
			tab.wait(`open_ === 0`)
			tab.boot()
		}},
		{"a tab is frozen", func() {
			thaw() // one at a time: somebody has to be there
			any().lifecycle(page.SetWebLifecycleStateStateFrozen)
		}},
		{"nobody is connected for a while", func() {
			s.Refuse()
			s.Cut(faultproxy.FIN)
			any().wait(`client.state !== 'open'`)
			s.Resume()
		}},
		{"whoever was frozen is not", thaw},
		{"the user signs in", func() { sign("user=ann") }},
		{"no WebSocket gets through from now on", func() { s.BlockUpgrade(faultproxy.UpgradeRefused); s.Cut(faultproxy.RST) }},
		{"the user signs out", func() { sign("user=; max-age=0") }},
		{"something that is refused is asked for", func() {
			tab := any()
			tab.eval(`{
				client.subscribe('bad//room').addEventListener('error', () => {});
				client.publish('random/a', 1n).catch(() => {});
				client.publish('random/a', 'x'.repeat(300_000)).catch(() => {});
				try { subs[0].setState('x'.repeat(2000)); } catch {}
			}`)
		}},
		{"a WebSocket gets through again", func() { s.BlockUpgrade(faultproxy.UpgradePass); s.Cut(faultproxy.FIN) }},
	}
}

// logOf is what the server has of a room.
func (s *site) logOf(t *testing.T, room string) []string {
	t.Helper()
	resp, err := http.Get("http://" + s.backend + "/rt/" + room + "?last=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Messages []struct {
			Data, Key, At string
			From          any
		}
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatalf("%v: %.300s", err, body)
	}
	var texts []string
	for i, m := range page.Messages {
		if before := slices.Index(texts, m.Data); before >= 0 {
			t.Logf("twice: %v and %v", page.Messages[before], page.Messages[i])
		}
		texts = append(texts, m.Data)
	}
	return texts
}

func (s *site) check(t *testing.T, tabs []*randomTab, ended outcomes, said map[string][]string) {
	t.Helper()
	for _, tab := range tabs {
		tab.wait(`client.state === 'open' && open_ === 0`)
		tab.wait(`rooms.every((room) => client.pending(room).length === 0)`)
		ended.of(tab)
	}
	for i, room := range []string{"random/a", "random/b"} {
		last := "the last in " + room
		s.post(t, room, quote(last))
		for _, tab := range tabs {
			tab.wait(fmt.Sprintf(`subs[%d].got.includes(%q)`, i, last))
		}
		log := s.logOf(t, room)
		for _, tab := range tabs {
			if got := js[[]string](tab.chatPage, fmt.Sprintf(`subs[%d].got`, i)); !slices.Equal(got, log) {
				t.Errorf("%s has of %s %d messages\n%q\nand the server %d\n%q", tab.name, room, len(got), got, len(log), log)
			}
			if told := js[[]string](tab.chatPage, fmt.Sprintf(`subs[%d].told`, i)); len(told) > 0 {
				t.Errorf("%s is told in %s: %q", tab.name, room, told)
			}
			checkLog(t, log, said[tab.name+" "+room], ended)
		}
	}
}

// checkLog wants each message of a tab once if it was acknowledged, at most once
// otherwise, and in the order in which it was said.
func checkLog(t *testing.T, log, said []string, ended outcomes) {
	t.Helper()
	before := -1
	for _, text := range said {
		n, at := 0, slices.Index(log, text)
		for _, it := range log {
			if it == text {
				n++
			}
		}
		status, known := ended[text]
		switch {
		case n > 1:
			t.Errorf("%q is there %d times", text, n)
		case n == 0 && known && status == 0:
			t.Errorf("%q was acknowledged and is not there", text)
		case n == 0 && known && status != 499:
			t.Errorf("%q was refused with %d", text, status)
		case n == 1 && at < before:
			t.Errorf("%q is there before what was said before it", text)
		}
		before = max(before, at)
	}
}
