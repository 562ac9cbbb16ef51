package http2

import (
	"bufio"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// abandoned counts this process's sockets whose connection the system gives up after
// the given milliseconds without an acknowledgement.
func abandoned(t *testing.T, after int) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		number, _ := strconv.Atoi(fd.Name())
		if got, err := unix.GetsockoptInt(number, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err == nil && got == after {
			n++
		}
	}
	return n
}

// A client that vanishes without a word does not stay a member for long, on any
// transport over TCP.
func TestGhostsAreGivenUp(t *testing.T) {
	s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"heartbeat 21s\n}")
	want := 0
	for proto, c := range caddytest.Clients(t) {
		if proto == "HTTP/3.0" {
			continue // is not TCP
		}
		for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
			resp := s.Fetch(c, proto, "GET", "r", "", "Accept: "+accept)
			if !bufio.NewScanner(resp.Body).Scan() {
				t.Fatalf("%s, %s: no opening", proto, accept)
			}
		}
		if want += 2; proto == "HTTP/2.0" {
			want-- // both on one connection
		}
	}
	caddytest.Eventually(t, "sockets that the system gives up", func() bool { return abandoned(t, 63_000) == want })

	plain := caddytest.Start(t, "realtime {\n"+caddytest.Open+"heartbeat 22s\n}")
	plain.Dial("r")
	plain.Stream("r", "text/event-stream").Next()
	caddytest.Eventually(t, "plain sockets that the system gives up", func() bool { return abandoned(t, 66_000) == 2 })
}
