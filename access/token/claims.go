package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/text/unicode/norm"

	"github.com/caddy-realtime/realtime/hub/names"
)

const (
	maxUser     = 128 // bytes of a user's id
	maxName     = 255 // bytes of other texts: jti, kid
	maxPatterns = 64  // of the claim realtime
)

// Token is what a good token says. It must not be changed: several callers share it.
type Token struct {
	// User is the user's id: 1 to 128 bytes of UTF-8 in normal form C, without control and format
	// characters. It does not begin with "~".
	User string
	// Name is the user's name, as the issuer wrote it; empty: there is none.
	Name string
	// ID is the jti, empty if there is none.
	ID string
	// Issuer is the iss, empty if there is none.
	Issuer string
	// Key is the kid, empty if there is none. A secret or a configured key verifies whatever the kid is.
	Key string
	// Source stands for what has verified the token: a secret, a key, or a JWK set by its URL. It stays
	// the same over restarts, and tells nothing of a secret.
	Source string
	// Issued is the iat.
	Issued time.Time
	// Expires is the exp with the leeway: when a session with this token ends.
	Expires time.Time
	// Realtime is the claim realtime: patterns of rooms by verb, where all and presence are verbs, too;
	// 64 patterns at most. It is what the token asks for: a grant may not exceed its grantor's ceiling.
	Realtime map[string][]string

	claims map[string]any
}

// Claim reports whether the claim at the path is one of the values, or an array with one of them. A claim may
// be a string, a number, true or false, each compared with the value as it is written in JSON. The
// path is a claim's name, or leads into nested claims: "realm_access.roles". Names with a dot work, too.
func (t *Token) Claim(path string, values ...string) bool {
	claim, ok := find(t.claims, path)
	if !ok {
		return false
	}
	if list, ok := claim.([]any); ok {
		return slices.ContainsFunc(list, func(v any) bool { return isOneOf(v, values) })
	}
	return isOneOf(claim, values)
}

// find returns the claim at the path. A whole name wins over a path through nested claims.
func find(in any, path string) (any, bool) {
	object, ok := in.(map[string]any)
	if !ok {
		return nil, false
	}
	if v, ok := object[path]; ok {
		return v, true
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] != '.' {
			continue
		}
		if v, ok := find(object[path[:i]], path[i+1:]); ok {
			return v, true
		}
	}
	return nil, false
}

func isOneOf(claim any, values []string) bool {
	switch c := claim.(type) {
	case string:
		return slices.Contains(values, c)
	case json.Number:
		return slices.Contains(values, c.String())
	case bool:
		return slices.Contains(values, fmt.Sprint(c))
	default:
		return false
	}
}

// claimRules say what a token's claims must be.
type claimRules struct {
	validator   *jwt.Validator
	maxLifetime time.Duration
	leeway      time.Duration
	user, name  string // which claims these are
}

// claimRules checks what the configuration says about claims.
func (c *Config) claimRules() (r claimRules, err error) {
	r = claimRules{maxLifetime: c.MaxLifetime, leeway: c.Leeway, user: c.UserClaim, name: c.NameClaim}
	switch {
	case r.maxLifetime == 0:
		r.maxLifetime = DefaultMaxLifetime
	case r.maxLifetime < time.Second || r.maxLifetime > MaxMaxLifetime:
		return r, fmt.Errorf("max_lifetime %s: must be from 1s to 365d", r.maxLifetime)
	}
	switch {
	case r.leeway == 0:
		r.leeway = DefaultLeeway
	case r.leeway == NoLeeway:
		r.leeway = 0
	case r.leeway < 0 || r.leeway > MaxLeeway:
		return r, fmt.Errorf("leeway %s: must be at most 2m", r.leeway)
	}
	if r.user == "" {
		r.user = "sub"
	}
	if r.name == "" {
		r.name = "name"
	}
	if slices.Contains(c.Audience, "") {
		return r, errors.New("audience must not be empty")
	}
	if c.AnyAudience && len(c.Audience) > 0 {
		return r, errors.New("audience is either any, or a list of names")
	}
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(r.leeway), jwt.WithIssuer(c.Issuer)}
	if len(c.Audience) > 0 {
		options = append(options, jwt.WithAudience(c.Audience...))
	}
	r.validator = jwt.NewValidator(options...)
	return r, nil
}

// token checks the claims, and returns the token that has them.
func (r *claimRules) token(claims map[string]any, now time.Time) (*Token, error) {
	t := &Token{claims: claims}
	issued, err := date(claims, "iat")
	if err != nil {
		return nil, err
	}
	expires, err := date(claims, "exp")
	if err != nil {
		return nil, err
	}
	if _, is := claims["nbf"]; is {
		if _, err := date(claims, "nbf"); err != nil {
			return nil, err
		}
	}
	t.Issued, t.Expires = issued, expires.Add(r.leeway)
	if err := r.validator.Validate(jwt.MapClaims(claims)); err != nil {
		return nil, invalid(reasonOf(err))
	}
	switch life := expires.Sub(issued); {
	case life <= 0:
		return nil, invalid("its exp is not after its iat")
	case life > r.maxLifetime:
		return nil, invalid(fmt.Sprintf("it lives longer than %s", r.maxLifetime))
	case !now.Before(t.Expires):
		return nil, invalid(reasonOf(jwt.ErrTokenExpired))
	}
	if t.User, err = userID(claims[r.user]); err != nil {
		return nil, err
	}
	t.Name, _ = claims[r.name].(string) // it is for show: without it the token is as good
	if t.ID, err = text(claims, "jti"); err != nil {
		return nil, err
	}
	if t.Issuer, err = text(claims, "iss"); err != nil {
		return nil, err
	}
	t.Realtime, err = realtime(claims)
	return t, err
}

// reasonOf says for the client which claim is wrong.
func reasonOf(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{jwt.ErrTokenExpired, "it has expired"},
		{jwt.ErrTokenNotValidYet, "it is not valid yet"},
		{jwt.ErrTokenUsedBeforeIssued, "its iat is in the future"},
		{jwt.ErrTokenInvalidIssuer, "it is from another issuer"},
		{jwt.ErrTokenInvalidAudience, "it is for another audience"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return "its iss or aud is missing, or has the wrong type"
}

// lastDate is the largest date, in seconds since 1970: in the year 5138.
const lastDate = 1e11

// date returns a claim that must be a NumericDate (RFC 7519, section 2), in whole seconds.
func date(claims map[string]any, name string) (time.Time, error) {
	v, is := claims[name]
	if !is {
		return time.Time{}, invalid("it has no " + name)
	}
	n, _ := v.(json.Number)
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > lastDate {
		return time.Time{}, invalid("its " + name + " is not a date")
	}
	return time.Unix(int64(seconds), 0), nil
}

// text returns a claim that may be missing, or must be a string.
func text(claims map[string]any, name string) (string, error) {
	v, is := claims[name]
	if !is {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || len(s) > maxName {
		return "", invalid(fmt.Sprintf("its %s is not a string of at most %d bytes", name, maxName))
	}
	return s, nil
}

// userID returns a claim that must be a user's id.
func userID(claim any) (string, error) {
	id, ok := claim.(string)
	switch {
	case !ok || id == "":
		return "", invalid("it names no user")
	case len(id) > maxUser:
		return "", invalid(fmt.Sprintf("its user id has more than %d bytes", maxUser))
	case strings.HasPrefix(id, "~"):
		return "", invalid("its user id begins with ~")
	case strings.ContainsRune(id, utf8.RuneError): // half a surrogate pair becomes one
		return "", invalid("its user id is not UTF-8")
	case strings.ContainsFunc(id, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Cf) }):
		return "", invalid("its user id has control or format characters")
	case !norm.NFC.IsNormalString(id):
		return "", invalid("its user id is not in Unicode normal form C")
	}
	return id, nil
}

// verbs are the members that the claim realtime may have.
var verbs = []string{"subscribe", "publish", "signal", "history", "members", "show", "moderate", "create", "presence", "all"}

// realtime returns the claim realtime.
func realtime(claims map[string]any) (map[string][]string, error) {
	claim, is := claims["realtime"]
	if !is {
		return nil, nil
	}
	object, ok := claim.(map[string]any)
	if !ok {
		return nil, invalid("its claim realtime is not an object")
	}
	all, count := make(map[string][]string, len(object)), 0
	for verb, v := range object {
		list, ok := v.([]any)
		if !ok || !slices.Contains(verbs, verb) {
			return nil, invalid("its claim realtime is not lists of patterns by verb")
		}
		if count += len(list); count > maxPatterns {
			return nil, invalid(fmt.Sprintf("its claim realtime has more than %d patterns", maxPatterns))
		}
		for _, p := range list {
			pattern, ok := p.(string)
			if !ok || names.CheckPattern(strings.Replace(pattern, "{user}", "x", 1)) != nil {
				return nil, invalid("its claim realtime has a malformed pattern of rooms")
			}
			all[verb] = append(all[verb], pattern)
		}
	}
	return all, nil
}
