package realtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/coder/websocket"
)

func TestMain(m *testing.M) {
	// Caddy writes to a folder of this process, and not to the user's, which it has
	// looked up before.
	dir, err := os.MkdirTemp("", "realtime-test")
	if err != nil {
		panic(err)
	}
	caddy.DefaultStorage.Path = dir
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		_ = os.Setenv(name, dir)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// site is a Caddy that runs in this process; there is one at a time.
type site struct {
	t    *testing.T
	port int
	URL  string // http://127.0.0.1:port
}

// open is what most tests say to realtime: nothing that bounds them.
const open = "rate off\nmax_connections_per_address off\n"

// What internal/serve says to clients, and its bounds.
const (
	allowedMethods     = "GET, HEAD, POST, OPTIONS"
	preflightHeaders   = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Realtime-Conn, Realtime-Event, TTL"
	sessionSubprotocol = "realtime.v1"
	maxCommandBytes    = 8 << 20
	maxRefusedOrigins  = 32
	maxLoggedOrigin    = 256
)

// startSite runs Caddy with a site whose block is given.
func startSite(t *testing.T, block string) *site {
	t.Helper()
	s := &site{t: t, port: freePort(t)}
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	s.reload(block)
	stopAfter(t)
	return s
}

// stopAfter stops Caddy when the test ends.
func stopAfter(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
}

// reload gives the running Caddy a new configuration.
func (s *site) reload(block string) {
	s.t.Helper()
	loadCaddyfile(s.t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\n}\n%s {\n%s\n}\n", s.URL, block))
}

// loadCaddyfile runs Caddy with a whole Caddyfile.
func loadCaddyfile(t *testing.T, caddyfile string) {
	t.Helper()
	config, warnings, err := adapt(caddyfile)
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, caddyfile)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Fatalf("warning: %s", w)
		}
	}
	loadJSON(t, string(config))
}

// loadJSON runs Caddy with a configuration, which alone accepts connections then.
func loadJSON(t *testing.T, config string) {
	t.Helper()
	if err := caddy.Load([]byte(config), true); err != nil {
		t.Fatalf("loading: %v\n%s", err, config)
	}
	awaitOldListeners(t)
}

func adapt(caddyfile string) ([]byte, []caddyconfig.Warning, error) {
	return caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// client follows no redirect and keeps no connection.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// do sends a request with headers given as "Name: value".
func (s *site) do(method, target, body string, headers ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second+*churnTime)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, s.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := client.Do(req)
	for range 3 {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		// During a reload a connection may wait at the old listener.
		req.Body = io.NopCloser(strings.NewReader(body))
		resp, err = client.Do(req)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// post publishes and returns the id.
func (s *site) post(room, body string, headers ...string) string {
	s.t.Helper()
	resp := s.do("POST", "/rt/"+room, body, headers...)
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("POST %s: %s %s", room, resp.Status, readAll(s.t, resp))
	}
	var receipt struct{ ID, At string }
	decode(s.t, readAll(s.t, resp), &receipt)
	return receipt.ID
}

// page is a poll's answer.
type page struct {
	Room, Cursor, Conn string
	Messages           []envelope
	More               bool
	Gap                *envelope
	Presence           []envelope
	PresenceCursor     string `json:"presence_cursor"`
}

// envelope is a message or a control object.
type envelope struct {
	ID, Room, Event, At, Key    string
	Op, From0, To, Reason, Conn string
	Cursor                      string
	Status                      int
	Title, Detail               string
	Data                        json.RawMessage
	From                        json.RawMessage
}

// text returns the data as a string.
func (e envelope) text() string {
	var s string
	if json.Unmarshal(e.Data, &s) != nil {
		return string(e.Data)
	}
	return s
}

func (s *site) page(target string, headers ...string) page {
	s.t.Helper()
	resp := s.do("GET", "/rt/"+target, "", headers...)
	body := readAll(s.t, resp)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s %s", target, resp.Status, body)
	}
	var p page
	decode(s.t, body, &p)
	return p
}

func (p page) texts() []string {
	texts := []string{}
	for _, m := range p.Messages {
		texts = append(texts, m.text())
	}
	return texts
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *testing.T, body string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), to); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
}

// dial opens a WebSocket.
func (s *site) dial(target string, headers ...string) *websocket.Conn {
	s.t.Helper()
	h := http.Header{}
	for _, v := range headers {
		name, value, _ := strings.Cut(v, ": ")
		h.Add(name, value)
	}
	options := &websocket.DialOptions{HTTPHeader: h, Subprotocols: h.Values("Sec-WebSocket-Protocol")}
	h.Del("Sec-WebSocket-Protocol")
	c, resp, err := websocket.Dial(s.t.Context(), s.URL+"/rt/"+target, options)
	for range 3 {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		c, resp, err = websocket.Dial(s.t.Context(), s.URL+"/rt/"+target, options)
	}
	if err != nil {
		if resp != nil && resp.Body != nil {
			b, _ := io.ReadAll(resp.Body)
			s.t.Fatalf("dialing %s: %v %s", target, err, b)
		}
		s.t.Fatalf("dialing %s: %v", target, err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// receive reads one frame.
func receive(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("reading a frame: %v", err)
	}
	return string(b)
}

// receiveEnvelope reads one frame as an object.
func receiveEnvelope(t *testing.T, c *websocket.Conn) envelope {
	t.Helper()
	var e envelope
	decode(t, receive(t, c), &e)
	return e
}

// lines reads a stream line by line.
type lines struct {
	t *testing.T
	*bufio.Scanner
	cancel context.CancelFunc
}

// stream opens a stream and checks its type.
func (s *site) stream(target, accept string, headers ...string) *lines {
	s.t.Helper()
	resp := s.do("GET", "/rt/"+target, "", append(headers, "Accept: "+accept)...)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != accept {
		s.t.Fatalf("GET %s: %s, type %q: %s", target, resp.Status, resp.Header.Get("Content-Type"), readAll(s.t, resp))
	}
	return &lines{t: s.t, Scanner: bufio.NewScanner(resp.Body), cancel: func() { _ = resp.Body.Close() }}
}

// next returns the next line.
func (l *lines) next() string {
	l.t.Helper()
	if !l.Scan() {
		l.t.Fatalf("the stream ended: %v", l.Err())
	}
	return l.Text()
}

// until reads up to a line with the beginning and returns its rest.
func (l *lines) until(beginning string) string {
	l.t.Helper()
	for {
		if rest, ok := strings.CutPrefix(l.next(), beginning); ok {
			return rest
		}
	}
}

// rest reads to the end.
func (l *lines) rest() []string {
	var all []string
	for l.Scan() {
		all = append(all, l.Text())
	}
	return all
}
