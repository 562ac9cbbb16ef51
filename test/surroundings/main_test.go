// Package surroundings tests with a whole Caddy what stands around realtime: directives that
// rewrite, error routes, handlers that change responses, hosts that share rooms, and proxies.
package surroundings

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
