// Package transports tests with a whole Caddy what rooms do on every transport: cursors,
// gaps, pages, commands, presence, the page for people, and many clients at once.
package transports

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
