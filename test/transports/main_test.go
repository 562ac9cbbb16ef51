// Package transports tests with a whole Caddy what rooms do on every transport: cursors,
// gaps, pages, commands, presence, and the page for people.
package transports

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
