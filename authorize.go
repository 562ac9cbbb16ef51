package realtime

import (
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// identify says who a request comes from. The user is whom an authentication
// handler before us has found, never what the client says.
func identify(r *http.Request) hub.Client {
	var c hub.Client
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if id, _ := repl.GetString("http.auth.user.id"); id != "" {
			c.User = &hub.User{ID: strings.Clone(id)}
		}
	}
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok {
		c.Address, _ = netip.ParseAddr(ip) // of a unix socket: invalid
	}
	return c
}

// admitOrigin refuses requests that a page of a foreign origin makes: its
// visitor's cookies would speak for him (RFC 6454, RFC 6455 section 10.2).
// Where a listed origin asks, it sets the headers that let its page read the
// answer (Fetch standard, "CORS protocol"). anyOrigin says that only "*" let it
// in.
func (h *Handler) admitOrigin(w http.ResponseWriter, r *http.Request) (anyOrigin bool, err error) {
	origin := r.Header.Get("Origin")
	if origin == "" || sameHost(origin, r.Host) {
		return false, nil
	}
	header := w.Header()
	switch {
	case h.listed(origin):
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(h.Origins, "*"):
		anyOrigin = true
		header.Set("Access-Control-Allow-Origin", "*")
	default:
		return false, &protocol.Problem{
			Status: http.StatusForbidden, Title: "origin refused",
			Detail: "this page's origin is not among the origins of the handler",
		}
	}
	header.Set("Access-Control-Expose-Headers", "ETag, Realtime-Members, Retry-After, Location")
	return anyOrigin, nil
}

// listed reports whether the option names the origin, other than by "*".
func (h *Handler) listed(origin string) bool {
	return slices.ContainsFunc(h.Origins, func(p string) bool { return p != "*" && matchOrigin(p, origin) })
}

// sameHost reports whether the origin is the site's own. The scheme is not
// compared: behind a proxy that ends TLS we do not know it.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null", or rubbish
	}
	return strings.EqualFold(withoutDefaultPort(u.Host, u.Scheme), withoutDefaultPort(host, u.Scheme))
}

func withoutDefaultPort(host, scheme string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	default:
		return host
	}
}

// matchOrigin reports whether an origin matches a pattern that checkOrigin
// found good.
func matchOrigin(pattern, origin string) bool {
	scheme, host, ok := strings.Cut(strings.ToLower(origin), "://")
	if !ok {
		return false
	}
	pattern = strings.ToLower(pattern)
	if want, rest, ok := strings.Cut(pattern, "://"); ok {
		if want != scheme {
			return false
		}
		pattern = rest
	}
	if matched, _ := path.Match(pattern, withoutDefaultPort(host, scheme)); matched {
		return true
	}
	return pattern == host
}

// preflight answers a CORS preflight, and any other OPTIONS.
func preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Allow", allowedMethods)
	if r.Header.Get("Access-Control-Request-Method") != "" && header.Get("Access-Control-Allow-Origin") != "" {
		header.Set("Access-Control-Allow-Methods", allowedMethods)
		header.Set("Access-Control-Allow-Headers",
			"Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Realtime-Conn, Realtime-Event, TTL")
		header.Set("Access-Control-Max-Age", "7200")
	}
	w.WriteHeader(http.StatusNoContent)
}

// formProtection judges a page's form, which a foreign page can submit without
// asking (http.CrossOriginProtection: Sec-Fetch-Site, else Origin against Host).
func (h *Handler) formProtection(r *http.Request) error {
	if h.listed(r.Header.Get("Origin")) {
		return nil
	}
	var p http.CrossOriginProtection
	if err := p.Check(r); err != nil {
		return &protocol.Problem{Status: http.StatusForbidden, Title: "origin refused", Detail: "the form is on another site", Err: err}
	}
	return nil
}
