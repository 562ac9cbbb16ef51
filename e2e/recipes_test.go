package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-realtime/realtime/test/recipes"
)

// The documents of the client are under test. A fence with the word run has the
// name of the test of its example:
//
//	html run name      a page, or a part of one
//	js run name        a module in a page of its own
//	jsx run Room.jsx   a file of an app; vue, svelte and js likewise
//
// They run against the document's block "caddyfile site". Blocks for consoles
// are run by TestDocsExamples, and by the tests here that need them.

const docURL = "http://localhost:8080"

// An example is a fenced block of a document.
type example struct {
	language, name, text string
}

// A document is one with examples.
type document struct {
	file     string
	examples []example
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+) ?(.*?)\n(.*?)^```$")

func readDocument(t *testing.T, file string) *document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	return &document{file: file, examples: examplesOf(string(text))}
}

func examplesOf(text string) (examples []example) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		examples = append(examples, example{m[1], strings.TrimPrefix(m[2], "run "), m[3]})
	}
	return examples
}

// find returns the text of the example that is it.
func (d *document) find(t *testing.T, what string, is func(example) bool) string {
	t.Helper()
	i := slices.IndexFunc(d.examples, is)
	if i < 0 {
		t.Fatalf("%s has no %s", d.file, what)
	}
	return d.examples[i].text
}

// run runs every example that a browser can run by the test of its name.
func (d *document) run(t *testing.T, tests map[string]func(*recipe)) {
	t.Helper()
	tested := make(map[string]bool)
	for _, e := range d.examples {
		switch e.language {
		case "console", "caddyfile", "json", "text", "sh":
			continue
		}
		test := tests[e.name]
		if tested[e.name] = true; test == nil {
			t.Errorf("%s: nothing tests the example %q", d.file, e.language+" "+e.name)
			continue
		}
		t.Run(e.name, func(t *testing.T) { test(d.start(t, e)) })
	}
	for name := range tests {
		if !tested[name] {
			t.Errorf("%s has no example %q", d.file, name)
		}
	}
}

// A recipe is an example in its site.
type recipe struct {
	*document
	example
	*site
	t         *testing.T
	dir       string // the root of the site
	caddyfile string
}

// start runs the document's site, with the example as /blog/example.html.
func (d *document) start(t *testing.T, e example) *recipe {
	t.Helper()
	r := d.prepare(t, e, d.find(t, "site", func(e example) bool { return e.language == "caddyfile" && e.name == "site" }))
	r.load()
	r.place(e.text)
	return r
}

// prepare is a site with a proxy before it, which does not run yet.
func (d *document) prepare(t *testing.T, e example, caddyfile string) *recipe {
	t.Helper()
	s := &site{backend: freeAddress(t)}
	r := &recipe{document: d, example: e, t: t, dir: t.TempDir(), caddyfile: caddyfile}
	r.site = s.another(t)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// load runs Caddy by the document's Caddyfile.
func (r *recipe) load() {
	r.t.Helper()
	config := recipes.With("\tadmin off\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\tlevel ERROR\n\t}\n",
		strings.NewReplacer(docURL, "http://"+r.backend, "root * .", "root * "+r.dir).Replace(r.caddyfile))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		r.t.Fatal(err)
	}
}

// restart ends Caddy, lets meanwhile happen, and runs it again.
func (r *recipe) restart(meanwhile func()) {
	r.t.Helper()
	if err := caddy.Stop(); err != nil {
		r.t.Fatal(err)
	}
	meanwhile()
	r.load()
}

// write puts a file into the root of the site.
func (r *recipe) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// place makes the example a page.
func (r *recipe) place(text string) {
	r.t.Helper()
	if r.language != "html" {
		text = "<!doctype html><meta charset=utf-8><title>Example</title><div id=app></div>\n<script type=module>\n" + text + "</script>\n"
	}
	r.write("blog/example.html", text)
}

// noting lets a test read what a page logs, and counts its WebSockets.
const noting = `window.noted = [];
window.sockets = 0;
console.log = (...all) => noted.push(all.join(' ').trimEnd());
window.WebSocket = class extends WebSocket { constructor(...all) { super(...all); sockets++; } };`

// open opens the page of the example at somebody's.
func (r *recipe) open(name string) *chatPage {
	r.t.Helper()
	p := r.blank(name)
	p.do(chromedp.Navigate(r.URL() + "/blog/example.html"))
	return p
}

// blank is a new tab, which is nowhere yet.
func (r *recipe) blank(name string) *chatPage {
	r.t.Helper()
	parent, err := browser()
	if err != nil {
		r.t.Fatal(err)
	}
	p := newPage(r.t, name, parent, chromedp.WithNewBrowserContext())
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument,
			page.AddScriptToEvaluateOnNewDocumentParams{Source: noting})
		return err
	}))
	return p
}

// wantNoted waits until the page has logged just these lines.
func (r *recipe) wantNoted(p *chatPage, want ...string) {
	r.t.Helper()
	p.wait(fmt.Sprintf(`noted.length >= %d`, len(want)))
	if got := js[[]string](p, `noted`); !slices.Equal(got, want) {
		r.t.Errorf("logged\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// waitNoted waits until the page has logged a line.
func (r *recipe) waitNoted(p *chatPage, line string) {
	r.t.Helper()
	p.wait(`noted.includes(` + quote(line) + `)`)
}

// post publishes past the proxy, as a backend would.
func (r *recipe) post(room, body string, headers ...string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.backend+"/rt/"+room, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode > 202 {
		r.t.Fatalf("POST %s: %s %s", room, resp.Status, answer)
	}
}

// holds are the data of a room's messages, each as JSON.
func (r *recipe) holds(room string) []string {
	r.t.Helper()
	resp, err := http.Get("http://" + r.backend + "/rt/" + room + "?limit=1000")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct {
		Messages []struct{ Data json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		r.t.Fatal(err)
	}
	all := make([]string, len(page.Messages))
	for i, message := range page.Messages {
		all[i] = string(message.Data)
	}
	return all
}

// waitHolds waits until a room holds just these.
func (r *recipe) waitHolds(room string, want ...string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s holds %q", room, want), func() bool { return slices.Equal(r.holds(room), want) })
}

// shell runs the command in the document that has part in it.
func (r *recipe) shell(part string) {
	r.t.Helper()
	for _, e := range r.examples {
		for line := range strings.Lines(e.text) {
			command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if !ok || e.language != "console" || !strings.Contains(command, part) {
				continue
			}
			cmd := exec.CommandContext(r.t.Context(), "bash", "-c", strings.ReplaceAll(command, docURL, "http://"+r.backend))
			cmd.Env = append(os.Environ(), "no_proxy=*")
			if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), `"status"`) {
				r.t.Fatalf("%s: %v\n%s", command, err, out)
			}
			return
		}
	}
	r.t.Fatalf("%s has no command with %q", r.file, part)
}

// enterText types a line into a page's field, and presses Enter.
func enterText(p *chatPage, field, text string) {
	p.t.Helper()
	p.wait(`document.querySelector('` + field + `')`)
	js[any](p, `document.querySelector('`+field+`').focus()`)
	p.Type(text)
	p.Press(kb.Enter)
}

// lines is the text of each li, as an expression of the page.
const lines = `[...document.querySelectorAll('li')].map((li) => li.textContent).join('|')`
