package ws_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// peer runs a program that talks to the server.
func (s *server) peer(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, append(args, "ws://"+s.addr)...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// Other people's clients agree with our answer, or end the connection.
func TestPeers(t *testing.T) {
	t.Run("websockets for Python", func(t *testing.T) {
		const python = "/usr/bin/python3" // Debian's, which knows Debian's packages
		if err := exec.CommandContext(t.Context(), python, "-c", "import websockets").Run(); err != nil {
			t.Skip("python3-websockets is not installed")
		}
		listen(t, configured(), compressing).peer(t, python, "testdata/peer.py")
	})
	t.Run("Node.js", func(t *testing.T) {
		const flag = "--experimental-websocket"
		if err := exec.CommandContext(t.Context(), "node", flag, "-e", "WebSocket").Run(); err != nil {
			t.Skip("there is no Node.js, or it has no WebSocket")
		}
		listen(t, configured(), compressing).peer(t, "node", flag, "testdata/peer.mjs")
	})
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		for _, bits := range []string{"", "; client_max_window_bits=9", "; server_max_window_bits=15"} {
			t.Run(fmt.Sprint("coder/websocket", mode, bits), func(t *testing.T) {
				s := listen(t, configured(), compressing)
				s.coder(t, mode, bits)
			})
		}
	}
}

// adding adds to what a client offers.
type adding string

func (a adding) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Sec-WebSocket-Extensions", r.Header.Get("Sec-WebSocket-Extensions")+string(a))
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		// The library knows nothing of windows, which mean nothing to it.
		resp.Header.Set("Sec-WebSocket-Extensions", strings.TrimSuffix(resp.Header.Get("Sec-WebSocket-Extensions"), "; server_max_window_bits=15"))
	}
	return resp, err
}

func (s *server) coder(t *testing.T, mode websocket.CompressionMode, bits string) {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+s.addr, &websocket.DialOptions{
		CompressionMode: mode, CompressionThreshold: 1, HTTPClient: &http.Client{Transport: adding(bits)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, text := range []string{"", "x", strings.Repeat("Hello", 50), strings.Repeat("zwölf ", 5000)} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got := got(t, c); got != text {
			t.Errorf("%s came as %s", short(text), short(got))
		}
	}
}
