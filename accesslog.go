package realtime

import (
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/protocol"
)

// Caddy's access log has the whole URL, and all headers but Authorization and Cookie, as they were
// before any handler saw the request. So a request whose URL or subprotocol has a credential is
// left out there, and gets a line of our own.

// hasSecret reports whether a credential of the request would be in the access log.
func (h *Handler) hasSecret(r *http.Request) bool {
	if serve.OffersBearer(r.Header) || len(h.links.keys) > 0 && len(r.Header["Realtime-Link"]) > 0 {
		return true
	}
	if r.URL.RawQuery == "" {
		return false
	}
	query := r.URL.Query()
	return query.Has("link") && len(h.links.keys) > 0 || query.Has("access_token") && h.JWT != nil
}

// logOwn leaves the request out of Caddy's access log, if there is one, and returns what logs it
// when it has been served, with the error of that.
func (h *Handler) logOwn(r *http.Request) func(err error) {
	if h.srv == nil || h.srv.Logs == nil || !h.hasSecret(r) {
		return func(error) {}
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	began, method, path := time.Now(), r.Method, r.URL.EscapedPath()
	return func(err error) {
		status := 0
		if err != nil {
			status = protocol.ProblemOf(err).Status
		}
		user := ""
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			user, _ = repl.GetString("http.auth.user.id")
		}
		host, _, splitErr := net.SplitHostPort(r.RemoteAddr)
		if splitErr != nil {
			host = r.RemoteAddr
		}
		h.log.Info("handled request with a credential, which the access log leaves out",
			"method", method, "host", r.Host, "path", path, "proto", r.Proto, "remote_ip", host,
			"user_id", user, "refused", status, "duration", time.Since(began))
	}
}
