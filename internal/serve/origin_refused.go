package serve

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds for logging refused origins.
const (
	maxRefusedOrigins = 32  // in one configuration
	maxLoggedOrigin   = 256 // bytes of each
)

// RefusedOrigins logs the origins that one configuration has refused: each once, and
// only so many, since a stranger could fill the log. The zero value is ready for use.
// It is safe for concurrent use.
type RefusedOrigins struct {
	mu     sync.Mutex
	logged map[string]bool
}

// first reports whether to log the origin, and whether it is the last origin to be
// logged.
func (o *RefusedOrigins) first(from string) (first, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.logged[from] || len(o.logged) >= maxRefusedOrigins {
		return false, false
	}
	if o.logged == nil {
		o.logged = make(map[string]bool)
	}
	o.logged[strings.Clone(from)] = true
	return true, len(o.logged) == maxRefusedOrigins
}

// warn logs which page was refused and what to set. The people who visit the page only
// see that it does not work.
func (o *RefusedOrigins) warn(log *slog.Logger, from string, r *http.Request) {
	shown := clip(from, maxLoggedOrigin)
	first, last := o.first(shown)
	if !first {
		return
	}
	attributes := []any{"origin", shown, "host", clip(r.Host, maxLoggedOrigin)}
	forwarded := r.Header.Get("X-Forwarded-Host")
	if forwarded != "" {
		attributes = append(attributes, "forwarded_host", clip(forwarded, maxLoggedOrigin))
	}
	log.Warn("refused a page from another origin", append(attributes, "remedy", remedy(shown, r.Host, forwarded))...)
	if last {
		log.Warn("no further refused origins are logged until the configuration changes", "logged", maxRefusedOrigins)
	}
}

// remedy returns what to set for a refused origin.
func remedy(from, host, forwarded string) string {
	const proxy = "have the proxy pass on the original Host header (nginx: proxy_set_header Host $http_host)"
	if isNowhere(from) {
		return "a page loaded from a file or in a sandboxed frame has no origin: serve it over HTTP; or set origins null, which admits every such page, as an anonymous client"
	}
	page, ok := parseOrigin(from)
	if !ok {
		return "this origin cannot be listed in origins"
	}
	list := "set origins " + from
	first, _, _ := strings.Cut(forwarded, ",")
	if sameHost(from, strings.TrimSpace(first)) {
		return "a proxy changed the Host header: " + proxy + ", or " + list
	}
	if sameHost(from, host) {
		return "the page came over http, and this site is https, so anybody on the way may have changed it: open it over https; or " + list
	}
	if name, _ := splitPort(strings.ToLower(host)); name == page.host {
		return "the ports differ: if a proxy dropped the port, " + proxy + "; if another server serves the page, " + list
	}
	return "if the page is yours, " + list + "; if it belongs to this site, a proxy changed the Host header: " + proxy
}

// clip shortens a text to at most n bytes and an ellipsis, at the end of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
