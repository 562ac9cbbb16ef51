package realtime

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/test/caddytest"
	"github.com/caddy-realtime/realtime/test/recipes"
)

// The documents are under test. The word after a fence says how:
//
//	console         each line after "$ " is run by bash, and prints what follows
//	console live    the same, but goes on running; checked when the next console block is done
//	text websocket  a conversation: GET, subprotocols, "> sent", "< received", and
//	                "$ " what bash runs meanwhile
//	caddyfile       is adapted and provisioned
//	caddyfile site  is also the site that the examples after it run against, and the
//	                Caddyfile in the folder where they run
//	js file x.mjs   is the file x.mjs there; other languages likewise
//	json config     is provisioned
//	json            each line is JSON
//
// Blocks with the word run are run in a browser, by e2e. Other blocks are for
// people. http://localhost:8080 stands for the site, … for anything, k3f9.<n> for
// one id that stays the same all through a document, and c7q2-<n> for one conn. A
// line of … alone is any number of lines; two spaces continue a line. What else stands for
// something is in test/recipes.
//
// With the subprotocol realtime.v1 what is received between two other lines may
// come in any order, and presence that the document does not show is passed over:
// answers, messages and presence have each their own time.

const (
	docsURL    = "http://localhost:8080"
	docsWithin = 30 * time.Second // for one example
)

// docBlock is a fenced block.
type docBlock struct {
	info string
	line int // of its first line
	text string
}

func docBlocks(t *testing.T, file string) []docBlock {
	t.Helper()
	var blocks []docBlock
	inside := false
	for i, line := range strings.Split(docRead(t, file), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside = true
			if info == "" {
				t.Errorf("%s:%d: a fence without a language", file, i+1)
			}
			blocks = append(blocks, docBlock{info: info, line: i + 2})
		case inside:
			blocks[len(blocks)-1].text += line + "\n"
		}
	}
	if inside {
		t.Errorf("%s: the last fence is not closed", file)
	}
	return blocks
}

func docRead(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// docFiles returns the documents of the tree.
func docFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDocsExamples(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "node"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the examples need %s", tool)
		}
	}
	for _, file := range docFiles(t) {
		blocks := docBlocks(t, file)
		if !slices.ContainsFunc(blocks, docBlock.runs) {
			continue
		}
		t.Run(file, func(t *testing.T) { docRun(t, file, blocks) })
	}
}

// runs reports whether the block needs a site.
func (b docBlock) runs() bool {
	return strings.HasPrefix(b.info, "console") || b.info == "text websocket"
}

var docRoot = regexp.MustCompile(`(?m)^(\s*root \*) .*$`)

// docRun runs the blocks of a document from top to bottom.
func docRun(t *testing.T, file string, blocks []docBlock) {
	s, app := caddytest.New(t), recipes.Start(t)
	dir := t.TempDir()
	if !slices.ContainsFunc(blocks, func(b docBlock) bool { return b.info == "caddyfile site" }) {
		t.Fatalf("%s has examples to run and no block \"caddyfile site\"", file)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})

	r := &docRunner{t: t, site: s, app: app, file: file, dir: dir, ids: make(map[string]string)}
	var live []*docLive
	for _, b := range blocks {
		if _, name, ok := strings.Cut(b.info, " file "); ok {
			r.write(name, b.text)
		}
		switch b.info {
		case "caddyfile site":
			config := recipes.With("\tadmin off\n\tpersist_config off\n\tauto_https off\n", r.here(b.text))
			config = docRoot.ReplaceAllString(config, "${1} "+dir)
			caddytest.Load(t, config)
			r.write("Caddyfile", config)
		case "html":
			r.serveHTML(b)
		case "console live":
			live = append(live, r.start(b))
		case "console":
			r.console(b)
			for _, l := range live {
				l.finish(r)
			}
			live = nil
		case "text websocket":
			r.webSocket(b)
		}
	}
	if len(live) > 0 {
		t.Errorf("%s: no block console after the last console live", file)
	}
}

// docRunner runs one document's examples.
type docRunner struct {
	t    *testing.T
	site *caddytest.Site
	app  *recipes.App
	file string
	dir  string
	ids  map[string]string // the document's ids and conns, and what they are here
}

func (r *docRunner) errorf(line int, format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...))
}

// write puts a file into the folder in which commands run.
func (r *docRunner) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// docID matches what the documents write for an id or a conn. docReal has, by first
// letter, the pattern of a real one.
var (
	docID   = regexp.MustCompile(`k3f9\.\d+|c7q2-\d+`)
	docReal = map[byte]string{'k': `[0-9a-z]+\.\d+`, 'c': `[0-9A-Za-z_-]{44}`}
)

// here writes what the document says as it is here.
func (r *docRunner) here(text string) string {
	text = r.app.Here(strings.ReplaceAll(text, docsURL, r.site.URL))
	return docID.ReplaceAllStringFunc(text, func(id string) string {
		if known := r.ids[id]; known != "" {
			return known
		}
		return id
	})
}

// docToken is what stands for something else in an expected output.
var docToken = regexp.MustCompile(`(?m)^…\n?|…|` + docID.String() + `|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|` + regexp.QuoteMeta(docsURL))

// match compares an output with what the document says, and learns its ids.
func (r *docRunner) match(want, got string) bool {
	want = strings.ReplaceAll(strings.TrimRight(want, "\n"), "\n  ", "")
	var learned []string
	var pattern strings.Builder
	pattern.WriteString(`(?s)\A`)
	for rest := want; rest != ""; {
		at := docToken.FindStringIndex(rest)
		if at == nil {
			at = []int{len(rest), len(rest)}
		} else if rest[at[0]:at[1]] == "…\n" && at[0] == 0 && len(rest) < len(want) && !strings.HasSuffix(want[:len(want)-len(rest)], "\n") {
			at[1]-- // the end of a line, not a line
		}
		token := rest[at[0]:at[1]]
		pattern.WriteString(regexp.QuoteMeta(rest[:at[0]]))
		rest = rest[at[1]:]
		switch {
		case token == "":
		case token == "…\n":
			pattern.WriteString(`(?:[^\n]*\n)*?`)
		case token == "…" && rest == "" && strings.HasSuffix(want, "\n…"):
			pattern.WriteString(`.*?`)
		case token == "…":
			pattern.WriteString(`[^\n]*?`)
		case token == docsURL:
			pattern.WriteString(regexp.QuoteMeta(r.site.URL))
		case !docID.MatchString(token):
			pattern.WriteString(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
		case r.ids[token] != "":
			pattern.WriteString(regexp.QuoteMeta(r.ids[token]))
		case slices.Contains(learned, token):
			pattern.WriteString(docReal[token[0]]) // compared below
		default:
			pattern.WriteString("(" + docReal[token[0]] + ")")
			learned = append(learned, token)
		}
	}
	pattern.WriteString(`\n*\z`)
	found := regexp.MustCompile(pattern.String()).FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, id := range learned {
		r.ids[id] = found[1+i]
	}
	// Now that every id is known, each must be where it should.
	if len(learned) == 0 || r.match(want, got) {
		return true
	}
	for _, id := range learned {
		delete(r.ids, id)
	}
	return false
}

// docCommand is a command and what it prints.
type docCommand struct {
	line      int
	run, want string
}

func (b docBlock) commands() []docCommand {
	var all []docCommand
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		if run, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, docCommand{line: b.line + i, run: run})
			continue
		}
		if len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		if last.want == "" && strings.HasSuffix(last.run, "\\") {
			last.run += "\n" + line
			continue
		}
		last.want += line + "\n"
	}
	return all
}
