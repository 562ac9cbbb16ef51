package realtime

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// identify returns the client that sent a request. Its user is the one that an
// authentication handler before us has set, never one that the client claims.
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

// sameUser refuses a request whose ?user= is not the user of its credentials: the user
// has signed in or out meanwhile.
func (req *request) sameUser(u *hub.User) error {
	id := ""
	if u != nil {
		id = u.ID
	}
	if req.user == nil || *req.user == id {
		return nil
	}
	return &protocol.Problem{
		Status: http.StatusPreconditionFailed, Title: "another user", Field: "user",
		Detail: "the request names another user than its credentials do; a HEAD tells which one (Realtime-User)",
	}
}
