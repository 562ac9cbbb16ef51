package realtime

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/access/guest"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/internal/serve"
)

// Guests knows browsers of people without an account again, by a cookie that the server signs. It
// holds a random id and nothing else.
type Guests struct {
	// The cookie's name. Over HTTPS it always begins with `__Host-`, which keeps other hosts
	// from setting it; over HTTP, where browsers do not allow that, it never does. Default:
	// `__Host-realtime-guest`, with `-` and the name of the hub if it has one.
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
func (g *Guests) cookieFor(r *http.Request, hub string) string {
	name := g.Cookie
	if name == "" {
		name = cookieOf(defaultGuestCookie, hub)
	}
	return cookieFor(r, name)
}

// cookieOf returns the name of a hub's cookie: several hubs may have the same host.
func cookieOf(name, hub string) string {
	if hub == "" {
		return name
	}
	return name + "-" + hub
}

// cookieFor returns the name of a cookie for one request: over HTTPS it belongs to the host alone.
func cookieFor(r *http.Request, name string) string {
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

// guestSource is the source of all guests' cookies, which are signed with a key of the hub.
const guestSource = "guest"

// guestCredential is that of every guest.
var guestCredential = &hub.Credential{Sources: []string{guestSource}}

// guestLife is how long a browser keeps the cookie.
const guestLife = 365 * 24 * time.Hour

// guest returns the guest of a request. If it has no cookie, and a page of the site sent it, the
// answer gets one.
func (h *Handler) guest(r *http.Request, shown serve.Presented) (c hub.Client) {
	name := h.Guests.cookieFor(r, h.Hub)
	id := ""
	if cookie, err := r.Cookie(name); err == nil {
		id, _ = guest.Verify(h.guestKey, cookie.Value) // a bad one is none
	}
	if id == "" {
		if shown.Answer == nil || !fromOwnPage(r) || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			return c
		}
		id = guest.NewID()
		cookie := http.Cookie{ //nolint:gosec // Secure where there is HTTPS
			Name: name, Value: guest.Sign(h.guestKey, id), Path: "/", MaxAge: int(guestLife.Seconds()),
			Secure: isHTTPS(r), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		}
		shown.Answer.Add("Set-Cookie", cookie.String())
	}
	c.User, c.Credential = &hub.User{ID: message.GuestID(id)}, guestCredential
	return c
}

// fromOwnPage reports whether a browser sent a request from a page of the site, or to open one:
// another client would not send a cookie back.
func fromOwnPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "": // an older browser
		origin, err := url.Parse(r.Header.Get("Origin"))
		return err == nil && origin.Host != "" && origin.Host == r.Host
	default:
		return false
	}
}
