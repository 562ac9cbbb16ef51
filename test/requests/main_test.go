// Package requests tests with a whole Caddy who may send what: origins, users, names of
// rooms, bodies, forms and limits, and how each refusal reaches its client.
package requests

import (
	"testing"

	_ "github.com/caddy-realtime/realtime" // the directive
	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }
