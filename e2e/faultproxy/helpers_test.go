package faultproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// patience bounds every wait; silence is how long nothing must come for a test
// to believe that nothing does.
const (
	patience = 10 * time.Second
	silence  = 100 * time.Millisecond
)

// TestMain fails the run when a goroutine of a proxy outlives its Close.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaked waits for the goroutines of proxies to be gone and returns the stacks
// of those that are not. A joined goroutine may need a moment to leave the list.
func leaked() string {
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		all := string(stacks[:runtime.Stack(stacks, true)])
		var left []string
		for one := range strings.SplitSeq(all, "\n\n") {
			if strings.Contains(one, "faultproxy.(*") {
				left = append(left, one)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

// eventually fails t unless ok holds in time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// newHTTP is a proxy before a server with handler, and the server.
func newHTTP(t *testing.T, handler http.HandlerFunc) (*faultproxy.Proxy, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	proxy, err := faultproxy.New(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy, server
}

// newEcho is a proxy for bytes before a server that sends back what it gets.
func newEcho(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	proxy, err := faultproxy.NewTCP(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy
}

// A wire is one raw connection to a proxy.
type wire struct {
	net.Conn
	*bufio.Reader
	t *testing.T
}

func dial(t *testing.T, proxy *faultproxy.Proxy) *wire {
	t.Helper()
	c, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{c, bufio.NewReader(c), t}
}

// dialClosed wants the connection to be closed at once, which may be so early
// that the system doesn't even call it a connection.
func dialClosed(t *testing.T, proxy *faultproxy.Proxy) {
	t.Helper()
	c, err := net.DialTimeout("tcp", proxy.Addr(), patience)
	if err != nil {
		return
	}
	defer c.Close()
	(&wire{c, bufio.NewReader(c), t}).wantEnd()
}

func (w *wire) Read(b []byte) (int, error) { return w.Reader.Read(b) }

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w.Conn, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// line returns the next line without its end.
func (w *wire) line() (string, error) {
	w.SetReadDeadline(time.Now().Add(patience))
	s, err := w.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err
}

func (w *wire) wantLine(want string) {
	w.t.Helper()
	if got, err := w.line(); err != nil || got != want {
		w.t.Fatalf("got line %q, %v, want %q", got, err, want)
	}
}

func (w *wire) wantSilence() {
	w.t.Helper()
	w.SetReadDeadline(time.Now().Add(silence))
	defer w.SetReadDeadline(time.Now().Add(2 * patience))
	if b, err := w.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("got %q, %v, want nothing", b, err)
	}
}

// wantEnd reads to the end and returns how it came: nil for FIN.
func (w *wire) wantEnd() error {
	w.t.Helper()
	w.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, w.Reader)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Error("the connection stays open")
	}
	return err
}

// get sends a GET and reads the response's head.
func (w *wire) get(path string, header ...string) *http.Response {
	w.t.Helper()
	w.send("GET %s HTTP/1.1\r\nHost: example.com\r\n%s\r\n", path, strings.Join(append(header, ""), "\r\n"))
	w.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}
