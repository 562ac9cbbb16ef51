package surroundings

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// chains are what may stand around realtime, each before %s.
var chains = map[string]struct {
	before string
	held   bool // every response is held back until its handler has returned
	h1     bool // it makes no sense beyond HTTP/1.1
}{
	"nothing":                    {before: "%s"},
	"encode":                     {before: "encode zstd gzip\nhandle /rt/* {\n%s\n}"},
	"encode of everything":       {before: "route {\nencode {\ngzip\nzstd\nminimum_length 1\nmatch {\nheader Content-Type *\n}\n}\n%s\n}"},
	"encode, transformed":        {before: "route {\nencode gzip zstd\nheader >Cache-Control no-cache\n%s\n}"},
	"encode, inside":             {before: "handle_path /x/* {\nrespond no\n}\nencode gzip\nroute /rt/* {\nheader >X-Late 1\n%s\n}"},
	"templates":                  {before: "templates\nhandle /rt/* {\n%s\n}"},
	"templates, ordered":         {before: "route {\ntemplates\n%s\n}"},
	"intercept":                  {before: "intercept {\n@no status 418\nhandle_response @no {\nrespond tea\n}\n}\nhandle /rt/* {\n%s\n}"},
	"intercept of everything":    {before: "route {\nintercept {\n@ok status 200\nreplace_status @ok 200\n}\n%s\n}", held: true},
	"header of the connection":   {before: "header {\nConnection keep-alive\n-X-Nothing\n}\n%s", h1: true},
	"intercept of a handshake":   {before: "route {\nintercept {\n@switched status 101\nhandle_response @switched {\nrespond no\n}\n}\n%s\n}"},
	"tracing":                    {before: "route {\ntracing\nencode gzip\nheader >Cache-Control no-cache\n%s\n}"},
	"header":                     {before: "header >Server hidden\nheader ?X-A 1\n%s"},
	"log":                        {before: "log {\noutput discard\n}\n%s"},
	"log_append of the response": {before: "log {\noutput discard\n}\nroute {\nlog_append body {http.response.body}\n%s\n}", held: true},
	"log_append of a header":     {before: "log {\noutput discard\n}\nroute {\nlog_append type {http.response.header.Content-Type}\n%s\n}"},
	"request_body":               {before: "request_body {\nmax_size 1MB\n}\n%s"},
	"subroutes":                  {before: "route {\nroute {\nhandle /rt/* {\nencode gzip\n%s\n}\n}\n}"},
	"vars and push":              {before: "vars a b\npush /rt/* {\nGET /x\n}\n%s"},
}

// streams are the ways to read a room that go on.
var streams = map[string]struct {
	accept, query, body string // body: of a message, as it is written
}{
	"SSE":       {"text/event-stream", "", "data: after"},
	"envelopes": {"text/event-stream", "?envelope=1", `"data":"after"`},
	"NDJSON":    {"application/x-ndjson", "", `"data":"after"`},
	"log":       {"text/html", "?log", "<p dir=\"auto\">after</p>"},
}

// With any handlers around realtime a stream has a head and arrives whole. If they hold
// it back, it ends, and the client asks again.
func TestStreamsBehindOtherHandlers(t *testing.T) {
	for name, chain := range chains {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "none") // for tracing
			s := caddytest.StartTLS(t, fmt.Sprintf(chain.before, "realtime {\n"+caddytest.Open+"ui on\n}")+"\nrespond / ok")
			for proto, c := range caddytest.Clients(t) {
				if chain.h1 && proto != "HTTP/1.1" {
					continue
				}
				for kind, stream := range streams {
					for _, coding := range []string{"identity", "gzip, zstd"} {
						t.Run(fmt.Sprint(proto, kind, coding), func(t *testing.T) {
							s := s.In(t)
							room := strings.NewReplacer("/", "", ".", "", " ", "").Replace(proto + kind + coding[:2])
							checkStream(t, s, c, proto, room, stream.accept, stream.query, stream.body, coding, chain.held)
						})
					}
				}
			}
		})
	}
}

func checkStream(t *testing.T, s *caddytest.Site, c *http.Client, proto, room, accept, query, body, coding string, held bool) {
	t.Helper()
	since := ""
	if held { // it gets the messages that are there, and no more
		s.Fetch(c, proto, "POST", room, "before")
		s.Fetch(c, proto, "POST", room, "after")
		since = "?"
		if query != "" {
			since = "&"
		}
		since += "last=2"
	}
	resp := s.Fetch(c, proto, "GET", room+query+since, "", "Accept: "+accept, "Accept-Encoding: "+coding)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), accept) {
		t.Fatalf("%s, %v", resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(decoded(t, resp))
	if !held {
		if !lines.Scan() {
			t.Fatalf("no opening: %v", lines.Err())
		}
		s.Fetch(c, proto, "POST", room, "after")
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), body) {
			return
		}
	}
	t.Errorf("the message never came: %v", lines.Err())
}

// decoded undoes the content coding of a response.
func decoded(t *testing.T, resp *http.Response) io.Reader {
	t.Helper()
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "":
		return resp.Body
	case "gzip":
		r, err := gzip.NewReader(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case "zstd":
		r, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	default:
		t.Fatalf("coding %q", coding)
		return nil
	}
}

// Pages, polls, publishing and WebSockets pass, too.
func TestPagesBehindOtherHandlers(t *testing.T) {
	for name, chain := range chains {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "none")
			s := caddytest.Start(t, fmt.Sprintf(chain.before, "realtime {\n"+caddytest.Open+"ui on\n}")+"\nrespond / ok")
			s.Post("r", "one")
			if p := s.Page("r"); len(p.Texts()) != 1 || p.Texts()[0] != "one" {
				t.Errorf("page: %q", p.Texts())
			}
			if p := s.Page("r?wait=5&last=1"); len(p.Texts()) != 1 {
				t.Errorf("poll: %q", p.Texts())
			}
			c := s.Dial("r")
			s.Post("r", "two")
			if got := caddytest.Receive(t, c); got != "two" {
				t.Errorf("WebSocket: %q", got)
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("closing: %v", err)
			}
			// A server must not execute what people have written.
			s.Post("r", `{{"evil" | upper}}`)
			if page := readUntil(t, s.Do("GET", "/rt/r?log&last=1", "", caddytest.Browser), "evil"); strings.Contains(page, "EVIL") {
				t.Errorf("the page is %s", page)
			}
		})
	}
}

// readUntil returns a body up to the text, in any letter case. It must come.
func readUntil(t *testing.T, resp *http.Response, text string) string {
	t.Helper()
	var read strings.Builder
	for b := make([]byte, 4096); ; {
		n, err := resp.Body.Read(b)
		read.Write(b[:n])
		if strings.Contains(strings.ToLower(read.String()), text) {
			return read.String()
		}
		if err != nil {
			t.Fatalf("%s never came, %v: %s", text, err, read.String())
		}
	}
}

// The first bytes of a stream are those of an HTTP/1.1 response that says that its
// connection ends with it.
func TestStreamsBeginWithAHead(t *testing.T) {
	for _, chain := range []string{"encode", "encode of everything", "templates", "nothing"} {
		s := caddytest.Start(t, fmt.Sprintf(chains[chain].before, "realtime {\n"+caddytest.Open+"ui on\n}")+"\nrespond / ok")
		for kind, stream := range streams {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(conn, "GET /rt/r%s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\nAccept-Encoding: gzip\r\n\r\n", stream.query, strings.TrimPrefix(s.URL, "http://"), stream.accept)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", chain, kind, err)
			}
			if resp.StatusCode != http.StatusOK || !resp.Close {
				t.Errorf("%s, %s: %s, connection to be closed: %t", chain, kind, resp.Status, resp.Close)
			}
		}
	}
}
