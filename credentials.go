package realtime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/token"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/protocol"
)

// The part of a handler that finds out who sent a request, by what the request shows.

// identity returns who sent a request: what is explicit counts before cookies, then what
// handlers before us have found out. A link adds to whoever that is; without one, the guest's cookie counts
// last.
func (h *Handler) identity(r *http.Request, shown serve.Presented, repl *caddy.Replacer) (c hub.Client, err error) {
	if h.AsBackend != "" {
		if !h.asBackendAllowed(r) {
			return c, &protocol.Problem{
				Status: http.StatusForbidden, Title: "not allowed",
				Detail: "this address is for servers: a browser or a proxy sent this, or its Host is not one of the site",
			}
		}
		return h.backends.by(h.AsBackend, h.backends.as), nil
	}
	if shown.Anonymous {
		return hub.Client{Family: h.family}, nil
	}
	if c, err = h.explicit(r, shown, repl); err != nil {
		return c, err
	}
	if c.User == nil && shown.Ambient {
		if c, err = h.ambient(r, repl); err != nil {
			return c, err
		}
	}
	err = h.addLink(&c, r, shown)
	if err == nil && c.User == nil && h.Guests != nil && shown.Ambient {
		c = h.guest(r, shown)
	}
	c.Family = h.family
	return c, err
}

// explicit returns the client of a token or a key, or nobody if there is none. One that is bad is
// an error, never a quieter identity.
func (h *Handler) explicit(r *http.Request, shown serve.Presented, repl *caddy.Replacer) (c hub.Client, err error) {
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
		c.User, c.Credential, err = h.Verify(r.Context(), text, addressOf(r))
		return c, err
	case len(h.Backends) > 0 && !h.knowsUser(repl):
		return c, serve.BadCredential("it is not a key of a backend")
	default:
		return c, nil // it is for a handler before us
	}
}

// knowsUser reports whether a handler before us has found out who sent the request.
func (h *Handler) knowsUser(repl *caddy.Replacer) bool {
	user, err := h.userOf(repl)
	return user != nil || err != nil
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
		return c, h.failed(addressOf(r), serve.BadCredential("no backend has this key"), "audit", "key", "kind", "key", "key", id)
	}
	return h.backends.by(name, h.backends.sources[id], "key:"+id), nil
}

// ambient returns the client of what browsers send by themselves. A cookie that is bad counts
// as none; a user's id that is bad is an error.
func (h *Handler) ambient(r *http.Request, repl *caddy.Replacer) (c hub.Client, err error) {
	if h.tokens != nil && h.JWT.Cookie != "" {
		if cookie, err := r.Cookie(h.JWT.Cookie); err == nil {
			c.User, c.Credential, err = h.Verify(r.Context(), cookie.Value, addressOf(r))
			if err == nil && !h.hub.Revoked(&c) {
				return c, nil
			}
			c = hub.Client{}
		}
	}
	c.User, err = h.userOf(repl)
	return c, err
}

// Sources implements [hub.Verifier].
func (h *Handler) Sources() (sources []string) {
	if h.tokens != nil {
		for _, s := range h.tokens.Sources() {
			sources = append(sources, h.tokenSource(s))
		}
	}
	if h.backends.as != "" {
		sources = append(sources, h.backends.as)
	}
	for _, s := range h.backends.sources {
		sources = append(sources, s)
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
func (h *Handler) Verify(ctx context.Context, text string, from netip.Addr) (*hub.User, *hub.Credential, error) {
	if h.tokens == nil {
		return nil, nil, hub.ErrNoVerifier
	}
	t, err := h.tokens.Verify(ctx, text, attempt{h, from})
	switch {
	case errors.As(err, new(*protocol.Problem)):
		return nil, nil, err
	case errors.Is(err, token.ErrUnavailable):
		return nil, nil, &protocol.Problem{
			Status: http.StatusServiceUnavailable, Title: "tokens cannot be verified",
			Detail: "the keys of the issuer cannot be reached", RetryAfter: token.RetryAfter, Err: err,
		}
	case err != nil:
		return nil, nil, serve.BadCredential(err.Error())
	}
	user := &hub.User{ID: h.UserPrefix + t.User, Name: t.Name}
	if err := cmp.Or(h.checkUser(user.ID), names.CheckUserName(user.Name)); err != nil {
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

// attempt implements [token.Attempt] for an address.
type attempt struct {
	handler *Handler
	from    netip.Addr
}

func (a attempt) May() error {
	if wait, ok := a.handler.hub.MayTry(a.from); !ok {
		return tooManyFailures(wait)
	}
	return nil
}

func (a attempt) Failed() {
	_ = a.handler.failed(a.from, nil, "kind", "token")
}

// failed counts a failed credential, and logs one of an address each minute. It returns the
// refusal, or another one if too many have failed.
func (h *Handler) failed(from netip.Addr, refusal error, attributes ...any) error {
	wait, ok := h.hub.SpendFailure(from)
	if h.hub.ReportFailure(from) {
		h.log.Warn("a credential was refused; more from this address are not logged for a minute", append(attributes, "address", from.Unmap().String())...)
	}
	if !ok {
		return tooManyFailures(wait)
	}
	return refusal
}

func tooManyFailures(wait time.Duration) *protocol.Problem {
	return &protocol.Problem{
		Status: http.StatusTooManyRequests, Title: "too many failures",
		Detail: "too many credentials from this address were bad", RetryAfter: wait,
	}
}

// grantedBy returns what the claim realtime of a token adds, below the handler's ceiling; nil for
// nothing.
func (h *Handler) grantedBy(t *token.Token, user string) (hub.Granter, error) {
	if len(t.Realtime) == 0 || h.ceiling == nil {
		return nil, nil //nolint:nilnil // nothing is granted, which is not an error
	}
	var grants []access.Grant
	for word, patterns := range t.Realtime {
		verbs, err := onlyVerbs("", []string{word})
		if err != nil {
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

// Family implements [hub.Verifier]: handlers of one family make the same of a token.
func (h *Handler) Family() string { return h.family }

// familyOf returns what the handler makes of tokens; empty if it takes none.
func (h *Handler) familyOf() (string, error) {
	if h.JWT == nil {
		return "", nil
	}
	rules := *h.JWT
	rules.Secrets, rules.Keys, rules.KeyFiles = nil, nil, nil   // sources of their own
	rules.Cookie, rules.QueryToken, rules.Leeway = "", false, 0 // how tokens come, and how exact clocks are
	return sourceOf("token", rules, h.UserPrefix)
}

// tokenSource returns the source of credentials by a key, together with which tokens are good and
// what the handler makes of them: if that changes, they have to be shown again.
func (h *Handler) tokenSource(key string) string { return h.family + ":" + key }

// sourceOf returns the name of a source of credentials, from what makes it another one.
func sourceOf(kind string, of ...any) (string, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}
