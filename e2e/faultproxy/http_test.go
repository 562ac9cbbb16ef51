package faultproxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// Through the proxy a handler sees the same requests, and a client the same answers, as
// without it, request after request on one connection.
func TestTransparent(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %q %d %q",
			r.Method, r.RequestURI, r.Host, r.Header["X-Two"], r.ContentLength, r.TransferEncoding))
		w.Write(body)
	})
	w := dial(t, proxy)
	big := strings.Repeat("x", 100_000)
	for _, test := range []struct{ head, body, seen, want string }{
		{"GET /a%2Fb?c=d+e HTTP/1.1\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n", "", `GET /a%2Fb?c=d+e h ["1" "2"] 0 []`, ""},
		{"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", "hello", `POST / h [] 5 []`, "hello"},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", `POST / h [] -1 ["chunked"]`, "abcde"},
		{"POST / HTTP/1.1\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n", big, `POST / h [] 100000 []`, big},
		{"HEAD / HTTP/1.1\r\n\r\n", "", `HEAD / h [] 0 []`, ""},
		{"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n", "", `GET /last h [] 0 []`, ""},
	} {
		head := strings.Replace(test.head, "\r\n", "\r\nHost: h\r\n", 1)
		w.send("%s%s", head, test.body)
		if strings.Contains(head, "Expect") {
			w.wantLine("HTTP/1.1 100 Continue")
			w.wantLine("")
		}
		method, _, _ := strings.Cut(head, " ")
		resp, err := http.ReadResponse(w.Reader, &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != test.want || resp.Header.Get("X-Seen") != test.seen {
			t.Errorf("%s\ngot  %s, %d bytes, %v\nwant %s, %d bytes", head, resp.Header.Get("X-Seen"), len(body), err, test.seen, len(test.want))
		}
	}
	w.wantEnd()
}

// lines answers with a line for each value of next, until it is closed.
func lines(next <-chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		out.Flush()
		for {
			select {
			case s, ok := <-next:
				if !ok {
					return
				}
				io.WriteString(w, s+"\n")
				out.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
}

func TestStreamIsLive(t *testing.T) {
	next := make(chan string)
	proxy, _ := newHTTP(t, lines(next))
	resp := dial(t, proxy).get("/")
	body := bufio.NewReader(resp.Body)
	for _, s := range []string{"one", "two"} {
		next <- s
		if got, err := body.ReadString('\n'); got != s+"\n" {
			t.Errorf("got %q, %v, want %q", got, err, s)
		}
	}
	close(next)
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v, want the end", rest, err)
	}
}

// A client that leaves ends its own request, and no other.
func TestBreak(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	proxy.Break("/a")
	w := dial(t, proxy)
	w.send("GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n")
	if err := w.wantEnd(); err == nil {
		t.Error("the path that is broken: no reset")
	}
	for _, path := range []string{"/", "/a/b", "/a"} {
		if path == "/a" {
			proxy.Resume()
		}
		if body, err := io.ReadAll(dial(t, proxy).get(path).Body); string(body) != path || err != nil {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
}

func TestClientLeaves(t *testing.T) {
	left := make(chan struct{})
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		left <- struct{}{}
	})
	one, two := dial(t, proxy), dial(t, proxy)
	one.get("/")
	two.get("/")
	one.Conn.Close()
	<-left
	eventually(t, "one connection", func() bool { return proxy.Connections() == 1 })
	two.Conn.Close()
	<-left
}

// A response that breaks off must not look as if it had ended.
func TestBackendBreaksOff(t *testing.T) {
	for _, hold := range []faultproxy.Hold{faultproxy.HoldNothing, faultproxy.HoldBody} {
		proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half of ")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		proxy.Buffer(hold, 0)
		if body, err := io.ReadAll(dial(t, proxy).get("/").Body); err == nil {
			t.Errorf("hold %d: got %q and no error", hold, body)
		}
	}
}

// A body without length ends with its connection (RFC 9112, section 6.3).
func TestCloseDelimited(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: 1\n\n")
	})
	body, err := io.ReadAll(dial(t, proxy).get("/").Body)
	if err != nil || string(body) != "data: 1\n\n" {
		t.Errorf("got %q, %v", body, err)
	}
}

// upgrade is a backend that switches to a protocol of echoed bytes, and greets.
func upgrade(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nwelcome\n")
	io.Copy(c, rw)
}

func askUpgrade(t *testing.T, proxy *faultproxy.Proxy) (*wire, int) {
	t.Helper()
	w := dial(t, proxy)
	return w, w.get("/", "Connection: Upgrade", "Upgrade: websocket").StatusCode
}

func TestUpgradePass(t *testing.T) {
	proxy, _ := newHTTP(t, upgrade)
	w, status := askUpgrade(t, proxy)
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	w.wantLine("welcome")
	w.send("hello\n")
	w.wantLine("hello")
	proxy.Stall(faultproxy.ToClient)
	w.send("later\n")
	w.wantSilence()
	proxy.Resume()
	w.wantLine("later")
	proxy.Cut(faultproxy.RST)
	if err := w.wantEnd(); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

// Data that a client sent before it left arrives.
func TestUpgradeLastWords(t *testing.T) {
	got := make(chan string, 1)
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		var said bytes.Buffer
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(&said, rw)
		got <- said.String()
	})
	w, _ := askUpgrade(t, proxy)
	w.send("goodbye")
	w.Conn.Close()
	if s := <-got; s != "goodbye" {
		t.Errorf("got %q", s)
	}
}

func TestUpgradeRefused(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			t.Error("the backend was asked")
		}
	})
	proxy.BlockUpgrade(faultproxy.UpgradeRefused)
	w, status := askUpgrade(t, proxy)
	if status != http.StatusForbidden {
		t.Error(status)
	}
	w.wantEnd()
	if status := dial(t, proxy).get("/").StatusCode; status != http.StatusOK {
		t.Errorf("another request: %d", status)
	}
	if n := proxy.Upgrades(); n != 1 {
		t.Errorf("%d upgrades counted, want 1", n)
	}
}

func TestUpgradeKilled(t *testing.T) {
	proxy, _ := newHTTP(t, upgrade)
	proxy.BlockUpgrade(faultproxy.UpgradeKilled)
	w, status := askUpgrade(t, proxy)
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	if err := w.wantEnd(); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

func TestUpgradeSilent(t *testing.T) {
	proxy, _ := newHTTP(t, upgrade)
	proxy.BlockUpgrade(faultproxy.UpgradeSilent)
	w, status := askUpgrade(t, proxy)
	if status != http.StatusSwitchingProtocols {
		t.Fatal(status)
	}
	w.send("anybody there?\n")
	w.wantSilence()
	w.Conn.Close()
	eventually(t, "no connection counted", func() bool { return proxy.Connections() == 0 })
}

func TestBufferBody(t *testing.T) {
	next := make(chan string)
	proxy, _ := newHTTP(t, lines(next))
	proxy.Buffer(faultproxy.HoldBody, 10)
	w := dial(t, proxy)
	resp := w.get("/")
	next <- "12345"
	w.wantSilence()
	next <- "6789"
	got := make([]byte, 11)
	if n, err := io.ReadFull(resp.Body, got[:10]); string(got[:n]) != "12345\n6789" {
		t.Errorf("got %q, %v", got[:n], err)
	}
	next <- "last"
	w.wantSilence()
	close(next)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "\nlast\n" {
		t.Errorf("got %q, %v", rest, err)
	}
}

// A response without a body is not held back, and the connection goes on.
func TestBufferNoBody(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, hold := range []faultproxy.Hold{faultproxy.HoldBody, faultproxy.HoldAll} {
		proxy.Buffer(hold, 0)
		w := dial(t, proxy)
		for range 2 {
			if status := w.get("/").StatusCode; status != http.StatusNoContent {
				t.Error(status)
			}
		}
	}
}

func TestBufferAll(t *testing.T) {
	next := make(chan string, 1)
	proxy, _ := newHTTP(t, lines(next))
	proxy.Buffer(faultproxy.HoldAll, 0)
	w := dial(t, proxy)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	next <- "all of it"
	w.wantSilence()
	close(next)
	w.wantLine("HTTP/1.1 200 OK")
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n"), w)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "all of it\n" {
		t.Errorf("got %q, %v", body, err)
	}
}
