package serve

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// origin is an origin as browsers send it: scheme and host in lower case, the host in
// ASCII (HTML, "ASCII serialization of an origin"). Browsers leave out the scheme's
// default port; here it is filled in.
type origin struct{ scheme, host, port string }

// nowhere is the value of Origin for pages without an origin: pages loaded from files,
// and sandboxed frames.
const nowhere = "null"

// parseOrigin parses the header Origin. ok is false unless that is a scheme, a host and
// perhaps a port; so it is for "null".
func parseOrigin(s string) (o origin, ok bool) {
	scheme, rest, found := strings.Cut(strings.ToLower(s), "://")
	o.scheme = scheme
	o.host, o.port = splitPort(rest)
	if !found || o.scheme == "" || o.host == "" || strings.ContainsAny(o.host, "/?#@\\ ") {
		return origin{}, false
	}
	if o.port == "" {
		o.port = defaultPort(scheme)
	}
	return o, true
}

// splitPort splits off the port, which may be missing.
func splitPort(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i < strings.LastIndexByte(s, ']') {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	default:
		return ""
	}
}

// isOwn reports whether the origin is the site's own. The scheme is unknown behind a proxy that
// terminates TLS. Where we do, a page that came without TLS is not ours.
func isOwn(from string, r *http.Request) bool {
	return sameHost(from, r.Host) && (r.TLS == nil || strings.HasPrefix(strings.ToLower(from), "https://"))
}

// sameHost reports whether the origin has the host. It does not compare the scheme.
func sameHost(from, host string) bool {
	page, ok := parseOrigin(from)
	if !ok {
		return false
	}
	site, ok := parseOrigin(page.scheme + "://" + host)
	return ok && site == page
}

// originPattern is an element of the option origins. An empty scheme matches any, an
// empty port the scheme's default port. The wildcard matches one or more labels before
// the host.
type originPattern struct {
	origin
	wildcard bool
}

func (p originPattern) matches(o origin) bool {
	switch {
	case p.scheme != "" && p.scheme != o.scheme:
		return false
	case p.port == "" && o.port != defaultPort(o.scheme), p.port != "" && p.port != o.port:
		return false
	case p.wildcard:
		return len(o.host) > len(p.host)+1 && strings.HasSuffix(o.host, "."+p.host)
	default:
		return p.host == o.host
	}
}

// matchOrigin reports whether an origin matches a pattern, which must be valid and not
// "*".
func matchOrigin(pattern, from string) bool {
	if strings.EqualFold(pattern, nowhere) {
		return isNowhere(from)
	}
	o, ok := parseOrigin(from)
	if !ok {
		return false
	}
	p, err := parseOriginPattern(pattern)
	return err == nil && p.matches(o)
}

// isNowhere reports whether a page has no origin. For files, browsers send null and some
// web views file://.
func isNowhere(from string) bool { return from == nowhere || from == "file://" }

// CheckOrigin checks a pattern of origins.
func CheckOrigin(pattern string) error {
	if pattern == "*" || strings.EqualFold(pattern, nowhere) {
		return nil
	}
	if _, err := parseOriginPattern(pattern); err != nil {
		return fmt.Errorf("invalid origin %q: %w", pattern, err)
	}
	return nil
}

// SameOrigins reports whether two valid patterns are equal.
func SameOrigins(a, b string) bool {
	p, bad := parseOriginPattern(a)
	q, worse := parseOriginPattern(b)
	if bad != nil || worse != nil {
		return strings.EqualFold(a, b)
	}
	if p.scheme == q.scheme && p.port == "" {
		p.port = defaultPort(p.scheme)
	}
	if p.scheme == q.scheme && q.port == "" {
		q.port = defaultPort(q.scheme)
	}
	return p == q
}

var errOrigin = errors.New("must be like https://app.example.com, https://*.example.com, app.example.com, null or *")

// parseOriginPattern parses a pattern. A pattern that no browser's origin can match is
// an error, which says what to write instead.
func parseOriginPattern(pattern string) (p originPattern, err error) {
	rest := pattern
	if scheme, after, ok := strings.Cut(pattern, "://"); ok {
		if p.scheme, err = originScheme(scheme); err != nil {
			return p, err
		}
		rest = after
	}
	if strings.ContainsAny(rest, ", ;") {
		return p, errors.New("separate origins with spaces, not commas")
	}
	if strings.ContainsAny(rest, "{}") {
		return p, errors.New("placeholders are not supported here, except {$NAME} in a Caddyfile")
	}
	rest = strings.TrimSuffix(rest, "/")
	if i := strings.IndexAny(rest, "/?#@"); i >= 0 {
		if rest[i] == '@' || i == 0 {
			return p, errOrigin
		}
		return p, fmt.Errorf("must not have a path; use %s", strings.TrimSuffix(strings.TrimSuffix(pattern, "/"), rest[i:]))
	}
	host, port := splitPort(rest)
	if p.port, err = originPort(port); err != nil {
		return p, err
	}
	host, p.wildcard = strings.CutPrefix(host, "*.")
	p.host, err = originHost(host)
	if err == nil && p.wildcard && (p.host[0] == '[' || isNumber(lastLabel(p.host))) {
		err = errors.New("an IP address has no subdomains")
	}
	return p, err
}

// originScheme parses the scheme of a pattern.
func originScheme(scheme string) (string, error) {
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "ws", "wss":
		return "", fmt.Errorf("the scheme of a page is http or https, also for its WebSockets; use http%s://", strings.TrimPrefix(scheme, "ws"))
	case "file":
		return "", errors.New("pages loaded from files have the origin null; use null")
	}
	for i, c := range []byte(scheme) {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return "", errOrigin
		}
	}
	if scheme == "" {
		return "", errOrigin
	}
	return scheme, nil
}

// originPort parses the port of a pattern, which may be empty.
func originPort(port string) (string, error) {
	if port == "" {
		return "", nil
	}
	if strings.Contains(port, "*") {
		return "", errors.New("a port cannot be a wildcard; list each port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("invalid port %q", port)
	}
	return strconv.FormatUint(n, 10), nil
}

// hosts converts names as people write them to those that browsers send (UTS 46, with
// the options of the URL standard).
var hosts = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

// originHost parses the host of a pattern.
func originHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !address.Is6() || address.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return "", fmt.Errorf("invalid IPv6 address %s", host)
		}
		return "[" + ipv6(address) + "]", nil
	}
	if strings.Count(host, ":") > 0 {
		return "", errors.New("an IPv6 address must be in brackets, like [::1]")
	}
	if strings.Contains(host, "*") {
		return "", errors.New("a wildcard must replace the first labels of a name, as in https://*.example.com, or stand alone for any origin")
	}
	name, err := hosts.ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("invalid host %q: %w", host, err)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return "", errOrigin
		}
	}
	if name == "" || name[0] == '.' || strings.Contains(name, "..") {
		return "", errOrigin
	}
	if isNumber(lastLabel(name)) {
		if _, err := netip.ParseAddr(name); err != nil {
			return "", fmt.Errorf("invalid IPv4 address %s: must be like 127.0.0.1", name)
		}
	}
	return name, nil
}

// ipv6 formats an address as browsers do, without embedded IPv4 notation.
func ipv6(a netip.Addr) string {
	if !a.Is4In6() {
		return a.String()
	}
	b := a.As16()
	return fmt.Sprintf("::ffff:%x:%x", uint16(b[12])<<8|uint16(b[13]), uint16(b[14])<<8|uint16(b[15]))
}

func lastLabel(host string) string { return host[strings.LastIndexByte(host, '.')+1:] }

// isNumber reports whether a browser takes a name with this last label for an
// IPv4 address (URL standard, "ends in a number").
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		_, err := strconv.ParseUint("0"+hex, 16, 64)
		return err == nil
	}
	return strings.Trim(label, "0123456789") == ""
}
