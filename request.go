package realtime

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
)

// identify returns the client that sent a request. Its user comes from an
// authentication handler before us, never from what the client claims.
func identify(r *http.Request) hub.Client {
	var c hub.Client
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if id, _ := repl.GetString("http.auth.user.id"); id != "" {
			c.User = &hub.User{ID: strings.Clone(id)}
		}
	}
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		c.Address, _ = netip.ParseAddr(ip) // stays invalid for a unix socket
	}
	return c
}

// liftWriteTimeout removes a configured write timeout from one response: such timeouts
// are for responses that end. Here each write has a bound of its own.
func liftWriteTimeout(r *http.Request) {
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
	}
}
