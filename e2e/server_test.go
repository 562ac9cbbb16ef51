package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-realtime/realtime"
	"github.com/caddy-realtime/realtime/e2e/faultproxy"
	"github.com/caddy-realtime/realtime/internal/freeport"
)

// A site is a Caddy in this process that serves site/, the pages in testdata
// and their rooms, with a proxy before it. Browsers go through the proxy.
type site struct {
	*faultproxy.Proxy
	backend string   // Caddy itself, a host and a port
	options []string // of realtime, one a line
}

// shortGrace is an option: who has gone is gone.
const shortGrace = "room * {\n\t\t\tpresence on 1s\n\t\t}"

// startSite runs Caddy until t ends, with these options of realtime beside the
// usual ones. There is one Caddy in a process, so tests
// with a site are not parallel.
func startSite(t *testing.T, options ...string) *site {
	t.Helper()
	s := &site{backend: freeAddress(t), options: append(options, "rate off")}
	s.load(t, "first")
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s.another(t)
}

// freeAddress returns an address of this machine on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// load gives Caddy its configuration, which differs from another version's in one
// header. A client with the cookie user=ann is Ann.
func (s *site) load(t *testing.T, version string) {
	t.Helper()
	root, err := filepath.Abs("../site")
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	order request_header before basic_auth
	log {
		level ERROR
	}
}

http://%s {
	root * %s
	realtime {
		max_connections_per_address off
		%s
	}
	header X-Version %s
	request_header @ann Authorization "Basic YW5uOnNlY3JldA=="
	@ann header Cookie *user=ann*
	basic_auth @ann {
		ann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS
	}
	handle_path /e2e/* {
		root * %s
		try_files {path} {path}.html
		templates
		file_server
	}
	rewrite /two-lines/* /two-lines.html
	handle /two-lines.html {
		root * %[5]s
		file_server
	}
	file_server
}
`, s.backend, root, strings.Join(s.options, "\n\t\t"), version, own)
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
}

// another is the same Caddy behind a proxy of its own.
func (s *site) another(t *testing.T) *site {
	t.Helper()
	proxy, err := faultproxy.New(s.backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return &site{proxy, s.backend, s.options}
}

// address is that of a page with an element for the room of this test, which
// may have further parameters, like form=full.
func (s *site) address(t *testing.T, parameters ...string) string {
	t.Helper()
	return s.URL() + "/e2e/chat?" + strings.Join(append(parameters, "room="+room(t)), "&")
}

// open is openPages in the room of this test.
func (s *site) open(t *testing.T, names ...string) []*chatPage {
	t.Helper()
	return openPages(t, s.address(t), names...)
}

// transports are all there are, in the order in which the client tries them.
var transports = []string{"websocket", "sse", "poll"}

// openBy opens one page for each of some transports, by that transport and
// under its name.
func (s *site) openBy(t *testing.T, transports ...string) []*chatPage {
	t.Helper()
	pages := make([]*chatPage, len(transports))
	for i, transport := range transports {
		pages[i] = openPage(t, s.address(t, "transport="+transport), transport)
	}
	for _, p := range pages {
		p.WaitTransport(p.name)
		p.Name(p.name)
		p.ForgetStates()
	}
	return pages
}

// room is a name that only this test has.
func room(t *testing.T) string { return strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) }

// publish posts a message past the proxy, as a backend would, in the form that
// the page itself uses.
func (s *site) publish(t *testing.T, name, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": name, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	var resp *http.Response
	// A reload of Caddy may reset a connection that was not read yet. A backend then
	// tries again, and the key says that it is the same message.
	key := rand.Text()
	for range 5 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.backend+"/rt/"+room(t), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		if resp, err = http.DefaultClient.Do(req); err == nil {
			break
		}
		t.Log(err)
	}
	if resp == nil {
		t.Fatalf("publish %q: no answer", text)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("publish %q: %s %s", text, resp.Status, strings.TrimSpace(string(answer)))
	}
}

// post publishes JSON in a room past the proxy.
func (s *site) post(t *testing.T, room, data string) {
	t.Helper()
	resp, err := http.Post("http://"+s.backend+"/rt/"+room, "application/json", strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("publish in %s: %s", room, resp.Status)
	}
}

// texts are what the room holds, as Caddy itself says.
func (s *site) texts(t *testing.T) []string {
	t.Helper()
	resp, err := http.Get("http://" + s.backend + "/rt/" + room(t) + "?limit=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct {
		Messages []struct{ Data struct{ Text string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(page.Messages))
	for i, message := range page.Messages {
		all[i] = message.Data.Text
	}
	return all
}

// members is how many there are in the room, as Caddy itself says.
func (s *site) members(t *testing.T) string {
	t.Helper()
	resp, err := http.Head("http://" + s.backend + "/rt/" + room(t))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Realtime-Members")
}

// eventually fails t unless ok holds in time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
