package realtime

import (
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestMain(m *testing.M) { caddytest.Run(m) }

// What internal/serve says to clients, and its bounds.
const (
	allowedMethods     = "GET, HEAD, POST, OPTIONS"
	preflightHeaders   = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Realtime-Conn, Realtime-Event, TTL"
	sessionSubprotocol = "realtime.v1"
	maxCommandBytes    = 8 << 20
	maxRefusedOrigins  = 32
	maxLoggedOrigin    = 256
)
