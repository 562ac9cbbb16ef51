// Package http2 tests with a whole Caddy what depends on the version of HTTP: streams that
// stay with net/http, headers of connections, timeouts, and clients that vanish.
package http2

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
