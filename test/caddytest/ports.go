package caddytest

import (
	"testing"

	"github.com/caddy-realtime/realtime/internal/freeport"
)

// FreePort returns a port that nobody uses, for Caddy or another program of the test.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
