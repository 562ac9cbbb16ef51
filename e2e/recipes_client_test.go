package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/chromedp/chromedp"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
	"github.com/caddy-realtime/realtime/scripts"
)

func TestReadmeDocument(t *testing.T) {
	d := readDocument(t, "README.md")
	d.examples = slices.DeleteFunc(d.examples, func(e example) bool { return e.name == "" }) // TestDocsExamples runs these
	d.run(t, map[string]func(*recipe){
		"chat":   twoPeopleChat,
		"client": func(r *recipe) { r.wantNoted(r.open("Ann"), "hi") },
	})
}

func TestGettingStartedDocument(t *testing.T) {
	readDocument(t, "docs/GETTING-STARTED.md").run(t, map[string]func(*recipe){
		"chat": func(r *recipe) {
			twoPeopleChat(r)
			zoe := r.open("Zoe")
			zoe.WaitText("Hello Ann")
			r.shell("Hello from a terminal")
			zoe.WaitText("Hello from a terminal")
			if got := js[string](zoe, `parts('author').at(-1).textContent`); got != "Guest" {
				r.t.Errorf("the terminal's name is %q", got)
			}
		},
	})
}

func TestClientDocument(t *testing.T) {
	d := readDocument(t, "docs/CLIENT.md")
	d.examples = slices.DeleteFunc(d.examples, func(e example) bool { return e.language == "ts" }) // TestClientTypes compiles these
	d.run(t, map[string]func(*recipe){
		"load": func(r *recipe) {
			r.open("Ann").wait(`document.title === 'idle'`)
		},
		"hashed":    clientHashed,
		"page":      clientPage,
		"state":     clientState,
		"subscribe": clientSubscribe,
		"abort": func(r *recipe) {
			ann := r.open("Ann")
			r.waitMembers("news", "1")
			r.post("news", "one")
			r.waitNoted(ann, "one")
			r.post("news", "two")
			eventually(r.t, "news holds both", func() bool { return len(r.holds("news")) == 2 })
			r.waitMembers("news", "0")
			r.wantNoted(ann, "one")
		},
		"outbox": func(r *recipe) {
			ann := r.open("Ann")
			r.waitNoted(ann, "stored true true")
			r.waitNoted(ann, "came back hi")
			if first := js[string](ann, `noted[0]`); first != "waits 1 true" {
				r.t.Errorf("first it logs %q", first)
			}
			r.waitHolds("lobby", `{"text":"hi"}`)
		},
		"token": func(r *recipe) {
			r.caddyfile = strings.Replace(r.caddyfile, "\trealtime\n", "\trealtime {\n\t\t"+tokens+"\n\t}\n", 1)
			r.load()
			r.write("token", token(r.t, "ann", "Ann", time.Hour))
			r.waitNoted(r.open("Ann"), "open Ann")
		},
		"presence":    clientPresence,
		"signal":      clientSignal,
		"history":     clientHistory,
		"socket":      clientSocket,
		"eventsource": clientPlain,
		"websocket":   clientPlain,
		"htmx":        clientHTMX,
		"hub.js":      func(*recipe) {}, // of the apps
		"Room.jsx":    clientApp,
		"Room.vue":    clientApp,
		"Room.svelte": clientApp,
		"elsewhere":   clientElsewhere,
	})
}

// clientHashed loads a script by its hash, and one whose hash is wrong.
func clientHashed(r *recipe) {
	chat := asset("realtime-chat.js")
	r.place(strings.NewReplacer("realtime-chat.3f9a1c07b2.js", chat.Hashed, "sha384-…", chat.Integrity).Replace(r.text))
	ann := r.open("Ann")
	ann.WaitTransport("websocket")
	if !js[bool](ann, `performance.getEntriesByType('resource').every(({ name }) => !name.includes('/rt/-/') || /\.[0-9a-f]{10}\.js$/.test(name))`) {
		r.t.Error("something is loaded by its name without a hash")
	}
	r.place(strings.ReplaceAll(r.text, "sha384-…", chat.Integrity))
	bob := r.open("Bob") // no such hash
	bob.wait(`document.readyState === 'complete' && !customElements.get('realtime-chat')`)
}

// clientHTMX swaps what messages hold into a page.
func clientHTMX(r *recipe) {
	for to, from := range map[string]string{"htmx.min.js": "htmx.org/dist/htmx.min.js", "sse.js": "htmx-ext-sse/dist/sse.js"} {
		r.write(to, r.pack(from))
	}
	r.shell("Order <b>7</b>")
	ann := r.open("Ann")
	ann.wait(lines + ` === 'Order 7 is paid' && document.querySelector('li b')`)
	r.post("staff/orders", "<li>Order 8</li>")
	ann.wait(lines + ` === 'Order 7 is paid|Order 8'`)
}

// asset is a script that Caddy serves.
func asset(name string) *scripts.Asset {
	all := scripts.Assets()
	return all[slices.IndexFunc(all, func(a *scripts.Asset) bool { return a.Name == name })]
}

// waitMembers waits until a room has so many, as Caddy itself says.
func (r *recipe) waitMembers(room, want string) {
	r.t.Helper()
	eventually(r.t, room+" has "+want+" members", func() bool {
		resp, err := http.Head("http://" + r.backend + "/rt/" + room)
		if err != nil {
			r.t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header.Get("Realtime-Members") == want
	})
}

// pack reads a file of a package.
func (r *recipe) pack(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/recipes/node_modules", name))
	if err != nil {
		r.t.Skip("packages are missing: run npm ci --prefix e2e/testdata/recipes")
	}
	return string(text)
}

// Messages come in order and once, through a restart, after which the page shows a gap;
// and what was written meanwhile arrives.
func clientPage(r *recipe) {
	ann, bob := r.open("Ann"), r.open("Bob")
	for _, p := range []*chatPage{ann, bob} {
		p.wait(`document.querySelector('#state').textContent === 'open'`)
	}
	enterText(ann, "input", "Hello")
	bob.wait(lines + ` === 'Hello'`)
	enterText(bob, "input", "Hello <b>Ann</b>")
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'Hello|Hello <b>Ann</b>'`)
	}
	r.restart(func() {
		ann.wait(`document.querySelector('#state').textContent !== 'open'`)
		enterText(ann, "input", "while it was away")
		enterText(ann, "input", "and more")
	})
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'Hello|Hello <b>Ann</b>|while it was away|and more'`)
		p.wait(`document.querySelector('#log').textContent.split('Messages are missing here.').length === 2`)
	}
	r.waitHolds("lobby", `"while it was away"`, `"and more"`)

	// A reload begins with the last messages.
	ann.do(chromedp.Reload())
	ann.wait(lines + ` === 'while it was away|and more'`)
}

func clientState(r *recipe) {
	ann := r.open("Ann")
	r.waitNoted(ann, "open sse 0")
	if js[int](ann, `sockets`) != 0 {
		r.t.Error("it tries WebSocket, which is not among the transports")
	}
	r.Refuse()
	r.Cut(faultproxy.RST)
	ann.wait(`noted.some((line) => /^waiting  again in \d+ s$/.test(line))`)
	r.Resume()
	ann.wait(`/^open (sse|poll) 0$/.test(noted.at(-1))`)
	if first := js[string](ann, `noted[0]`); first != "connecting  0" {
		r.t.Errorf("first it logs %q", first)
	}
}

func clientSubscribe(r *recipe) {
	r.post("news", "old")
	ann := r.open("Ann")
	r.waitNoted(ann, "joined publish,signal,history,presence")
	r.waitNoted(ann, "message old anonymous true true")
	r.post("news", `{"gate":7}`, "Content-Type: application/json", "Realtime-Event: gate")
	r.waitNoted(ann, "gate [object Object] anonymous true true")
	r.wantNoted(ann, "joined publish,signal,history,presence", "message old anonymous true true", "gate [object Object] anonymous true true")

	// A room that cannot be joined.
	r.place(strings.ReplaceAll(r.text, "'news'", "'news/'"))
	bob := r.open("Bob")
	bob.wait(`noted[0]?.startsWith('bad room name')`)
}

func clientPresence(r *recipe) {
	ann := r.open("Ann")
	r.waitNoted(ann, "1 Ann")
	r.place(strings.ReplaceAll(r.text, "'Ann'", "'Bob'"))
	bob := r.open("Bob")
	r.waitNoted(ann, "2 Ann,Bob")
	r.waitNoted(bob, "2 Ann,Bob")
	js[any](bob, `document.onclick()`)
	eventually(r.t, "Bob is away", func() bool {
		resp, err := http.Get("http://" + r.backend + "/rt/deck?members")
		if err != nil {
			r.t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(body), `{"name":"Bob","away":true}`)
	})
	js[any](bob, `document.title = 'before the reload'`)
	bob.do(chromedp.Reload())
	bob.wait(`noted.includes('2 Ann,Bob')`)
	if got := js[bool](ann, `noted.some((line) => line.includes('timeout') || line.includes('left'))`); got {
		r.t.Errorf("a reload is a leaving: %q", js[[]string](ann, `noted`))
	}
	bob.end()
	r.waitMembers("deck", "1")
	ann.wait(`/^1 Ann (left|timeout)$/.test(noted.at(-1))`)
}

func clientSignal(r *recipe) {
	ann, bob := r.open("Ann"), r.open("Bob")
	r.waitMembers("lobby", "2")
	ann.Press("a")
	r.wantNoted(bob, "typing Ann")
	r.post("lobby", "Zoe")
	r.waitHolds("lobby", `"Zoe"`)
	r.wantNoted(ann)
}

func clientHistory(r *recipe) {
	for i := range 13 {
		r.post("news", fmt.Sprint(i))
	}
	r.wantNoted(r.open("Ann"), "3,4,5,6,7,8,9,10,11,12", "0,1,2")
}

func clientSocket(r *recipe) {
	r.post("lobby", `{"a": 1}`, "Content-Type: application/json")
	ann := r.open("Ann")
	shown := `document.querySelector('#log').textContent`
	ann.wait(shown + ` === '{"a":1}\nI am here\n'`)
	r.Cut(faultproxy.RST)
	r.post("lobby", "meanwhile")
	ann.wait(shown + ` === '{"a":1}\nI am here\nmeanwhile\n'`)

	// What the document says about the interface.
	r.place(`<script type="module">
import { RealtimeSocket } from '/rt/-/realtime-socket.js'
const socket = new RealtimeSocket(location.origin.replace('http', 'ws') + '/rt/other')
socket.binaryType = 'arraybuffer'
console.log(socket.readyState, socket.url.endsWith('/rt/other'), socket.protocol, socket.extensions)
socket.send('early')
socket.send(new Uint8Array([1, 2, 255]))
socket.send(new Blob(['blob'], { type: 'image/png' }))
let n = 0
socket.onopen = () => console.log('open', socket.readyState)
socket.onmessage = ({ data }) => {
  console.log(typeof data == 'string' ? data : new Uint8Array(data).join())
  if (++n == 3) { socket.send('last'); socket.close() }
}
socket.onclose = ({ code, wasClean }) => console.log('close', code, wasClean, socket.readyState, socket.bufferedAmount)
</script>`)
	bob := r.open("Bob")
	r.waitNoted(bob, "close 1005 true 3 0")
	want := []string{"0 true", "open 1", "early", "1,2,255", "98,108,111,98"}
	if got := js[[]string](bob, `noted`); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		r.t.Errorf("it logs\n\t%s", strings.Join(got, "\n\t"))
	}
	js[any](bob, `import('/rt/-/realtime-socket.js').then(({ RealtimeSocket }) => {
		const refused = new RealtimeSocket('/rt/no/room/');
		refused.onclose = ({ code, wasClean }) => console.log('refused', code, wasClean);
	}), 0`)
	r.waitNoted(bob, "refused 4400 false")
	r.waitHolds("other", `"early"`, `{"base64":"AQL/","type":"application/octet-stream"}`, `{"base64":"YmxvYg==","type":"image/png"}`, `"last"`)
}

// Without our script: it reads, writes, and comes back.
func clientPlain(r *recipe) {
	r.post("lobby", "old")
	ann, bob := r.open("Ann"), r.open("Bob")
	ann.wait(lines + ` === 'old'`)
	bob.wait(lines + ` === 'old'`)
	r.waitMembers("lobby", "2")
	enterText(ann, "input", "<b>Hi</b>")
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'old|<b>Hi</b>'`)
	}
	r.Refuse()
	r.Cut(faultproxy.RST)
	r.post("lobby", "meanwhile")
	r.Resume()
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'old|<b>Hi</b>|meanwhile'`)
	}
}

// The apps read and write a room, go to another, and leave it at their end.
func clientApp(r *recipe) {
	r.pack("svelte/package.json")
	for _, name := range []string{"hub.js", r.name} {
		r.write(name, r.find(r.t, name, func(e example) bool { return e.name == name }))
	}
	r.write("realtime.js", string(asset("realtime.js").Bytes("")))
	cmd := exec.CommandContext(r.t.Context(), "node", "testdata/recipes/build.mjs", r.dir, r.name)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		r.t.Fatalf("build.mjs: %v\n%s", err, out)
	}
	r.write("blog/example.html", "<!doctype html><meta charset=utf-8><title>App</title><div id=app></div><script type=module src=/main.js></script>")
	r.post("one", "old")
	ann, bob := r.open("Ann"), r.open("Bob")
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'old'`)
	}
	r.waitMembers("one", "2")
	js[any](ann, `document.querySelector('button').click()`)
	for _, p := range []*chatPage{ann, bob} {
		p.wait(lines + ` === 'old|Hi'`)
	}
	r.post("two", "elsewhere")
	js[any](ann, `show('two')`)
	ann.wait(lines + ` === 'elsewhere'`)
	r.waitMembers("one", "1")
	r.waitMembers("two", "1")
	r.post("one", "not for Ann")
	r.post("two", "for Ann")
	ann.wait(lines + ` === 'elsewhere|for Ann'`)
	bob.wait(lines + ` === 'old|Hi|not for Ann'`)
	js[any](ann, `show('')`)
	r.waitMembers("two", "0")
	if n := js[int](ann, `sockets`); n != 1 {
		r.t.Errorf("%d WebSockets", n)
	}
}

// Pages of a site that is named use the rooms of another.
func clientElsewhere(mine *recipe) {
	t := mine.t
	caddyfile := mine.find(t, "Caddyfile with origins", func(e example) bool {
		return e.language == "caddyfile" && strings.Contains(e.text, "origins https://app.example.com")
	})
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	r := mine.prepare(t, mine.example, "")
	app := r.another(t)
	r.caddyfile = strings.NewReplacer("chat.example.com {", docURL+" {\n\troot * .\n\tfile_server", "https://app.example.com", app.URL()).Replace(caddyfile)
	r.load()
	r.place(strings.ReplaceAll(r.text, "https://chat.example.com", r.URL()))

	ann := r.blank("Ann")
	ann.do(chromedp.Navigate(app.URL() + "/blog/example.html"))
	ann.WaitTransport("websocket")
	ann.Name("Ann")
	ann.Say("from elsewhere")
	ann.WaitExactly("from elsewhere")
	r.post("lobby", "news")
	ann.wait(`document.title === 'news'`)
	if got := js[string](ann, `chat.src`); got != r.URL()+"/rt/" {
		t.Errorf("the rooms are at %s", got)
	}
}
