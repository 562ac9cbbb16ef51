package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// fill publishes n numbered messages in a room, past the proxy.
func (s *site) fill(t *testing.T, room string, n int) {
	t.Helper()
	for i := 1; i <= n; {
		var lines strings.Builder
		for end := i + 500; i < end && i <= n; i++ {
			data := map[string]string{"text": fmt.Sprintf("message %d%s", i, strings.Repeat(" and more", i%7)), "name": fmt.Sprint("Person ", i/3%5)}
			line, err := json.Marshal(map[string]any{"op": "publish", "room": room, "data": data})
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
		resp, err := http.Post("http://"+s.backend+"/rt/", "application/x-ndjson", strings.NewReader(lines.String()))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || strings.Contains(string(answer), `"error"`) {
			t.Fatalf("%s: %.300s", resp.Status, answer)
		}
	}
}

// measure runs before the page's scripts: it notes how long frames take, how
// many messages are elements, and how many become ones at once.
const measure = `window.frames50 = []; window.tasks = []; window.most = 0; window.atOnce = 0;
new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) tasks.push(duration); }).observe({ type: 'longtask', buffered: true });
new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) frames50.push(duration); }).observe({ type: 'long-animation-frame', buffered: true });
window.seen = new Set();
window.number = (text) => parseInt(text.slice(8));
window.look = () => texts().forEach((text) => seen.add(number(text)));
window.watchLog = () => new MutationObserver((changes) => {
	look(); // at each change: on a busy machine there are several between two frames of climb
	most = Math.max(most, parts('message').length);
	atOnce = Math.max(atOnce, changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0));
}).observe(part('log'), { childList: true });
window.climb = async (until) => {
	look();
	let still = 0;
	for (;;) {
		const first = number(texts()[0]);
		if (first <= until) break;
		part('log').scrollTop = 0;
		await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
		still = number(texts()[0]) === first ? still + 1 : 0;
		if (still > 2000) break;
	}
	window.climbed = [...seen].sort((a, b) => a - b);
};`

// The reader of a room of 10,000 messages scrolls back to the first one: the element
// keeps a bounded number of nodes, adds few at once, asks for small pages, and every
// message comes by. How long frames took is printed; on a machine with other work a
// test cannot rely on it.
func TestLongHistory(t *testing.T) {
	const all = 10_000
	s := startSite(t, "room load/* {\n\t\t\thistory 10000\n\t\t\trate off\n\t\t}", "history_memory 100MiB")
	s.fill(t, "load/x", all)
	end := all
	for _, test := range []struct {
		name, history string
		until         int
	}{
		{"asked for in pages", "50", all - 1500},
		{"a thousand at once, then all", "1000", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			ann := openPage(t, s.URL()+"/e2e/blank", "Ann")
			ann.beforeScripts(measure)
			ann.do(chromedp.Navigate(s.URL() + "/e2e/chat?room=load/x&history=" + test.history))
			ann.wait(`part('log')`)
			ann.eval(`watchLog()`)
			ann.wait(`texts().at(-1)?.startsWith('message ` + fmt.Sprint(end) + `') && part('log').role === 'log'`)
			ann.report(t, "loading the page and "+test.history+" messages")
			ann.eval(fmt.Sprintf(`void climb(%d)`, test.until))
			ann.wait(`window.climbed`)
			ann.report(t, "scrolling back")
			climbed := js[[]int](ann, `climbed`)
			if want := end - climbed[0] + 1; climbed[0] > test.until || len(climbed) != want {
				t.Errorf("%d messages came by, from %d on; want all %d", len(climbed), climbed[0], want)
			}
			if most := js[int](ann, `most`); most > 200 {
				t.Errorf("up to %d messages were elements at one time", most)
			}
			if n := js[int](ann, `atOnce`); n > 200 {
				t.Errorf("up to %d elements were added at once", n)
			}
			if nodes := js[int](ann, `chat.shadowRoot.querySelectorAll('*').length`); nodes > 2500 {
				t.Errorf("the element has %d nodes", nodes)
			}
			for _, request := range js[[]string](ann, `performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.includes('before='))`) {
				if !strings.Contains(request, "limit=50") {
					t.Errorf("a page of history was asked for with %s", request)
				}
			}
			// And down again at once.
			ann.eval(`part('jump').click()`)
			ann.wait(`texts().at(-1).startsWith('message ` + fmt.Sprint(end) + `') && part('log').scrollHeight - part('log').scrollTop - part('log').clientHeight < 2`)
			end++
			s.post(t, "load/x", fmt.Sprintf(`{"text":"message %d","name":"Zoe"}`, end))
			ann.wait(fmt.Sprintf(`texts().at(-1) === 'message %d'`, end))
			if got := js[bool](ann, `texts().every((text, i, all) => i === 0 || parseInt(text.slice(8)) === parseInt(all[i - 1].slice(8)) + 1)`); !got {
				t.Errorf("the end of the log is %q", ann.Texts())
			}
		})
	}
}

// report logs what was measured since the last report.
func (p *chatPage) report(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %s", what, js[string](p, `[
		parts('message').length + ' messages are elements',
		'at most ' + most + ', and ' + atOnce + ' at once',
		frames50.length + ' frames over 50 ms' + (frames50.length ? ', the longest ' + Math.round(Math.max(...frames50)) + ' ms' : ''),
		tasks.length + ' tasks over 50 ms' + (tasks.length ? ', the longest ' + Math.round(Math.max(...tasks)) + ' ms' : ''),
	].join('; ')`))
	p.eval(`frames50.length = tasks.length = 0`)
}
