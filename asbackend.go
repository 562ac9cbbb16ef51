package realtime

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// Whoever comes through a handler with as_backend is the backend, without a key. So something else
// must keep others out: the listener, the addresses of clients, or their certificates. And a
// browser or a proxy must not be used to get there.

// provisionAsBackend checks that not everybody reaches the handler, and notes the hosts that the
// site names.
func (h *Handler) provisionAsBackend(ctx caddy.Context, s *surroundings) error {
	if h.AsBackend == "" {
		return nil
	}
	hosts := s.hosts()
	for i := range hosts {
		hosts[i] = strings.ToLower(hosts[i])
	}
	slices.Sort(hosts)
	h.asHosts = slices.Compact(hosts)
	if err := h.asHosts.Provision(ctx); err != nil {
		return fmt.Errorf("as backend %s: %w", h.AsBackend, err)
	}
	if s.server != nil && (isPrivate(s.server) || s.checksAddresses() || requiresCertificates(s.server, httpPort(ctx), h.asHosts)) {
		return nil
	}
	return fmt.Errorf("as backend %s: everybody who reaches this handler would be that backend; let the site listen on a unix socket or a loopback address (bind 127.0.0.1), put realtime into a block whose matcher has remote_ip or client_ip, or require client certificates (tls { client_auth { mode require_and_verify … } })", h.AsBackend)
}

// isPrivate reports whether only processes of this machine reach the server.
func isPrivate(server *caddyhttp.Server) bool {
	return len(server.Listen) > 0 && !slices.ContainsFunc(server.Listen, func(listen string) bool {
		a, err := caddy.ParseNetworkAddress(listen)
		switch {
		case err != nil || a.IsFdNetwork(): // whoever opened it knows where it listens
			return true
		case a.IsUnixNetwork() || a.Host == "localhost":
			return false
		}
		ip, err := netip.ParseAddr(a.Host)
		return err != nil || !ip.IsLoopback()
	})
}

// checksAddresses reports whether a route around the handler goes by the addresses of clients.
func (s *surroundings) checksAddresses() bool {
	return slices.ContainsFunc(s.steps, func(step step) bool {
		return step.rewrite == nil && slices.ContainsFunc(step.sets, func(sets caddyhttp.MatcherSets) bool {
			return len(sets) > 0 && !slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool { return !hasAddress(set) })
		})
	})
}

// hasAddress reports whether one of the matchers goes by the client's address.
func hasAddress(set caddyhttp.MatcherSet) bool {
	return slices.ContainsFunc(set, func(m any) bool {
		switch m.(type) {
		case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
			return true
		}
		return false
	})
}

// requiresCertificates reports whether clients get to the hosts only with a certificate that
// Caddy has verified. The policies are not provisioned yet.
func requiresCertificates(server *caddyhttp.Server, httpPort uint, hosts []string) bool {
	for _, listen := range server.Listen {
		// On the HTTP port Caddy never uses TLS.
		if a, err := caddy.ParseNetworkAddress(listen); err != nil || a.StartPort <= httpPort && httpPort <= a.EndPort {
			return false
		}
	}
	// Only with strict SNI has a connection the policy of the host that it asks for.
	strict := server.StrictSNIHost != nil && *server.StrictSNIHost
	requires := false
	for _, p := range server.TLSConnPolicies {
		verifies := verifiesClients(p.ClientAuthentication)
		requires = requires || verifies
		if !verifies && (!strict || mayConcern(p, hosts)) {
			return false
		}
		if verifies && strict && covers(p, hosts) {
			return true // the policies after it are never used
		}
	}
	return requires
}

// verifiesClients reports whether clients must have a certificate, and it is verified. The defaults
// are those of [caddytls.ClientAuthentication]. Its deprecated fields do not count.
func verifiesClients(a *caddytls.ClientAuthentication) bool {
	if a == nil {
		return false
	}
	authority, verifiers := len(a.CARaw) > 0, len(a.VerifiersRaw) > 0
	switch a.Mode {
	case "require_and_verify", "":
		return authority || verifiers
	case "require":
		return verifiers
	default:
		return false
	}
}

// mayConcern reports whether a policy may be that of a connection to one of the hosts.
func mayConcern(p *caddytls.ConnectionPolicy, hosts []string) bool {
	names, ok := serverNames(p)
	if !ok || len(hosts) == 0 {
		return true
	}
	return slices.ContainsFunc(append(slices.Clip(names), hosts...), func(name string) bool { return strings.ContainsAny(name, "*{") }) ||
		slices.ContainsFunc(names, func(name string) bool { return slices.Contains(hosts, strings.ToLower(name)) })
}

// covers reports whether a policy is that of every connection to the hosts.
func covers(p *caddytls.ConnectionPolicy, hosts []string) bool {
	names, ok := serverNames(p)
	if len(p.MatchersRaw) == 0 || !ok || len(p.MatchersRaw) > 1 || len(hosts) == 0 {
		return len(p.MatchersRaw) == 0
	}
	return !slices.ContainsFunc(hosts, func(host string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
	})
}

// serverNames returns the names of a policy that goes by them.
func serverNames(p *caddytls.ConnectionPolicy) ([]string, bool) {
	var names []string
	raw, ok := p.MatchersRaw["sni"]
	return names, ok && json.Unmarshal(raw, &names) == nil
}

// httpPort returns the port on which Caddy never uses TLS.
func httpPort(ctx caddy.Context) uint {
	for _, m := range ctx.Modules() {
		if app, ok := m.(*caddyhttp.App); ok && app.HTTPPort > 0 {
			return uint(app.HTTPPort)
		}
	}
	return caddyhttp.DefaultHTTPPort
}

// asBackendAllowed reports whether a request may be the backend of as_backend: not if a browser
// or a proxy sent it, nor if its Host is one that the site does not name, which a page could have
// let point to this machine.
func (h *Handler) asBackendAllowed(r *http.Request) bool {
	for _, name := range []string{"Origin", "Cookie", "Forwarded", "X-Forwarded-For", "Via"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return !hasFetchMetadata(r) && h.namesHost(r)
}

// namesHost reports whether the site names the host of a request. If it names none, addresses and
// localhost are accepted, which no page can have.
func (h *Handler) namesHost(r *http.Request) bool {
	if len(h.asHosts) > 0 {
		ok, err := h.asHosts.MatchWithError(r)
		return ok && err == nil
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(r.Host, "["), "]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// keyRequestAllowed reports whether a request may use a backend's key: not if a browser
// sent it. A key in a page is everybody's.
func keyRequestAllowed(r *http.Request) bool {
	return len(r.Header["Origin"]) == 0 && len(r.Header["Referer"]) == 0 && !hasFetchMetadata(r)
}

// hasFetchMetadata reports whether a request has a header that only browsers send (Fetch Metadata
// Request Headers, section 2).
func hasFetchMetadata(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}
