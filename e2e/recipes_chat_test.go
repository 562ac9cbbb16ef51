package e2e

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

func TestChatDocument(t *testing.T) {
	readDocument(t, "docs/CHAT.md").run(t, map[string]func(*recipe){
		"two": func(r *recipe) {
			twoPeopleChat(r)
			ann := r.open("Zoe")
			ann.WaitText("Hello Ann")
			r.shell("Hello from a terminal")
			r.shell("Hello from a bot")
			ann.WaitText("Hello from a terminal")
			ann.WaitText("Hello from a bot")
			if got := js[string](ann, `parts('author').at(-1).textContent`); got != "Bot" {
				r.t.Errorf("the bot's name is %q", got)
			}
			ann.Name("Zoe")
			ann.Say("mine")
			ann.WaitText("mine")
			js[any](ann, `part('input').focus()`)
			ann.Type("half a sente")
			ann.wait(`Object.keys(localStorage).length === 3 && Object.keys(sessionStorage).length === 2`)
			stored := js[string](ann, `[...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie].sort().join('|').replace(location.origin, '')`)
			if want := "|realtime.v1/rt/1|realtime:mine|realtime:name|realtime:read lobby|realtime:text lobby"; stored != want {
				r.t.Errorf("the browser has stored %s, want %s", stored, want)
			}
			r.post("lobby", "hidden", "Realtime-Event: order")
			r.post("lobby", `{"gate":7}`, "Content-Type: application/json")
			ann.WaitText(`{"gate":7}`)
			if slices.Contains(ann.Texts(), "hidden") {
				r.t.Error("a message with an event of its own is shown")
			}
		},
		"path":     chatPath,
		"name":     chatName,
		"bubble":   chatBubble,
		"words":    chatWords,
		"slots":    chatSlots,
		"styled":   chatStyled,
		"policy":   chatPolicy,
		"script":   chatScript,
		"fallback": chatFallback,
		"ticker":   valueTicker,
		"seats":    valueSeats,
	})
}

// Two people talk, see each other, and what they write without a network is
// sent when there is one.
func twoPeopleChat(r *recipe) {
	ann, bob := r.open("Ann"), r.open("Bob")
	for _, p := range []*chatPage{ann, bob} {
		p.WaitTransport("websocket")
		p.Name(p.name)
		p.WaitMembers(2)
	}
	ann.Say("Hello")
	bob.WaitText("Hello")
	js[any](bob, `part('input').focus()`)
	bob.Type("Hello Ann")
	ann.wait(`part('typing').textContent.includes('Bob')`)
	bob.Press(kb.Enter)
	r.Refuse()
	r.Cut(faultproxy.RST)
	ann.wait(`part('status').textContent !== ''`)
	ann.Say("written without a network")
	ann.WaitPending(1)
	r.Resume()
	for _, p := range []*chatPage{ann, bob} {
		p.WaitText("written without a network")
		p.wait(`part('status').textContent === ''`)
	}
}

func chatPath(r *recipe) {
	_, table, _ := strings.Cut(readAllOf(r.t, r.file), "| page | room |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) != 5 {
		r.t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(row, "`")
		path, room := cells[1], cells[3]
		file, err := url.PathUnescape(path)
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.HasSuffix(path, "/") {
			file += "index.html"
		}
		if path == "/blog/first/" {
			r.write("blog/first/index.html", r.text)
		}
		r.write(file, r.text)
		p := r.blank(path)
		p.do(chromedp.Navigate(r.URL() + path))
		p.WaitState("open")
		if got := js[string](p, `chat.room`); got != room {
			r.t.Errorf("the room of %s is %q, want %q", path, got, room)
		}
		p.end()
	}
}

func readAllOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func chatName(r *recipe) {
	ann := r.open("Ann")
	ann.WaitState("open")
	ann.wait(`!part('name').checkVisibility()`)
	ann.Say("hi")
	r.waitHolds("lobby", `{"text":"hi","name":"Ann"}`)
}

func chatBubble(r *recipe) {
	ann := r.open("Ann")
	ann.WaitState("open")
	ann.wait(`part('toggle').textContent === 'Ask us' && !part('panel').checkVisibility()`)
	if got := js[string](ann, `getComputedStyle(chat).position + ' ' + getComputedStyle(chat).zIndex`); got != "fixed 999" {
		r.t.Errorf("it is %s", got)
	}
	ann.wait(`part('log').role === 'log'`)
	r.post("help", "one")
	r.post("help", "two")
	ann.wait(`part('badge').textContent === '2'`)
	js[any](ann, `part('toggle').click()`)
	ann.wait(`part('panel').checkVisibility() && part('badge').textContent === '' && chat.shadowRoot.activeElement === part('input')`)
	ann.Press(kb.Escape)
	ann.wait(`!part('panel').checkVisibility()`)
	js[any](ann, `{
		const style = document.createElement('style');
		style.textContent = 'realtime-chat { z-index: 5 }';
		document.head.append(style);
		chat.form = 'full';
	}`)
	ann.wait(`part('panel').checkVisibility() && Math.abs(part('panel').getBoundingClientRect().height - innerHeight) < 2`)
	if got := js[string](ann, `getComputedStyle(chat).zIndex`); got != "5" {
		r.t.Errorf("z-index %s", got)
	}
}

func chatWords(r *recipe) {
	ann := r.open("Ann")
	ann.wait(`part('title')?.textContent === 'Stammtisch' && part('send').ariaLabel === 'Los' && part('input').placeholder === 'Nachricht'`)
	for lang, want := range map[string]string{"fr": "Message", "es-MX": "Mensaje", "zh": "消息", "ar": "رسالة", "en": "Message"} {
		js[any](ann, `chat.lang = '`+lang+`'`)
		ann.wait(`part('input').placeholder === ` + quote(want))
	}
	js[any](ann, `chat.lang = 'ar'`)
	ann.wait(`getComputedStyle(part('input')).direction === 'rtl' || getComputedStyle(part('panel')).direction === 'rtl'`)
}

func chatSlots(r *recipe) {
	ann := r.open("Ann")
	ann.WaitState("open")
	ann.wait(`['header', 'empty', 'composer'].every((name) => document.querySelector('[slot=' + name + ']').checkVisibility()) && !part('input')?.checkVisibility()`)
	js[any](ann, `document.querySelector('button').click()`)
	ann.WaitText("I need help.")
	ann.wait(`!document.querySelector('[slot=empty]').checkVisibility()`)
}

func chatStyled(r *recipe) {
	ann := r.open("Ann")
	ann.Look(false, true)
	ann.WaitState("open")
	ann.Say("mine")
	ann.WaitText("mine")
	for expression, want := range map[string]string{
		`getComputedStyle(parts('own')[0].querySelector('[part~=text]')).backgroundColor`: "rgb(120, 40, 160)",
		`getComputedStyle(part('send')).backgroundColor`:                                  "rgb(120, 40, 160)",
		`getComputedStyle(part('panel')).borderRadius`:                                    "0px",
		`getComputedStyle(part('panel')).backgroundColor`:                                 "rgb(255, 255, 255)",
		`part('panel').offsetHeight + 'px'`:                                               "320px",
		`getComputedStyle(part('header')).display`:                                        "none",
		`getComputedStyle(parts('own')[0]).fontWeight`:                                    "700",
	} {
		if got := js[string](ann, expression); got != want {
			r.t.Errorf("%s is %s, want %s", expression, got, want)
		}
	}
}

func chatPolicy(r *recipe) {
	ann := r.open("Ann")
	ann.Look(false, false)
	ann.WaitTransport("websocket")
	ann.Say("under a policy")
	ann.WaitText("under a policy")
	if got := js[float64](ann, `part('panel').offsetHeight`); got != 512 {
		r.t.Errorf("the box is %g px high: it has no style", got)
	}
}

func chatScript(r *recipe) {
	r.post("lobby", `{"text":"old"}`, "Content-Type: application/json")
	ann := r.open("Ann")
	ann.WaitText("old")
	ann.wait(`document.body.className === 'open' && chat.realtime.transport === 'websocket' && part('log').role === 'log'`)
	if got := js[string](ann, `document.title`); got == "old" {
		r.t.Error("realtime-message tells of the history")
	}
	js[any](ann, `document.querySelector('button').click()`)
	ann.WaitText("👋")
	ann.wait(`document.title === '👋'`)
	// An element that is moved stays connected; an element that is removed does not.
	js[any](ann, `window.before = chat.realtime; document.body.prepend(chat)`)
	ann.wait(`chat.realtime === before && before.state === 'open'`)
	js[any](ann, `chat.room = 'other'`)
	ann.wait(`chat.realtime !== before && before.state === 'closed' && chat.realtime.state === 'open'`)
	js[any](ann, `window.before = chat.realtime; chat.remove()`)
	ann.wait(`before.state === 'closed'`)
	js[any](ann, `import('/rt/-/realtime-chat.js').then((all) => { window.exported = all }), 0`)
	ann.wait(`window.exported`)
	js[any](ann, `{
		class MyChat extends exported.RealtimeChat {}
		MyChat.define('my-chat');
		document.body.append(document.createElement('my-chat'));
	}`)
	ann.wait(`document.querySelector('my-chat').realtime?.state === 'open'`)
	ann.wait(`window.exported?.RealtimeChat === customElements.get('realtime-chat') && exported.Realtime && exported.RealtimeError`)
}

func chatFallback(r *recipe) {
	mute := r.blank("Mute")
	mute.Script(false)
	mute.do(chromedp.Navigate(r.URL() + "/blog/example.html"))
	mute.wait(`document.querySelector('form').checkVisibility()`)
	mute.enter("name", "Mute", false)
	mute.enter("text", "I have no script", true)
	r.waitHolds("lobby", `{"text":"I have no script","name":"Mute"}`)
	mute.wait(`location.pathname === '/blog/example.html'`)

	ann := r.open("Ann")
	ann.WaitText("I have no script")
	ann.wait(`!document.querySelector('form').checkVisibility()`)
}

// value is the text of an element, as an expression of the page.
func value(path string) string {
	return `document.querySelector('[path=` + path + `]').textContent`
}

func valueTicker(r *recipe) {
	ann := r.open("Ann")
	ann.wait(value("price") + ` === '–'`)
	r.waitMembers("ticker/gold", "1")
	r.shell("3456.7")
	ann.wait(value("price") + ` === '€3,456.70'`)
	r.shell("3460.25")
	ann.wait(value("price") + ` === '€3,460.25' && document.querySelector('realtime-value[trend=up]').value === 3460.25`)
	r.open("Bob").wait(value("price") + ` === '€3,460.25'`)

	// The table's other attributes.
	r.post("ticker/gold", `{"price": 1, "note": {"text": "closed"}}`, "Realtime-Event: note")
	r.post("ticker/kg", "12.3456", "Content-Type: text/plain")
	r.place(`<script type="module" src="/rt/-/realtime-value.js"></script>
<body lang="de">
<realtime-value id="a" room="ticker/gold" path="price" event="message" last="5"></realtime-value>
<realtime-value id="b" room="ticker/gold" path="note.text"></realtime-value>
<realtime-value id="c" room="ticker/kg" unit="kg"></realtime-value>`)
	zoe := r.open("Zoe")
	zoe.wait(`a.textContent === '3.460,25' && b.textContent === 'closed' && c.textContent === '12,346\xa0kg'`)
}

func valueSeats(r *recipe) {
	r.shell(`"EC42": 12`)
	r.shell(`"ICE71": 3`)
	ann := r.open("Ann")
	ann.wait(value("EC42") + ` === '12' && ` + value("ICE71") + ` === '3'`)
	r.shell(`"EC42": 11`)
	ann.wait(value("EC42") + ` === '11' && ` + value("ICE71") + ` === '0'`)
	ann.wait(`sold.textContent === 'ICE71 is sold out.' && getComputedStyle(document.querySelector('[path=ICE71]')).color === 'rgb(179, 38, 30)'`)
	if n := js[int](ann, `sockets`); n != 1 {
		r.t.Errorf("%d WebSockets", n)
	}
}

// The examples are good TypeScript, with realtime.d.ts beside realtime.js.
func TestClientTypes(t *testing.T) {
	tsc, err := filepath.Abs("../scripts/node_modules/typescript/bin/tsc")
	if err == nil {
		_, err = os.Stat(tsc)
	}
	if err != nil {
		t.Skip("TypeScript is missing: run npm ci --prefix scripts")
	}
	declarations := readAllOf(t, "scripts/realtime.d.ts")
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("realtime.d.ts", declarations)
	write("tsconfig.json", `{"compilerOptions": {"noEmit": true, "strict": true, "target": "es2022", "module": "es2022",
		"moduleResolution": "bundler", "types": [], "lib": ["es2022", "dom", "dom.iterable"]}}`)
	for _, e := range readDocument(t, "docs/CLIENT.md").examples {
		if e.language == "js" || e.language == "ts" {
			// A promise that is rejected may be so with anything.
			text := strings.ReplaceAll(e.text, "catch (error)", "catch (error: any)")
			write(strings.TrimSuffix(e.name, ".js")+".ts", strings.ReplaceAll(text, "/rt/-/realtime.js", "./realtime.js"))
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", tsc, "-p", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestChatTables holds the tables of CHAT.md against what the element has.
func TestChatTables(t *testing.T) {
	text, source := readAllOf(t, "docs/CHAT.md"), chatSource(t)
	for _, test := range []struct {
		after string
		want  []string
	}{
		{"\n## Attributes\n", chatAttributes(source)},
		{"\nThe page shows €3,456.70", valueAttributes(t)},
		{"\nAn attribute `text-` replaces a text", chatTexts(t)},
		{"\n## Own parts\n", matches(source, `slot\('([a-z-]+)'`)},
		{"\n## Look\n", matches(source, `@cssprop (--[a-z-]+)`)},
	} {
		if got := tableAfter(t, text, test.after); !slices.Equal(got, test.want) {
			t.Errorf("the table after %q has\n\t%q\nwant\n\t%q", strings.TrimSpace(test.after), got, test.want)
		}
	}
	style := readAllOf(t, "scripts/realtime-chat-style.js")
	for _, name := range tableAfter(t, text, "\n## Look\n") {
		if !strings.Contains(style, "var("+name+",") {
			t.Errorf("no style uses %s", name)
		}
	}
	_, look, _ := strings.Cut(text, "\nEvery part has a name")
	look, _, _ = strings.Cut(look, "\n```")
	for _, name := range matches(source, `@csspart ([a-z]+)`) {
		if !strings.Contains(look, "`"+name+"`") {
			t.Errorf("CHAT.md has no part %q", name)
		}
	}
	for _, name := range tableAfter(t, text, "\nEvery part has a name") {
		if !strings.Contains(source, "'"+name+"'") {
			t.Errorf("the element has no part %q", name)
		}
	}
}

var (
	firstCell = regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	code      = regexp.MustCompile("`([^`]+)`")
)

// tableAfter returns the names in the first column of the table that follows some words,
// sorted.
func tableAfter(t *testing.T, text, words string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(text, words)
	if !ok {
		t.Fatalf("CHAT.md has no %q", words)
	}
	_, rest, _ = strings.Cut(rest, "\n|---")
	rest, _, _ = strings.Cut(rest, "\n\n")
	var all []string
	for _, cell := range firstCell.FindAllStringSubmatch(rest, -1) {
		for _, name := range code.FindAllStringSubmatch(cell[1], -1) {
			all = append(all, name[1])
		}
	}
	slices.Sort(all)
	return all
}

// chatSource returns all scripts of the element.
func chatSource(t *testing.T) (source string) {
	t.Helper()
	files, err := filepath.Glob("../scripts/realtime-chat*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source += readAllOf(t, "scripts/"+filepath.Base(file))
	}
	return source
}

// matches returns what the group of an expression matches, sorted and each once.
func matches(source, expression string) []string {
	var all []string
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(source, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// chatAttributes returns the attributes that the element observes.
func chatAttributes(source string) []string {
	_, attributes, _ := strings.Cut(source, "\nconst ATTRIBUTES = {\n")
	attributes, _, _ = strings.Cut(attributes, "\n};")
	observed := append(matches(attributes, `(?m)^  (\w+):`), "lang", "text-…", "token-url")
	slices.Sort(observed)
	return observed
}

// chatTexts returns the attributes that replace texts of the element.
func chatTexts(t *testing.T) []string {
	t.Helper()
	_, texts, _ := strings.Cut(readAllOf(t, "scripts/realtime-chat-text.js"), "KEYS = '")
	texts, _, _ = strings.Cut(texts, "'")
	keys := strings.Fields(texts)
	for i := range keys {
		keys[i] = "text-" + keys[i]
	}
	slices.Sort(keys)
	return keys
}

// valueAttributes returns the attributes that <realtime-value> observes.
func valueAttributes(t *testing.T) []string {
	t.Helper()
	_, values, _ := strings.Cut(readAllOf(t, "scripts/realtime-value.js"), "observedAttributes = [")
	values, _, _ = strings.Cut(values, "]")
	return matches(values, `'([a-z]+)'`)
}
