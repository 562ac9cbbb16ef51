package transports

import (
	"runtime"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A reload takes up compression for connections that are made after it.
func TestCompressionOption(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	agreed := func() bool {
		c, resp, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby", &websocket.DialOptions{CompressionMode: websocket.CompressionNoContextTakeover})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		s.Post("lobby", strings.Repeat("*", 1000))
		if got := caddytest.Receive(t, c); got != strings.Repeat("*", 1000) {
			t.Errorf("got %d bytes", len(got))
		}
		return strings.Contains(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	}
	if agreed() {
		t.Error("compressed without being told to")
	}
	s.Reload("realtime {\n" + caddytest.Open + "compression on\n}")
	if !agreed() {
		t.Error("not compressed")
	}
}

// Idle connections have no goroutine where there is a poller, and one each
// where there is none, or it is off.
func TestPollerOption(t *testing.T) {
	const n = 40
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	grows := func() int {
		var before int
		caddytest.Eventually(t, "rest", func() bool {
			now := runtime.NumGoroutine()
			steady := now == before
			before = now
			return steady
		})
		var conns []*websocket.Conn
		for range n {
			conns = append(conns, s.Dial("lobby"))
		}
		grown := 0
		caddytest.Eventually(t, "rest", func() bool {
			now := runtime.NumGoroutine() - before
			steady := now == grown
			grown = now
			return steady
		})
		s.Post("lobby", "hello")
		for _, c := range conns {
			if got := caddytest.Receive(t, c); got != "hello" {
				t.Errorf("got %q", got)
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		}
		return grown // with those of the clients
	}
	parked := grows()
	s.Reload("realtime {\n" + caddytest.Open + "poller off\n}")
	if each := grows(); runtime.GOOS == "linux" && each < parked+n-5 {
		t.Errorf("%d goroutines with the poller, %d without", parked, each)
	}
}
