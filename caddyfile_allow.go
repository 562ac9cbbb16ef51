package realtime

import (
	"errors"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-realtime/realtime/access"
)

// namedMatcher reads the next argument, the name of a matcher, and returns its set.
type namedMatcher func() (set caddy.ModuleMap, ok bool, err error)

// noMatchers knows no matcher: there is no site around the directive.
func noMatchers() (caddy.ModuleMap, bool, error) {
	return nil, false, errors.New("a named matcher needs a site around it")
}

// allow reads verbs, and who has them. The pattern is that of the room; empty outside of
// room blocks.
func allow(d *caddyfile.Dispenser, pattern string, named namedMatcher) (a Allow, err error) {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return a, d.ArgErr()
	}
	verbs, who, err := access.ParseVerbs(pattern, args)
	switch {
	case err != nil:
		return a, d.Errf("%s: %w", allowAt(pattern), err)
	case len(verbs) == 0:
		return a, d.Errf("%s: unrecognized verb %q: must be %s", allowAt(pattern), args[0], verbForms)
	case len(who) == 0:
		return a, d.Errf("%s %s: missing who: must be %s", allowAt(pattern), strings.Join(args, " "), whoForms)
	}
	a.Verbs, a.Who = args[:len(args)-len(who)], who[0]
	single := true
	switch {
	case strings.HasPrefix(who[0], "@"):
		a.Who, a.Name = matcher, who[0]
	case a.Who == "user":
		a.IDs, single = who[1:], false
	case a.Who == claim && len(who) > 1:
		a.Claim, a.Values, single = who[1], who[2:], false
	case a.Who == matcher || whos[a.Who] == 0:
		return a, d.Errf("%s: unrecognized %q: must be a verb (%s), or %s", allowAt(pattern), who[0], verbForms, whoForms)
	}
	if single && len(who) > 1 {
		return a, d.Errf("%s: unexpected argument %q after %s", allowAt(pattern), who[1], who[0])
	}
	if a.Who == matcher {
		d.Prev() // the name is the next argument again
		if a.MatchRaw, _, err = named(); err != nil {
			return a, d.WrapErr(err)
		}
	}
	rule, err := a.rule(pattern)
	if err == nil {
		_, err = access.New([]access.Rule{rule})
	}
	if err != nil {
		return a, d.WrapErr(err)
	}
	return a, nil
}

// unmarshalUser reads the template of the user's id, and whether clients cannot set what it reads.
func (h *Handler) unmarshalUser(d *caddyfile.Dispenser) (err error) {
	if h.User, err = word(d, nil); err != nil {
		return err
	}
	if d.NextArg() {
		if d.Val() != "trusted" {
			return d.Errf("user: unexpected argument %q: only trusted may follow the template", d.Val())
		}
		h.UserTrusted = true
	}
	alone := Handler{User: h.User, UserTrusted: h.UserTrusted}
	if err := alone.checkIdentity(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
