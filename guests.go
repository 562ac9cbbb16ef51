package realtime

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Guests knows browsers of people without an account again, by a cookie that the server signs. It
// holds a random id and a name of one's own choice, which cannot be one that looks like another's
// verified name.
type Guests struct {
	// The cookie's name. Over HTTPS it always begins with `__Host-`, which keeps other hosts
	// from setting it; over HTTP, where browsers do not allow that, it never does. Default:
	// `__Host-realtime-guest`.
	Cookie string `json:"cookie,omitempty"`
}

const (
	defaultGuestCookie = hostCookie + "realtime-guest"

	// hostCookie is what the names of cookies begin with that belong to one host (RFC 6265bis,
	// section 4.1.3.2).
	hostCookie = "__Host-"
)

// checkGuestCookie checks the name of a cookie.
func checkGuestCookie(name string) error {
	bare := strings.TrimPrefix(name, hostCookie)
	if strings.HasPrefix(bare, "__") || !isName(bare) {
		return fmt.Errorf("invalid name of the guests' cookie %q: must be 1 to 64 letters, digits, -, _ and ., and not begin with __ except for %s", name, hostCookie)
	}
	return nil
}

func (g *Guests) check() error {
	if g.Cookie == "" {
		return nil
	}
	return checkGuestCookie(g.Cookie)
}

// cookieFor returns the name of the cookie for one request.
func (g *Guests) cookieFor(r *http.Request) string {
	name := g.Cookie
	if name == "" {
		name = defaultGuestCookie
	}
	name = strings.TrimPrefix(name, hostCookie)
	if isHTTPS(r) {
		name = hostCookie + name
	}
	return name
}

// isHTTPS reports whether the browser uses HTTPS, as far as we or a trusted proxy know.
func isHTTPS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
