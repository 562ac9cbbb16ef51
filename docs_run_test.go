package realtime

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// sessionSubprotocol is the one with which lines may be received in any order.
const sessionSubprotocol = "realtime.v1"

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
	if strings.Contains(run, "caddy ") {
		r.shimCaddy()
	}
	if strings.HasPrefix(run, "curl ") {
		run = "exec " + run // so that it is curl that cancel ends
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", run)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "CURL_HOME="+r.dir, "no_proxy=*", // no .curlrc, no proxy
		"PATH="+filepath.Join(r.dir, "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
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

// shimCaddy puts a caddy into the PATH, which is the binary of this test: see TestMain.
func (r *docRunner) shimCaddy() {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	bin := filepath.Join(r.dir, "bin")
	if err := os.MkdirAll(bin, 0o750); err != nil {
		r.t.Fatal(err)
	}
	script := "#!/bin/sh\nREALTIME_TEST_IS_CADDY=1 exec '" + self + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "caddy"), []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
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
			r.closed(ctx, c, at, code)
			return
		default:
			if _, got, err := c.Read(ctx); err != nil || !r.match(text, string(got)) {
				r.errorf(at, "received\n%s\n(%v), want\n%s", got, err, text)
			}
		}
	}
	r.receive(ctx, c, due)
}

// closed checks that the server closes the connection with the code.
func (r *docRunner) closed(ctx context.Context, c *websocket.Conn, at int, code string) {
	_, got, err := c.Read(ctx)
	for err == nil && c.Subprotocol() == sessionSubprotocol {
		_, got, err = c.Read(ctx) // what the document does not show
	}
	if status := websocket.CloseStatus(err); strconv.Itoa(int(status)) != code {
		r.errorf(at, "received %q and %v, want close code %s", got, err, code)
	}
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
	r.write("index.html", b.text)
	if got := caddytest.ReadAll(r.t, r.site.Do("GET", "/", "")); got != b.text {
		r.errorf(b.line, "the site serves\n%s\nwant the page", got)
	}
	reads := regexp.MustCompile(`new EventSource\('([^']+)'\)`).FindStringSubmatch(b.text)
	writes := regexp.MustCompile(`fetch\('([^']+)', \{method: 'POST', body: `).FindStringSubmatch(b.text)
	if reads == nil || writes == nil {
		r.errorf(b.line, "the page has no EventSource, or no fetch that posts")
		return
	}
	resp := r.site.Do("POST", writes[1], "from the page", "Content-Type: text/plain;charset=UTF-8", "Origin: "+r.site.URL)
	if resp.StatusCode != http.StatusCreated {
		r.errorf(b.line, "POST %s: %s", writes[1], resp.Status)
	}
	target, ok := strings.CutPrefix(reads[1], "/rt/")
	if !ok {
		r.errorf(b.line, "the page reads %s, which is no room", reads[1])
		return
	}
	stream := r.site.Stream(target, "text/event-stream", "Origin: "+r.site.URL)
	defer stream.Close()
	if got := stream.Until("data: "); got != "from the page" {
		r.errorf(b.line, "the page reads %q", got)
	}
}
