package caddytest

import (
	"net"
	"testing"
)

// FreePort returns a port that nobody uses, for Caddy or another program of the test.
func FreePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
