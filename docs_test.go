package realtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"
	"github.com/dustin/go-humanize"

	"github.com/caddy-realtime/realtime/hub"
)

// The documents are under test. The word after a fence says how:
//
//	console         each line after "$ " is run by bash, and prints what follows
//	console live    the same, but goes on running; checked when the next console block is done
//	text websocket  a conversation: GET, subprotocols, "> sent", "< received", and
//	                "$ " what bash runs meanwhile
//	caddyfile       is adapted and provisioned
//	caddyfile site  is also the site that the examples after it run against
//	json config     is provisioned
//	json            each line is JSON
//
// Other blocks are for people. http://localhost:8080 stands for the site, … for
// anything, k3f9.<n> for one id that stays the same all through a document, and
// c7q2-<n> for one conn. A line of … alone is any number of lines; two spaces
// continue a line.
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
	for _, tool := range []string{"bash", "curl"} {
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
	s := &site{t: t, port: freePort(t)}
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	dir := t.TempDir()
	if !slices.ContainsFunc(blocks, func(b docBlock) bool { return b.info == "caddyfile site" }) {
		t.Fatalf("%s has examples to run and no block \"caddyfile site\"", file)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})

	r := &docRunner{t: t, site: s, file: file, dir: dir, ids: make(map[string]string)}
	var live []*docLive
	for _, b := range blocks {
		switch b.info {
		case "caddyfile site":
			config := strings.ReplaceAll(b.text, docsURL, s.URL)
			config = docRoot.ReplaceAllString(config, "${1} "+dir)
			loadCaddyfile(t, "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n}\n"+config)
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
	site *site
	file string
	dir  string
	ids  map[string]string // the document's ids and conns, and what they are here
}

func (r *docRunner) errorf(line int, format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...))
}

// docID is what the documents write for an id or a conn, and docReal what one
// looks like, by its first letter.
var (
	docID   = regexp.MustCompile(`k3f9\.\d+|c7q2-\d+`)
	docReal = map[byte]string{'k': `[0-9a-z]+\.\d+`, 'c': `[0-9A-Za-z_-]{38}`}
)

// here writes what the document says as it is here.
func (r *docRunner) here(text string) string {
	text = strings.ReplaceAll(text, docsURL, r.site.URL)
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

// console runs the commands one after the other.
func (r *docRunner) console(b docBlock) {
	for _, c := range b.commands() {
		l := r.launch(c)
		l.finish(r)
	}
}

// start runs the one command of a block and waits for its first bytes.
func (r *docRunner) start(b docBlock) *docLive {
	all := b.commands()
	if len(all) != 1 {
		r.t.Fatalf("%s:%d: a block console live has one command", r.file, b.line)
	}
	l := r.launch(all[0])
	l.wait(func(got string) bool { return strings.Contains(got, "\n\n") })
	return l
}

// docLive is a command that runs.
type docLive struct {
	docCommand
	cancel context.CancelFunc
	ended  chan struct{}
	stderr bytes.Buffer

	mu      sync.Mutex
	out     bytes.Buffer
	written chan struct{} // gets a value when out has grown
}

// Write implements io.Writer for the command.
func (l *docLive) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.written <- struct{}{}:
	default:
	}
	return l.out.Write(p)
}

func (l *docLive) got() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ReplaceAll(l.out.String(), "\r\n", "\n")
}

func (r *docRunner) launch(c docCommand) *docLive {
	ctx, cancel := context.WithTimeout(r.t.Context(), docsWithin)
	l := &docLive{docCommand: c, cancel: cancel, ended: make(chan struct{}), written: make(chan struct{}, 1)}
	run := r.here(c.run)
	if strings.HasPrefix(run, "curl ") {
		run = "exec " + run // so that it is curl that cancel ends
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", run)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "CURL_HOME="+r.dir, "no_proxy=*") // no .curlrc, no proxy
	cmd.Stdout, cmd.Stderr = l, &l.stderr
	cmd.WaitDelay = time.Second // a pipe of bash's may outlive it
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		_ = cmd.Wait() // what it printed is what counts
	}()
	r.t.Cleanup(func() { cancel(); <-l.ended })
	return l
}

// wait waits until what was printed is enough, or the command has ended.
func (l *docLive) wait(enough func(got string) bool) bool {
	for {
		if enough(l.got()) {
			return true
		}
		select {
		case <-l.written:
		case <-l.ended:
			return enough(l.got())
		}
	}
}

// finish waits for what the command should print. An endless stream may have
// printed more; anything else has ended.
func (l *docLive) finish(r *docRunner) {
	want, ok := strings.Trim(l.want, "\n"), false
	if strings.Contains(l.run, "curl -N") {
		n := strings.Count(strings.ReplaceAll(want, "\n  ", ""), "\n") + 1
		ok = l.wait(func(got string) bool {
			first := docFirstLines(got, n)
			return strings.HasSuffix(first, "\n") && r.match(want, first)
		})
		l.cancel()
		<-l.ended
	} else {
		<-l.ended
		ok = r.match(want, l.got())
	}
	if !ok {
		r.errorf(l.line, "%s\nprinted\n%s\nwant\n%s\n%s", l.run, l.got(), want, l.stderr.String())
	}
}

// docFirstLines returns the first n whole lines.
func docFirstLines(s string, n int) string {
	lines := strings.SplitAfterN(s, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}

// webSocket plays a conversation.
func (r *docRunner) webSocket(b docBlock) {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(b.text, "\n  ", "")), "\n")
	target, ok := strings.CutPrefix(lines[0], "GET /rt/")
	if !ok {
		r.t.Fatalf("%s:%d: a conversation begins with GET /rt/", r.file, b.line)
	}
	rest := lines[1:]
	var offered []string
	if names, ok := strings.CutPrefix(rest[0], "Sec-WebSocket-Protocol: "); ok {
		offered, rest = strings.Split(names, ", "), rest[1:]
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), docsWithin)
	defer cancel()
	c, _, err := websocket.Dial(ctx, r.site.URL+"/rt/"+r.here(target), &websocket.DialOptions{Subprotocols: offered})
	if err != nil {
		r.errorf(b.line, "%v", err)
		return
	}
	defer c.CloseNow()
	var due []docLine // of realtime.v1: received in any order
	for i, line := range rest {
		at := b.line + len(lines) - len(rest) + i
		direction, text, _ := strings.Cut(line, " ")
		name, isSubprotocol := strings.CutPrefix(text, "subprotocol ")
		code, isClose := strings.CutPrefix(text, "close ")
		receives := direction == "<" && !isSubprotocol && !isClose
		if receives && c.Subprotocol() == sessionSubprotocol {
			due = append(due, docLine{at, text})
			continue
		}
		r.receive(ctx, c, due)
		due = nil
		switch {
		case direction == "$":
			r.launch(docCommand{line: at, run: text}).finish(r)
		case direction == ">" && text == "":
			text = "\n"
			fallthrough
		case direction == ">":
			if err := c.Write(ctx, websocket.MessageText, []byte(r.here(text))); err != nil {
				r.errorf(at, "sending: %v", err)
			}
		case isSubprotocol:
			if got := c.Subprotocol(); got != name {
				r.errorf(at, "the subprotocol is %q, want %q", got, name)
			}
		case isClose:
			_, got, err := c.Read(ctx)
			for err == nil && c.Subprotocol() == sessionSubprotocol {
				_, got, err = c.Read(ctx) // what the document does not show
			}
			if status := websocket.CloseStatus(err); strconv.Itoa(int(status)) != code {
				r.errorf(at, "received %q and %v, want close code %s", got, err, code)
			}
			return
		default:
			if _, got, err := c.Read(ctx); err != nil || !r.match(text, string(got)) {
				r.errorf(at, "received\n%s\n(%v), want\n%s", got, err, text)
			}
		}
	}
	r.receive(ctx, c, due)
}

// docLine is a line of a conversation.
type docLine struct {
	line int
	text string
}

// receive reads until all that is due has come.
func (r *docRunner) receive(ctx context.Context, c *websocket.Conn, due []docLine) {
	for len(due) > 0 {
		_, got, err := c.Read(ctx)
		if err != nil {
			r.errorf(due[0].line, "received %v, want\n%s", err, due[0].text)
			return
		}
		i := slices.IndexFunc(due, func(d docLine) bool { return r.match(d.text, string(got)) })
		if i >= 0 {
			due = slices.Delete(due, i, i+1)
		} else if !bytes.HasPrefix(got, []byte(`{"op":"presence"`)) {
			r.errorf(due[0].line, "received\n%s\nwant\n%s", got, due[0].text)
			return
		}
	}
}

// serveHTML puts a page into the site's root, and looks whether it comes and
// reads and writes a room.
func (r *docRunner) serveHTML(b docBlock) {
	if !strings.Contains(b.text, "EventSource") {
		return // part of a page
	}
	if err := os.WriteFile(filepath.Join(r.dir, "index.html"), []byte(b.text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.site.t = r.t
	if got := readAll(r.t, r.site.do("GET", "/", "")); got != b.text {
		r.errorf(b.line, "the site serves\n%s\nwant the page", got)
	}
	reads := regexp.MustCompile(`new EventSource\('([^']+)'\)`).FindStringSubmatch(b.text)
	writes := regexp.MustCompile(`fetch\('([^']+)', \{method: 'POST', body: `).FindStringSubmatch(b.text)
	if reads == nil || writes == nil {
		r.errorf(b.line, "the page has no EventSource, or no fetch that posts")
		return
	}
	resp := r.site.do("POST", writes[1], "from the page", "Content-Type: text/plain;charset=UTF-8", "Origin: "+r.site.URL)
	if resp.StatusCode != http.StatusCreated {
		r.errorf(b.line, "POST %s: %s", writes[1], resp.Status)
	}
	target, ok := strings.CutPrefix(reads[1], "/rt/")
	if !ok {
		r.errorf(b.line, "the page reads %s, which is no room", reads[1])
		return
	}
	stream := r.site.stream(target, "text/event-stream", "Origin: "+r.site.URL)
	defer stream.cancel()
	if got := stream.until("data: "); got != "from the page" {
		r.errorf(b.line, "the page reads %q", got)
	}
}

func TestDocsConfigurations(t *testing.T) {
	for _, file := range docFiles(t) {
		for _, b := range docBlocks(t, file) {
			at := fmt.Sprintf("%s:%d", file, b.line)
			switch language, kind, _ := strings.Cut(b.info, " "); {
			case language == "caddyfile":
				config, warnings, err := adapt(b.text)
				if err != nil {
					t.Errorf("%s: %v", at, err)
					continue
				}
				for _, w := range warnings {
					t.Errorf("%s: %s", at, w)
				}
				docValidate(t, at, config)
			case language == "json" && kind == "config":
				docValidate(t, at, []byte(b.text))
			case language == "json":
				for line := range strings.Lines(b.text) {
					if !json.Valid([]byte(line)) {
						t.Errorf("%s: not JSON: %s", at, line)
					}
				}
			}
		}
	}
}

// docValidate provisions a configuration, as caddy validate does.
func docValidate(t *testing.T, at string, config []byte) {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	if err := caddy.Validate(&c); err != nil {
		t.Errorf("%s: %v", at, err)
	}
}

// TestDocsOptions holds the README's tables of options against the syntax in
// the comment of UnmarshalCaddyfile, the fields, and the defaults.
func TestDocsOptions(t *testing.T) {
	written := make(map[string]string) // Caddyfile form to default
	var fields []string
	section, _, _ := strings.Cut(docSection(docRead(t, "README.md"), "## Options"), "\n## ")
	room := "" // before the forms of the second table
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "In the block of a `room`") {
			room = "room."
		}
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|")
		if len(cells) != 6 || !strings.Contains(cells[1], "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		form := room + strings.Trim(cells[1], "`")
		if _, again := written[form]; again {
			t.Errorf("README: %s has two rows", form)
		}
		written[form] = cells[3]
		for field := range strings.SplitSeq(cells[2], ",") {
			fields = append(fields, strings.Trim(strings.TrimSpace(field), "`"))
		}
	}

	forms := docSyntax(t)
	for _, form := range forms {
		if _, ok := written[form]; !ok {
			t.Errorf("README has no row for the option %q", form)
		}
	}
	for form := range written {
		if !slices.Contains(forms, form) {
			t.Errorf("README has a row for %q, which is no option", form)
		}
	}
	have := docFields(reflect.TypeFor[Handler](), "")
	for _, field := range have {
		if !slices.Contains(fields, field) {
			t.Errorf("README does not name the JSON field %s", field)
		}
	}
	for _, field := range fields {
		if !slices.Contains(have, field) {
			t.Errorf("README names the JSON field %q, which there is not", field)
		}
	}

	d := hub.Defaults()
	for option, want := range map[string]string{
		"max_message_size <size>|off":          humanize.IBytes(uint64(d.MaxMessageSize)),
		"max_rooms <n>|off":                    strconv.Itoa(d.MaxRooms),
		"max_connections <n>|off":              strconv.Itoa(d.MaxConnections),
		"max_connections_per_address <n>|off":  strconv.Itoa(d.MaxPerAddress),
		"history_memory <size>|off":            humanize.IBytes(uint64(d.HistoryMemory)),
		"heartbeat <duration>|off":             time.Duration(defaultHeartbeat).String(),
		"prefix <path>":                        defaultPrefix,
		"rate <n>[/s|/m|/h] [<burst>] | off":   fmt.Sprintf("%g/s %d", d.Rate.PerSecond, d.Rate.Burst),
		"room.history <count>|off [<age>|off]": fmt.Sprintf("%d %gh", d.History.Count, d.History.Age.Hours()),
	} {
		if got := strings.ReplaceAll(written[option], ",", ""); !strings.Contains(got, want) {
			t.Errorf("README: the default of %q is %q, want %s", option, got, want)
		}
	}
}

// docSection returns what follows a heading.
func docSection(text, heading string) string {
	_, after, _ := strings.Cut(text, "\n"+heading+"\n")
	return after
}

// docSyntax returns the subdirectives as the comment of UnmarshalCaddyfile has
// them, those of a room with "room." before them.
func docSyntax(t *testing.T) []string {
	t.Helper()
	_, block, ok := strings.Cut(docRead(t, "caddyfile.go"), "//\trealtime [<matcher>] {\n")
	block, _, ok2 := strings.Cut(block, "\n//\t}\n")
	if !ok || !ok2 {
		t.Fatal("caddyfile.go has no syntax in the comment of UnmarshalCaddyfile")
	}
	var forms []string
	room := ""
	for line := range strings.Lines(block) {
		form := strings.Join(strings.Fields(strings.TrimPrefix(line, "//")), " ")
		if head, opens := strings.CutSuffix(form, " {"); opens {
			forms = append(forms, head)
			room = "room."
		} else if form == "}" {
			room = ""
		} else {
			forms = append(forms, room+form)
		}
	}
	return forms
}

// docFields returns the JSON fields of a struct: a.b for b in a, a[].b for b in
// the elements of a.
func docFields(typ reflect.Type, prefix string) []string {
	var fields []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		elem, under := f.Type, prefix+name+"."
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		} else if elem.Kind() == reflect.Slice {
			elem, under = elem.Elem(), prefix+name+"[]."
		}
		if elem.Kind() == reflect.Struct {
			fields = append(fields, docFields(elem, under)...)
			continue
		}
		fields = append(fields, prefix+name)
	}
	return fields
}

var (
	docLink  = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	docFence = regexp.MustCompile("(?ms)^```.*?^```$")
	docCode  = regexp.MustCompile("`[^`\n]*`")
)

// TestDocsLinks looks whether what the documents link to is there.
func TestDocsLinks(t *testing.T) {
	for _, file := range docFiles(t) {
		text := docCode.ReplaceAllString(docFence.ReplaceAllString(docRead(t, file), ""), "")
		for _, m := range docLink.FindAllStringSubmatch(text, -1) {
			link := m[1] + m[2]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(link, "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, link, err)
				continue
			}
			if anchor != "" && !slices.Contains(docAnchors(docRead(t, target)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", file, link)
			}
		}
	}
}

// docAnchors returns the anchors that headings get where Markdown is shown.
func docAnchors(text string) []string {
	var anchors []string
	for line := range strings.Lines(docFence.ReplaceAllString(text, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return anchors
}
