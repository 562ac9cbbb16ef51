package surroundings

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The configurations of docs/PROXIES.md are under test, with the programs that they
// are for.

// proxyBlock returns the document's configuration of a program.
func proxyBlock(t *testing.T, language string) string {
	t.Helper()
	document, err := os.ReadFile("../../docs/PROXIES.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(document), "\n```"+language+"\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !found || !closed {
		t.Fatalf("docs/PROXIES.md has no %s", language)
	}
	return block + "\n"
}

// replaceOnce replaces what must be there.
func replaceOnce(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) != 1 {
		t.Fatalf("%q is not in %s", from, text)
	}
	return strings.Replace(text, from, to, 1)
}

// program starts a proxy with a configuration, and waits until it listens.
func program(t *testing.T, name, config string, port int, arguments ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Skipf("no %s here: install it", name)
		}
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, arguments...)
	command.Dir, command.Stdout, command.Stderr = folder, &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // it is killed
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%s: %s", name, &said)
		}
	})
	within := time.After(20 * time.Second)
	for {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", name, &said)
		case <-within:
			t.Fatalf("%s does not listen", name)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// nginx puts an nginx with a server before the site.
func nginx(t *testing.T, s *caddytest.Site, server string, port int) *caddytest.Site {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	config := user + "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr crit;\nevents {}\nhttp {\naccess_log off;\n" +
		"client_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\nuwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n" + server + "}\n"
	program(t, "nginx", config, port, "-p", ".", "-c", "conf", "-e", "stderr")
	return s.By(port)
}

func nginxOfDocs(t *testing.T, s *caddytest.Site) *caddytest.Site {
	t.Helper()
	port := caddytest.FreePort(t)
	server := replaceOnce(t, proxyBlock(t, "nginx"), "listen 80;", fmt.Sprintf("listen 127.0.0.1:%d;", port))
	server = replaceOnce(t, server, "http://127.0.0.1:8080;", s.URL+";")
	return nginx(t, s, server, port)
}

func haproxyOfDocs(t *testing.T, s *caddytest.Site) *caddytest.Site {
	t.Helper()
	port := caddytest.FreePort(t)
	config := replaceOnce(t, proxyBlock(t, "haproxy"), "bind :80", fmt.Sprintf("bind 127.0.0.1:%d", port))
	config = replaceOnce(t, config, "127.0.0.1:8080", strings.TrimPrefix(s.URL, "http://"))
	program(t, "haproxy", config, port, "-db", "-f", "conf")
	return s.By(port)
}

// behindProxies starts a site that believes a proxy on this machine, and gives each
// proxy before it a test.
func behindProxies(t *testing.T, options string, test func(t *testing.T, direct, by *caddytest.Site)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T, *caddytest.Site) *caddytest.Site{"nginx": nginxOfDocs, "haproxy": haproxyOfDocs} {
		t.Run(name, func(t *testing.T) {
			s := caddytest.New(t)
			caddytest.Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}\n}\nhttp://:%d {\nrealtime {\n%s\n}\n}\n", s.Port, options))
			t.Cleanup(func() {
				if err := caddy.Stop(); err != nil {
					t.Errorf("stopping Caddy: %v", err)
				}
			})
			test(t, s, start(t, s))
		})
	}
}

// As a browser does it: with the origin of the page, which is the proxy's.
func TestProxiesOfTheDocs(t *testing.T) {
	behindProxies(t, caddytest.Open, func(t *testing.T, direct, by *caddytest.Site) {
		own := "Origin: " + by.URL
		socket := by.Dial("lobby", own)
		events := by.Stream("lobby", "text/event-stream", own)
		events.Until("retry: ")
		lines := by.Stream("lobby", "application/x-ndjson", own)
		lines.Until(`{"op":"ready"`)
		first := by.Post("lobby", "one", own)
		if got := caddytest.Receive(t, socket); got != "one" {
			t.Errorf("by WebSocket: %q", got)
		}
		if got := events.Until("data: "); got != "one" {
			t.Errorf("by events: %q", got)
		}
		if got := lines.Next(); !strings.Contains(got, `"data":"one"`) {
			t.Errorf("by NDJSON: %q", got)
		}
		polled := make(chan caddytest.Page, 1)
		go func() {
			defer close(polled)
			polled <- by.Page("lobby?wait=20&since="+first, own)
		}()
		if err := socket.Write(t.Context(), websocket.MessageText, []byte("two")); err != nil {
			t.Fatal(err)
		}
		if got := (<-polled).Texts(); !slices.Equal(got, []string{"two"}) {
			t.Errorf("by long poll: %q", got)
		}
		if got := events.Until("data: "); got != "two" {
			t.Errorf("by events: %q", got)
		}
		caddytest.Refused(t, by.Do("POST", "/rt/lobby", "x", "Origin: https://evil.example"), 403, "origin refused")
	})
}

// Clients behind one proxy count under their own addresses, and cannot choose others.
func TestAddressesBehindProxies(t *testing.T) {
	behindProxies(t, "max_connections_per_address 1", func(t *testing.T, direct, by *caddytest.Site) {
		from := func(address string, headers ...string) *http.Response {
			t.Helper()
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
			transport := &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}
			req, err := http.NewRequestWithContext(t.Context(), "GET", by.URL+"/rt/lobby", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", "application/x-ndjson")
			for _, h := range headers {
				name, value, _ := strings.Cut(h, ": ")
				req.Header.Set(name, value)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = resp.Body.Close() })
			return resp
		}
		for _, test := range []struct {
			address, forwarded string
			status             int
		}{
			{"127.0.0.2", "", 200},
			{"127.0.0.3", "", 200},
			{"127.0.0.3", "", 503},
			{"127.0.0.3", "192.0.2.7", 503},
		} {
			var headers []string
			if test.forwarded != "" {
				headers = []string{"X-Forwarded-For: " + test.forwarded}
			}
			if resp := from(test.address, headers...); resp.StatusCode != test.status {
				t.Errorf("%s, which says %q: %s, want %d", test.address, test.forwarded, resp.Status, test.status)
			}
		}
	})
}

// If nginx is not configured to pass on Host, a page is refused, in words that it can
// read, and the log says what to set.
func TestNginxThatChangesHost(t *testing.T) {
	for name, test := range map[string]struct{ origin, host, remedy string }{
		"the upstream's name": {"http://example.com", "", "a proxy changed the Host header"},
		"without its port":    {"", "proxy_set_header Host $host;", "the ports differ"},
	} {
		t.Run(name, func(t *testing.T) {
			s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"}")
			port := caddytest.FreePort(t)
			by := nginx(t, s, fmt.Sprintf("server {\nlisten 127.0.0.1:%d;\nlocation / {\nproxy_pass %s;\n%s\n}\n}\n", port, s.URL, test.host), port)
			from := by.URL
			if test.origin != "" {
				from = test.origin
			}
			caddytest.Refused(t, by.Do("POST", "/rt/lobby", "hi", "Origin: "+from), 403, from)
			lines := logged("refused a page from another origin")
			if len(lines) != 1 || lines[0]["origin"] != from || !strings.Contains(lines[0]["remedy"].(string), test.remedy) {
				t.Errorf("logged %v, want %q", lines, test.remedy)
			}
		})
	}
}

// unixClient returns a client that reaches every host through a Unix socket.
func unixClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// streamStatus opens a stream of a client, and returns the answer's status.
func streamStatus(t *testing.T, client *http.Client, forwarded string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://example.com/rt/lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode
}

// Over a Unix socket no client has an address: limits by address do not apply, the
// others do. A proxy's header gives clients their addresses back.
func TestUnixSockets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	client := unixClient(socket)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	load := func(hub, servers, options string) {
		t.Helper()
		caddytest.Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\n%s\n}\nhttp:// {\nbind unix/%s\nrealtime {\nhub %s\n%s\n}\n}\n", servers, socket, hub, options))
	}
	load("unix1", "", "max_connections_per_address 1\nmax_connections 3")
	for i, want := range []int{200, 200, 200, 503} {
		if got := streamStatus(t, client, "192.0.2.1"); got != want {
			t.Errorf("connection %d: %d, want %d", i+1, got, want)
		}
	}
	load("unix2", "servers {\ntrusted_proxies_unix\ntrusted_proxies_strict\n}", "max_connections_per_address 1")
	for _, test := range []struct {
		address string
		want    int
	}{{"192.0.2.1", 200}, {"192.0.2.1", 503}, {"192.0.2.2", 200}} {
		if got := streamStatus(t, client, test.address); got != test.want {
			t.Errorf("%s: %d, want %d", test.address, got, test.want)
		}
	}
	// The rate of a connection applies to clients without an address.
	load("unix3", "", "rate 1/h 1")
	c, _, err := websocket.Dial(t.Context(), "ws://example.com/rt/lobby?envelope=1", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	for range 3 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	for e := caddytest.ReceiveEnvelope(t, c); e.Op != "error" || e.Status != 429; e = caddytest.ReceiveEnvelope(t, c) {
		if e.Op == "bye" {
			t.Fatal("the connection ended")
		}
	}
}
