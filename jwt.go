package realtime

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/token"
)

// JWT says which JSON Web Tokens (RFC 7519) tell who a client is. A token must have `exp` and
// `iat`, and at most 8 KiB. At least one of `secrets`, `keys`, `key_files` and `jwks` is needed;
// secrets and keys together may be up to 16, each of which is tried. Placeholders that do not
// need a request, like `{env.JWT_SECRET}` and `{file./run/secrets/jwt}`, may be in `secrets`, `keys`,
// `key_files`, `issuer` and `audience`. They are replaced when the configuration is loaded.
type JWT struct {
	// Secrets of HS256, HS384 or HS512, of at least 32, 48 or 64 bytes.
	Secrets []string `json:"secrets,omitempty"`

	// Public keys in PEM: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519.
	Keys []string `json:"keys,omitempty"`

	// Files with one public key in PEM each.
	KeyFiles []string `json:"key_files,omitempty"`

	// The URL of the issuer's keys, a JWK set (RFC 7517): `https`, or `http` to this machine; no
	// placeholders. It requires `issuer`, and `audience` or `any_audience`. The keys are fetched in the
	// background, every 15 minutes, and when a token names an unknown one, but for that reason
	// only once in 5 minutes. Redirects are not followed. While they cannot be fetched, the
	// last ones count for a day.
	JWKS string `json:"jwks,omitempty"`

	// The algorithms that tokens may be signed with: `HS256`, `RS256`, `PS256`, `ES256`, the same with 384
	// and 512, or `EdDSA`. Each secret and key is only used for those of its own kind. Default:
	// `HS256` for secrets, `RS256`, `ES256`, `ES384`, `ES512` or `EdDSA` by the kind of key, and what a key
	// of the `jwks` says.
	Algorithms []string `json:"algorithms,omitempty"`

	// What the claim `realtime` of a token can add to the rights of its user, at most. Default: `all` in
	// every room, or nothing if there is a `jwks`.
	Grants []Grant `json:"grants,omitempty"`

	// How long after its `iat` a token may expire, from 1s to 365 days. Default: `24h`.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// The `iss` that tokens must have. Default: any, or none.
	Issuer string `json:"issuer,omitempty"`

	// Names, one of which must be in the `aud` of tokens. Default: any, or none.
	Audience []string `json:"audience,omitempty"`

	// Accept tokens for any audience although there is a `jwks`. Its issuer's tokens for other services
	// are then good here, too. Default: off.
	AnyAudience bool `json:"any_audience,omitempty"`

	// How far the clocks of the issuer and of this server may be apart: up to 2m, or -1 for none. A
	// token counts for so long after its `exp`. Default: `30s`.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// The cookie that may have the token. Default: none.
	Cookie string `json:"cookie,omitempty"`

	// Take tokens from the query, too, as `access_token`. Queries are in logs, and in the history of
	// browsers. Default: off.
	QueryToken bool `json:"query_token,omitempty"`

	// The claim with the user's id, a string of 1 to 128 bytes. Default: `sub`.
	UserClaim string `json:"user_claim,omitempty"`

	// The claim with the user's name. Default: `name`.
	NameClaim string `json:"name_claim,omitempty"`
}

// Grant is a ceiling: which verbs in which rooms something else may give.
type Grant struct {
	// The verbs, as in `allow`.
	Verbs []string `json:"verbs"`
	// Patterns of rooms, as in `room`.
	Patterns []string `json:"patterns"`
}

// provision checks the options and returns their verifier, which has not started yet. No error
// holds a secret.
func (j *JWT) provision(log *slog.Logger) (*token.Verifier, error) {
	c, err := j.config(caddy.NewReplacer())
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	v, err := token.New(c, log)
	if err != nil {
		return nil, fmt.Errorf("jwt: %w", err)
	}
	return v, nil
}

// provisionTokens makes the verifier of tokens, and lets it fetch keys.
func (h *Handler) provisionTokens() (err error) {
	if h.JWT == nil {
		return nil
	}
	if h.ceiling, err = h.JWT.ceiling(); err != nil {
		return err
	}
	if h.family, err = h.familyOf(); err != nil {
		return err
	}
	if h.tokens, err = h.JWT.provision(h.log); err != nil {
		return err
	}
	h.tokens.Start()
	return nil
}

// ceiling returns what tokens can grant at most; nil for nothing.
func (j *JWT) ceiling() (*access.Grants, error) {
	list := j.Grants
	if len(list) == 0 {
		if j.JWKS != "" {
			return nil, nil //nolint:nilnil // nothing, which is not an error
		}
		list = []Grant{{Verbs: []string{"all"}, Patterns: []string{"*"}}}
	}
	var grants []access.Grant
	for _, g := range list {
		verbs, err := onlyVerbs("", g.Verbs)
		if err != nil {
			return nil, fmt.Errorf("jwt: grants: %w", err)
		}
		grants = append(grants, access.Grant{Verbs: verbs, Patterns: g.Patterns})
	}
	return access.NewGrants("", grants, nil)
}

// check checks what can be checked without placeholders and files. The rest is checked by provision.
func (j *JWT) check() error {
	cookie := http.Cookie{Name: j.Cookie} //nolint:gosec // it is never sent: only its name is checked
	if j.Cookie != "" && cookie.Valid() != nil {
		return fmt.Errorf("jwt: invalid cookie %q: must be the name of a cookie", j.Cookie)
	}
	if j.JWKS != "" {
		if err := token.CheckURL(j.JWKS); err != nil {
			return fmt.Errorf("jwt: %w", err)
		}
	}
	for i := range j.Grants {
		if err := j.Grants[i].check(); err != nil {
			return fmt.Errorf("jwt: grants: %w", err)
		}
	}
	return nil
}

func (g *Grant) check() error {
	_, err := onlyVerbs("", g.Verbs)
	switch {
	case err != nil:
		return err
	case len(g.Verbs) == 0:
		return errors.New("missing verb: must be " + verbForms)
	case len(g.Patterns) == 0:
		return errors.New("missing on <pattern...>: name the rooms")
	}
	for i, p := range g.Patterns {
		switch {
		case p == "":
			return errors.New("the pattern of a room must not be empty")
		case strings.HasPrefix(p, "-/"):
			return fmt.Errorf("room pattern %q: tokens give no rights in rooms that begin with -/", p)
		case slices.Contains(g.Patterns[:i], p):
			return fmt.Errorf("room pattern %q already specified", p)
		}
		if err := access.CheckPattern(p); err != nil {
			return err
		}
	}
	return nil
}

// config reads files, and replaces placeholders.
func (j *JWT) config(repl *caddy.Replacer) (c token.Config, err error) {
	c = token.Config{
		JWKS: j.JWKS, Algorithms: j.Algorithms, AnyAudience: j.AnyAudience,
		MaxLifetime: time.Duration(j.MaxLifetime), Leeway: time.Duration(j.Leeway),
		UserClaim: j.UserClaim, NameClaim: j.NameClaim,
	}
	secrets, err := expand(repl, "secret", j.Secrets)
	if err != nil {
		return c, err
	}
	for _, s := range secrets {
		c.Secrets = append(c.Secrets, []byte(s))
	}
	keys, err := expand(repl, "key", j.Keys)
	if err != nil {
		return c, err
	}
	for i, text := range keys {
		key, err := token.ParseKey([]byte(text))
		if err != nil {
			return c, fmt.Errorf("key %d: %w", i+1, err)
		}
		c.Keys = append(c.Keys, key)
	}
	files, err := expand(repl, "key_file", j.KeyFiles)
	if err != nil {
		return c, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return c, fmt.Errorf("key_file: %w", err)
		}
		key, err := token.ParseKey(text)
		if err != nil {
			return c, fmt.Errorf("key_file %s: %w", name, err)
		}
		c.Keys = append(c.Keys, key)
	}
	if j.Issuer != "" {
		issuer, err := expand(repl, "issuer", []string{j.Issuer})
		if err != nil {
			return c, err
		}
		c.Issuer = issuer[0]
	}
	c.Audience, err = expand(repl, "audience", j.Audience)
	return c, err
}

// expand replaces the placeholders in the values of an option. It does not say which has no value: in
// a secret, braces may be part of it.
func expand(repl *caddy.Replacer, name string, values []string) ([]string, error) {
	var all []string
	for i, v := range values {
		text, err := repl.ReplaceOrErr(v, true, true)
		switch {
		case err != nil:
			return nil, fmt.Errorf(`%s %d: a placeholder in it is unknown or has no value (for a brace in itself write \{)`, name, i+1)
		case text == "":
			return nil, fmt.Errorf("%s %d is empty", name, i+1)
		}
		all = append(all, text)
	}
	return all, nil
}
