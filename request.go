package realtime

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/internal/serve"
)

// identify returns the client that sent a request: its user and credential, its address, and what
// the matchers of allow tell about it.
func (h *Handler) identify(r *http.Request, shown serve.Presented) (hub.Client, error) {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	c, err := h.identity(r, shown, repl)
	if err != nil {
		return c, err
	}
	signedIn := c.User.Kind() == message.UserSignedIn
	if signedIn && repl != nil {
		repl.Set("http.auth.user.id", c.User.ID) // for the access log, and for matchers
	}
	if shown.Ambient {
		c.Facts = h.facts.of(r)
	}
	if c.User != nil && !signedIn && repl != nil {
		repl.Set("http.auth.user.id", c.User.ID) // for the access log alone: to matchers, guests and links are nobody
	}
	c.Address = addressOf(r)
	return c, nil
}

// addressOf returns the client's address, as Caddy sees it; invalid for a unix socket.
func addressOf(r *http.Request) (a netip.Addr) {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		a, _ = netip.ParseAddr(ip)
	}
	return a
}

// liftWriteTimeout removes a configured write timeout from one response: such timeouts
// are for responses that end. Here each write has a bound of its own.
func liftWriteTimeout(r *http.Request) {
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
	}
}
