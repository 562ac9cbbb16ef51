package realtime

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/guest"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/access/token"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/protocol"
)

// The part of a handler that finds out who sent a request, by what the request shows.

// identity returns who sent a request: what is explicit counts before cookies, then what
// handlers before us have found out, then the guest's cookie. A link adds to whoever that is.
func (h *Handler) identity(r *http.Request, shown serve.Presented, repl *caddy.Replacer) (c hub.Client, err error) {
	if h.AsBackend != "" {
		if !h.asBackendAllowed(r) {
			return c, &protocol.Problem{
				Status: http.StatusForbidden, Title: "not allowed",
				Detail: "this address is for servers: a browser or a proxy sent this, or its Host is not one of the site",
			}
		}
		return h.backends.client[h.AsBackend], nil
	}
	if c, err = h.explicit(r, shown); err != nil {
		return c, err
	}
	if c.User == nil && shown.Ambient {
		c = h.ambient(r, shown, repl)
	}
	if shown.Link != "" && len(h.links.keys) > 0 {
		err = h.follow(&c, r, shown)
	}
	return c, err
}

// explicit returns the client of a token or a key, or nobody if there is none. One that is bad is
// an error, never a quieter identity.
func (h *Handler) explicit(r *http.Request, shown serve.Presented) (c hub.Client, err error) {
	text := shown.Bearer
	if h.JWT != nil && h.JWT.QueryToken && shown.AccessToken != "" {
		if text != "" && text != shown.AccessToken {
			return c, protocol.Bad("the request has two different credentials")
		}
		text = shown.AccessToken
	}
	switch {
	case text == "":
		return c, nil
	case len(h.Backends) > 0 && backend.IsKey(text):
		return h.byKey(r, text)
	case h.tokens != nil:
		c.User, c.Credential, err = h.Verify(r.Context(), text)
		return c, err
	case len(h.Backends) > 0:
		return c, serve.BadCredential("it is not a key of a backend")
	default:
		return c, nil // it is for a handler before us
	}
}

// byKey returns the backend whose key it is.
func (h *Handler) byKey(r *http.Request, key string) (c hub.Client, err error) {
	if !keyRequestAllowed(r) {
		return c, &protocol.Problem{
			Status: http.StatusForbidden, Title: "not allowed",
			Detail: "keys are for servers: a browser sent this one, so everybody who reads the page has it",
		}
	}
	name, id, err := h.backends.keys.Find(key)
	if err != nil {
		h.log.Warn("a key of a backend was refused", "key", id)
		return c, serve.BadCredential("no backend has this key")
	}
	c = h.backends.client[name]
	own := *c.Credential
	own.Names = []string{"key:" + id}
	c.Credential = &own
	return c, nil
}

// ambient returns the client of what browsers send by themselves. A cookie that is bad counts
// as none.
func (h *Handler) ambient(r *http.Request, shown serve.Presented, repl *caddy.Replacer) (c hub.Client) {
	if h.tokens != nil && h.JWT.Cookie != "" {
		if cookie, err := r.Cookie(h.JWT.Cookie); err == nil {
			if user, credential, err := h.Verify(r.Context(), cookie.Value); err == nil {
				return hub.Client{User: user, Credential: credential}
			}
		}
	}
	if repl != nil {
		c.User = h.userOf(repl)
	}
	if c.User == nil && h.Guests != nil {
		c = h.guest(r, shown)
	}
	return c
}

// Sources implements [hub.Verifier].
func (h *Handler) Sources() (sources []string) {
	if h.tokens != nil {
		for _, s := range h.tokens.Sources() {
			sources = append(sources, h.tokenSource(s))
		}
	}
	for _, c := range h.backends.client {
		sources = append(sources, c.Credential.Sources...)
	}
	for _, s := range h.links.sources {
		sources = append(sources, s)
	}
	if h.Guests != nil {
		sources = append(sources, guestSource)
	}
	return sources
}

// Verify implements [hub.Verifier], for tokens.
func (h *Handler) Verify(ctx context.Context, text string) (*hub.User, *hub.Credential, error) {
	if h.tokens == nil {
		return nil, nil, hub.ErrNoVerifier
	}
	t, err := h.tokens.Verify(ctx, text)
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return nil, nil, &protocol.Problem{
			Status: http.StatusServiceUnavailable, Title: "tokens cannot be verified",
			Detail: "the keys of the issuer cannot be reached", RetryAfter: token.RetryAfter, Err: err,
		}
	case err != nil:
		return nil, nil, serve.BadCredential(err.Error())
	}
	user := &hub.User{ID: h.UserPrefix + t.User, Name: t.Name}
	if err := user.Check(); err != nil {
		return nil, nil, serve.BadCredential(err.Error())
	}
	credential := &hub.Credential{Sources: []string{h.tokenSource(t.Source)}, Issued: t.Issued, Expires: t.Expires, Facts: h.claimsOf(t)}
	if t.ID != "" {
		credential.Names = append(credential.Names, "token:"+t.ID)
	}
	if t.Issuer != "" {
		credential.Names = append(credential.Names, "issuer:"+t.Issuer)
	}
	if credential.Grants, err = h.grantedBy(t, user.ID); err != nil {
		return nil, nil, serve.BadCredential(err.Error())
	}
	return user, credential, nil
}

// grantedBy returns what the claim realtime of a token adds, below the handler's ceiling; nil for
// nothing.
func (h *Handler) grantedBy(t *token.Token, user string) (hub.Granter, error) {
	if len(t.Realtime) == 0 || h.ceiling == nil {
		return nil, nil //nolint:nilnil // nothing is granted, which is not an error
	}
	var grants []access.Grant
	for word, patterns := range t.Realtime {
		verbs, rest, err := access.ParseVerbs("", []string{word})
		if err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("the claim realtime has an unknown verb")
		}
		if len(patterns) > 0 {
			grants = append(grants, access.Grant{Verbs: verbs, Patterns: patterns})
		}
	}
	made, err := access.NewGrants(user, grants, h.ceiling)
	if err != nil {
		return nil, fmt.Errorf("the claim realtime: %w", err)
	}
	return made, nil
}

// claimsOf returns which claim of an allow the token has.
func (h *Handler) claimsOf(t *token.Token) *hub.Facts {
	var facts *hub.Facts
	_ = h.allows(func(_ string, a *Allow) error {
		if a.Who == claim && t.Claim(a.Claim, a.Values...) {
			if facts == nil {
				facts = new(hub.Facts)
			}
			facts.IDs = append(facts.IDs, a.claimID())
		}
		return nil
	})
	return facts
}

// tokenSource returns the source of credentials by a key, together with what the handler makes of
// them: if that changes, they have to be shown again.
func (h *Handler) tokenSource(key string) string {
	source, err := sourceOf("token", key, h.JWT.Grants, h.UserPrefix)
	if err != nil {
		return "" // of the configuration, so this does not happen
	}
	return source
}

// sourceOf returns the name of a source of credentials, from what makes it another one.
func sourceOf(kind string, of ...any) (string, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// follow adds the rights of a link to a client, who is the link if nobody else.
func (h *Handler) follow(c *hub.Client, r *http.Request, shown serve.Presented) error {
	l, err := h.links.keys.Verify(shown.Link, time.Now())
	if err == nil && (l.Hub != h.Hub || l.Host != link.Host(r.Host)) {
		return badLink("link of another site", "the link is for another site or hub")
	}
	switch {
	case errors.Is(err, link.ErrExpired):
		return badLink("link expired", "the link has expired: ask for another one")
	case errors.Is(err, link.ErrMalformed):
		return badLink("link altered", "the link is not complete: copy all of it")
	case err != nil:
		return badLink("link altered", "the link was altered, or its key is not accepted any more")
	}
	verbs, _, err := access.ParseVerbs("", slices.Compact(slices.Sorted(slices.Values(l.Verbs))))
	if err != nil {
		return badLink("link altered", "the link has verbs that this server does not know")
	}
	room := l.Room
	if room == "" {
		room = l.Pattern
	}
	grants, err := access.NewGrants("", []access.Grant{{Verbs: verbs, Patterns: []string{room}}}, h.links.ceiling)
	if err != nil {
		return badLink("link altered", "the link has no room that this server knows")
	}
	own := &hub.Credential{
		Sources: []string{h.links.sources[l.KeyID]}, Grants: grants, Expires: l.Expires,
		Names: []string{"link:" + l.ID, "key:" + l.KeyID},
	}
	if h.hub.Revoked(&hub.Client{Credential: own}) {
		return badLink("link revoked", "the link has been revoked: ask for another one")
	}
	if shown.Opens && !h.uses.Use(&l, time.Now()) {
		return badLink("link used up", "the link has been used as often as it may be")
	}
	if c.User == nil {
		c.User = &hub.User{ID: message.LinkID(l.ID), Name: l.Name}
	}
	c.Credential = c.Credential.With(own)
	if c.Credential != own {
		c.Credential.Grants = union(c.Credential.Grants, own.Grants)
	}
	return nil
}

// union returns what grants what a, which may be nil, or b does.
func union(a, b hub.Granter) hub.Granter {
	if a == nil {
		return b
	}
	return access.Union{a, b}
}

func badLink(title, detail string) *protocol.Problem {
	return &protocol.Problem{Status: http.StatusForbidden, Title: title, Detail: detail}
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
	name := h.Guests.cookieFor(r)
	g, current := guest.Guest{}, false
	if cookie, err := r.Cookie(name); err == nil {
		g, current, err = guest.Verify([][32]byte{h.guestKey}, cookie.Value)
		if err != nil {
			g = guest.Guest{}
		}
	}
	if !current {
		if shown.Answer == nil || !fromOwnPage(r) || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			return c
		}
		if g.ID == "" {
			g = guest.New()
		}
		cookie := http.Cookie{ //nolint:gosec // Secure where there is HTTPS
			Name: name, Value: guest.Sign(h.guestKey, g), Path: "/", MaxAge: int(guestLife.Seconds()),
			Secure: isHTTPS(r), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		}
		shown.Answer.Add("Set-Cookie", cookie.String())
	}
	c.User, c.Credential = &hub.User{ID: message.GuestID(g.ID)}, guestCredential
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
