package realtime

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whoever sends a body that is refused gets the answer, and no reset.
func TestRefusalsOfBodiesArrive(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	for name, test := range map[string]struct {
		method, target string
		headers        []string
		status         int
	}{
		"too large":     {"POST", "/rt/lobby", nil, 413},
		"bad name":      {"POST", "/rt/lobby/", nil, 400},
		"bad method":    {"PUT", "/rt/lobby", nil, 405},
		"no such thing": {"POST", "/rt/-/x", nil, 405},
		"origin":        {"POST", "/rt/lobby", []string{"Origin: https://evil.example"}, 403},
		"cross-site":    {"POST", "/rt/lobby", []string{"Sec-Fetch-Site: cross-site"}, 403},
		"event":         {"POST", "/rt/lobby?event=gap", nil, 413},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 25 {
				for _, size := range []int{100 << 10, 256 << 10, 1 << 20} {
					body := io.Reader(bytes.NewReader(make([]byte, size)))
					if i%2 == 0 {
						body = struct{ io.Reader }{body} // in chunks
					}
					req, err := http.NewRequestWithContext(t.Context(), test.method, s.URL+test.target, body)
					if err != nil {
						t.Fatal(err)
					}
					for _, h := range test.headers {
						name, value, _ := strings.Cut(h, ": ")
						req.Header.Set(name, value)
					}
					resp, err := client.Do(req)
					if err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
					answer := readAll(t, resp)
					_ = resp.Body.Close()
					if resp.StatusCode != test.status && !(name == "no such thing" && resp.StatusCode == 404) || answer == "" {
						t.Fatalf("%d bytes: %s %q", size, resp.Status, answer)
					}
				}
			}
		})
	}
}

// Whoever never ends is not listened to for long; whoever waits for our word is
// answered at once.
func TestRefusedBodiesAreBounded(t *testing.T) {
	s := startSite(t, "realtime {\n"+open+"}")
	for name, expect := range map[string]string{"endless": "", "expecting": "Expect: 100-continue\r\n"} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(15 * time.Second))
			fmt.Fprintf(c, "POST /rt/bad HTTP/1.1\r\nHost: %s\r\nOrigin: https://evil.example\r\n%sContent-Length: 100000000\r\n\r\n", strings.TrimPrefix(s.URL, "http://"), expect)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != http.StatusForbidden {
				t.Fatalf("%v %v", resp, err)
			}
		})
	}
}
