package requests

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// tries is how often what depends on who is faster is tried; few is for cases
// that others stand for.
const (
	tries = 50
	few   = 5
)

// refusedBodies are requests with a body that are refused for other reasons than
// each other, some of them before anybody has read of the body.
var refusedBodies = []struct {
	name, method, target string
	headers              []string
	status               int
}{
	{"too large", "POST", "lobby", nil, 413},
	{"form", "POST", "tiny", []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html"}, 413},
	{"origin", "POST", "lobby", []string{"Origin: https://elsewhere.example"}, 403},
	{"room", "POST", "a//b", nil, 400},
	{"ttl", "POST", "lobby?ttl=soon", nil, 400},
	{"method", "PUT", "lobby", nil, 405},
	{"path", "POST", "-/other.js", nil, 404},
	{"accept", "GET", "lobby", []string{"Accept: image/png"}, 406},
	{"not a handshake", "GET", "lobby", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, 426},
}

const refusing = "realtime {\n" + caddytest.Open + "room tiny {\nmax_message_size 100\n}\n}\n"

// unsized hides how long a body is, so that it is sent in chunks.
type unsized struct{ io.Reader }

// attempt sends a body of the given size and returns the error.
func attempt(t *testing.T, s *caddytest.Site, c *http.Client, method, target string, size int, chunked bool, status int, headers ...string) error {
	var body io.Reader = bytes.NewReader(make([]byte, size))
	if chunked {
		body = unsized{body}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/rt/"+target, body)
	if err != nil {
		return err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != status || !bytes.Contains(b, fmt.Appendf(nil, `"status":%d`, status))) {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return err
}

// TestRefusalsReachTheirClient: a client that sends too much gets an answer, whether it
// keeps its connections alive or not.
func TestRefusalsReachTheirClient(t *testing.T) {
	s := caddytest.Start(t, refusing)
	keeps := &http.Transport{}
	defer keeps.CloseIdleConnections()
	clients := map[string]*http.Client{"keep-alive": {Transport: keeps}, "close": caddytest.Client}
	for _, test := range refusedBodies {
		for kind, c := range clients {
			for _, size := range []int{256 << 10, 1 << 20, 8 << 20} {
				for _, chunked := range []bool{false, true} {
					n := few
					if kind == "close" && size <= 1<<20 && (test.status == 413 || test.status == 403) {
						n = tries
					}
					failed := 0
					for range n {
						if err := attempt(t, s, c, test.method, test.target, size, chunked, test.status, test.headers...); err != nil {
							failed++
							t.Logf("%v", err)
						}
					}
					if failed > 0 {
						t.Errorf("%s, %s, %d bytes, chunked %t: %d of %d tries failed", test.name, kind, size, chunked, failed, n)
					}
				}
			}
		}
	}
}

func TestRefusalsReachTheirClientInEveryVersionOfHTTP(t *testing.T) {
	s := caddytest.StartTLS(t, refusing)
	for proto, c := range caddytest.Clients(t) {
		for _, test := range refusedBodies {
			status := test.status
			if status == 426 && proto != "HTTP/1.1" {
				status = 501
			}
			for _, size := range []int{256 << 10, 4 << 20} {
				for i := range few {
					if err := attempt(t, s, c, test.method, test.target, size, i%2 == 0, status, test.headers...); err != nil {
						t.Errorf("%s, %s, %d bytes: %v", proto, test.name, size, err)
					}
				}
			}
		}
	}
}

// maxCommandBytes is the bound of internal/serve.
const maxCommandBytes = 8 << 20

// TestTooManyCommandBytes: the bound of commands is far above what is dropped.
func TestTooManyCommandBytes(t *testing.T) {
	s := caddytest.Start(t, refusing)
	for i := range 6 {
		if err := attempt(t, s, caddytest.Client, "POST", "", maxCommandBytes+512<<10, i%2 == 0, 413, caddytest.NDJSON); err != nil {
			t.Error(err)
		}
	}
}

// TestAnothersLimitReachesItsClient: what stands before us ends the body early.
func TestAnothersLimitReachesItsClient(t *testing.T) {
	s := caddytest.Start(t, "request_body {\nmax_size 1KB\n}\n"+refusing)
	for range tries {
		if err := attempt(t, s, caddytest.Client, "POST", "lobby", 1<<20, true, 413); err != nil {
			t.Error(err)
		}
	}
}

// TestRateRefusalReachesItsClient: this one comes after the whole body.
func TestRateRefusalReachesItsClient(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nrate 1/h 1\nmax_message_size 1MiB\n}\n")
	s.Post("lobby", "the only one")
	for range tries {
		if err := attempt(t, s, caddytest.Client, "POST", "lobby", 512<<10, true, 429); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusedConnectionIsUsedAgain: what could be dropped whole costs no connection.
func TestRefusedConnectionIsUsedAgain(t *testing.T) {
	s := caddytest.Start(t, refusing)
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	for i, test := range refusedBodies {
		if err := attempt(t, s, c, test.method, test.target, 1<<20, i%2 == 0, test.status, test.headers...); err != nil {
			t.Fatal(err)
		}
		reused := false
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		req, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/rt/lobby", strings.NewReader("hi"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		caddytest.ReadAll(t, resp)
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || !reused {
			t.Errorf("after %s: %s, on the same connection %t", test.name, resp.Status, reused)
		}
	}
}

// speak sends the beginning of a request and returns its connection.
func speak(t *testing.T, s *caddytest.Site, head, body string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(nc, head+"\r\nHost: 127.0.0.1\r\n\r\n"+body); err != nil {
		t.Fatal(err)
	}
	return nc, bufio.NewReader(nc)
}

// status reads an answer and checks it.
func status(t *testing.T, br *bufio.Reader, want int) {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b := caddytest.ReadAll(t, resp); resp.StatusCode != want || want >= 400 && !strings.Contains(b, `"title"`) {
		t.Errorf("got %s %q, want %d", resp.Status, b, want)
	}
}

// TestEndlessBody: a client that sends without end gets an answer, and is cut after a
// while.
func TestEndlessBody(t *testing.T) {
	s := caddytest.Start(t, refusing)
	for head, want := range map[string]int{
		"POST /rt/tiny HTTP/1.1\r\nTransfer-Encoding: chunked":                                 413,
		"POST /rt/tiny HTTP/1.1\r\nContent-Length: 999999999999":                               413,
		"PUT /rt/lobby HTTP/1.1\r\nTransfer-Encoding: chunked":                                 405,
		"POST /rt/lobby HTTP/1.1\r\nContent-Length: 999999999999\r\nOrigin: https://elsewhere": 403,
	} {
		nc, br := speak(t, s, head, "")
		sent := make(chan int64, 1)
		go func() {
			var n int64
			chunk := []byte("8000\r\n" + strings.Repeat("x", 0x8000) + "\r\n")
			for {
				m, err := nc.Write(chunk)
				if n += int64(m); err != nil {
					sent <- n
					return
				}
			}
		}()
		status(t, br, want)
		// Buffers of the kernel take some, too.
		if n := <-sent; n > 64<<20 {
			t.Errorf("%q: %d bytes were taken", head, n)
		}
	}
}

// TestStalledBody: a client that stops sending gets an answer, too.
func TestStalledBody(t *testing.T) {
	s := caddytest.Start(t, refusing)
	type stalled struct {
		head, body string
		want       int
		br         *bufio.Reader
	}
	all := []stalled{
		{head: "PUT /rt/lobby HTTP/1.1\r\nContent-Length: 1000", body: "abc", want: 405},
		{head: "PUT /rt/lobby HTTP/1.1\r\nTransfer-Encoding: chunked", body: "3\r\nabc\r\n", want: 405},
		{head: "POST /rt/tiny HTTP/1.1\r\nContent-Length: 1000", body: "abc", want: 413},
		{head: "POST /rt/lobby HTTP/1.1\r\nContent-Length: 1000\r\nOrigin: https://elsewhere", body: "abc", want: 403},
	}
	for i := range all {
		_, all[i].br = speak(t, s, all[i].head, all[i].body)
	}
	for _, c := range all {
		status(t, c.br, c.want)
		if b, err := io.ReadAll(c.br); err != nil || len(b) > 0 {
			t.Errorf("%q: after the answer %q, %v", c.head, b, err)
		}
	}
}

// TestSendsAllBeforeReading: not every client reads while it sends.
func TestSendsAllBeforeReading(t *testing.T) {
	s := caddytest.Start(t, refusing)
	const size = 1 << 20
	for _, more := range []string{"", "\r\nConnection: close"} {
		for range few {
			_, br := speak(t, s, fmt.Sprintf("PUT /rt/lobby HTTP/1.1\r\nContent-Length: %d%s", size, more), strings.Repeat("x", size))
			status(t, br, 405)
		}
	}
}

// TestExpectContinue: a body is asked for only if it is wanted.
func TestExpectContinue(t *testing.T) {
	s := caddytest.Start(t, refusing)
	for _, test := range []struct {
		head string
		want int
	}{
		{"POST /rt/tiny HTTP/1.1\r\nContent-Length: 101", 413},
		{"POST /rt/ HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9000000", 413},
		{"POST /rt/lobby HTTP/1.1\r\nContent-Length: 1000000\r\nOrigin: https://elsewhere", 403},
		{"POST /rt/lobby HTTP/1.1\r\nTransfer-Encoding: chunked\r\nOrigin: https://elsewhere", 403},
		{"POST /rt/a//b HTTP/1.1\r\nContent-Length: 100", 400},
		{"PUT /rt/lobby HTTP/1.1\r\nContent-Length: 100", 405},
		{"POST /rt/-/x HTTP/1.1\r\nTransfer-Encoding: chunked", 404},
	} {
		_, br := speak(t, s, test.head+"\r\nExpect: 100-continue", "")
		status(t, br, test.want)
	}
	nc, br := speak(t, s, "POST /rt/tiny HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue", "")
	status(t, br, http.StatusContinue)
	if _, err := io.WriteString(nc, "c8\r\n"+strings.Repeat("x", 200)+"\r\n0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	status(t, br, http.StatusRequestEntityTooLarge)
}

// TestErrorRoutesFindNoBody: what answers in our place is not promised a body
// that is gone; a proxy would fail with 502.
func TestErrorRoutesFindNoBody(t *testing.T) {
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"page":%q,"status":%s,"body":%d,"error":"%v"}`, r.Method, r.URL.Path[1:], len(b), err)
	}))
	defer pages.Close()
	block := refusing + "handle_errors {\nrewrite * /{err.status_code}\nreverse_proxy " + pages.URL + " {\nreplace_status {err.status_code}\n}\n}\n"
	h1 := caddytest.Start(t, block)
	for range few {
		for _, test := range refusedBodies {
			if err := attempt(t, h1, caddytest.Client, test.method, test.target, 300<<10, false, test.status, test.headers...); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
	s := caddytest.StartTLS(t, block)
	for proto, c := range caddytest.Clients(t) {
		for _, test := range refusedBodies[:6] {
			if err := attempt(t, s, c, test.method, test.target, 300<<10, false, test.status, test.headers...); err != nil {
				t.Errorf("%s, %s: %v", proto, test.name, err)
			}
		}
	}
}
