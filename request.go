package realtime

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/serve"
)

// identify returns the client that sent a request: its user, its address, and what the
// matchers of allow tell about it.
func (h *Handler) identify(r *http.Request, shown serve.Presented) (hub.Client, error) {
	var c hub.Client
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		c.User = h.userOf(repl)
	}
	c.Facts = h.facts.of(r)
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		c.Address, _ = netip.ParseAddr(ip) // stays invalid for a unix socket
	}
	return c, nil
}

// liftWriteTimeout removes a configured write timeout from one response: such timeouts
// are for responses that end. Here each write has a bound of its own.
func liftWriteTimeout(r *http.Request) {
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
	}
}
