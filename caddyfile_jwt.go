package realtime

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-realtime/realtime/access/token"
)

// unmarshalJWT reads the block of jwt. Errors show no argument where a secret may stand.
func (h *Handler) unmarshalJWT(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() > 0 {
		return d.Err("jwt takes no argument: secrets and keys are options of its block")
	}
	j := new(JWT)
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "grants" {
			return d.Errf("jwt: %s already specified", name)
		}
		seen[name] = true
		if err := j.unmarshalOption(d, name); err != nil {
			return err
		}
	}
	if len(seen) == 0 {
		return d.Err("jwt has no options: set secret, key, key_file or jwks")
	}
	if err := j.check(); err != nil {
		return d.WrapErr(err)
	}
	h.JWT = j
	return nil
}

func (j *JWT) unmarshalOption(d *caddyfile.Dispenser, name string) (err error) {
	switch name {
	case "secret":
		j.Secrets, err = secrets(d)
	case "key":
		j.Keys, err = secrets(d)
	case "key_file":
		j.KeyFiles, err = distinct(d)
	case "jwks":
		j.JWKS, err = word(d, token.CheckURL)
	case "algorithms":
		j.Algorithms, err = distinct(d)
	case "grants":
		err = j.unmarshalGrant(d)
	case "max_lifetime":
		if j.MaxLifetime, err = duration(d); err == nil && j.MaxLifetime == off {
			err = d.Err("jwt: max_lifetime must be a duration like 12h; it cannot be off")
		}
	case "issuer":
		j.Issuer, err = word(d, nil)
	case "audience":
		j.Audience, err = distinct(d)
		if j.AnyAudience = slices.Contains(j.Audience, "any"); j.AnyAudience {
			if len(j.Audience) > 1 {
				return d.Err("jwt: audience is either any, or a list of names")
			}
			j.Audience = nil
		}
	case "leeway":
		j.Leeway, err = duration(d)
	case "cookie":
		j.Cookie, err = word(d, nil)
	case "query_token":
		j.QueryToken, err = onOff(d)
	case "user_claim":
		j.UserClaim, err = word(d, nil)
	case "name_claim":
		j.NameClaim, err = word(d, nil)
	default:
		return d.WrapErr(unknownJWTOption(name))
	}
	if err != nil {
		return err
	}
	return endOfOption(d, "jwt: "+name)
}

// unmarshalGrant reads verbs, the word on, and patterns of rooms.
func (j *JWT) unmarshalGrant(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	on := slices.Index(args, "on")
	if on < 0 {
		return d.Errf("jwt: grants %s: missing on <pattern...>", strings.Join(args, " "))
	}
	j.Grants = append(j.Grants, Grant{Verbs: args[:on], Patterns: args[on+1:]})
	return nil
}

// secrets reads one or more arguments that no error may show.
func secrets(d *caddyfile.Dispenser) ([]string, error) {
	if d.CountRemainingArgs() == 0 {
		return nil, d.ArgErr()
	}
	return d.RemainingArgs(), nil
}

// distinct reads one or more arguments that differ.
func distinct(d *caddyfile.Dispenser) ([]string, error) {
	return words(d, func(string) error { return nil }, func(a, b string) bool { return a == b })
}
