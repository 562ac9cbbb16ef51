// Package reload tests reloads with a whole Caddy: what they keep, what they change and
// when, and that one which is refused changes nothing.
package reload

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
