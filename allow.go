package realtime

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// Allow lets some clients do something. Several of them add up.
//
// For each verb, the most specific room pattern that has an `allow` for it decides: an
// exact name, then the one with more literal characters. A verb without any is open to
// anyone. But whoever may not subscribe may do nothing else there either, unless a pattern
// that is as specific says so.
type Allow struct {
	// What they may do: `subscribe`, `publish`, `signal`, `history`, `members` and `show`;
	// `presence` means `members` and `show`, `all` means all six. `moderate` and `create` must
	// be named.
	Verbs []string `json:"verbs"`
	// Who they are: `anyone`, `nobody` (not even by a token or a link), `granted` (only by a
	// token or a link), `guests` (guests and users), `users` (everybody who has signed in), `user`
	// (the users in `ids`), `owner` (the user or guest whose id is the segment `{user}` of the
	// room's pattern), `claim` (whose token has one of `values` in the claim `claim`), or `matcher`
	// (whoever's request `match` matches).
	Who string `json:"who"`
	// The ids, if `who` is `user`.
	IDs []string `json:"ids,omitempty"`
	// The claim, if `who` is `claim`: its name, or names with dots between them for a claim within
	// objects.
	Claim string `json:"claim,omitempty"`
	// The values of the claim, if `who` is `claim`. If the claim is a list, one of them must be in
	// it.
	Values []string `json:"values,omitempty"`
	// How the matcher is called, if `who` is `matcher`. It has no effect.
	Name string `json:"name,omitempty"`
	// The matchers, if `who` is `matcher`; all must match. They are asked about the request
	// that opens a connection, and the connection keeps the answer until a reload changes
	// them. A set with `client_ip`, `vars`, `vars_regexp`, `file`, `expression`, a
	// placeholder or a module that is not Caddy's own counts as changed by every reload.
	// An error is a no. Only this handler asks them: clients of other handlers of the hub
	// are let in by their own.
	MatchRaw caddy.ModuleMap `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Set by Provision, if who is matcher.
	fact string // the id of what the matchers tell
	set  caddyhttp.MatcherSet
}

// matcher is the value of who that goes by matchers, claim that which goes by claims of tokens.
const (
	matcher = "matcher"
	claim   = "claim"
)

// whos are the values of who.
var whos = map[string]access.Kind{
	"anyone": access.Anyone, "nobody": access.Nobody, "granted": access.Granted, "guests": access.Guests, "users": access.Users,
	"user": access.Named, "owner": access.Owner, claim: access.Fact, matcher: access.Fact,
}

const (
	verbForms = "subscribe, publish, signal, history, members, show, presence, all, moderate or create"
	whoForms  = "anyone, nobody, granted, guests, users, user <id...>, owner, claim <path> <value...> or a named matcher like @staff"
)

// onlyVerbs parses words that all must be verbs, for rooms of the pattern; see [access.ParseVerbs].
func onlyVerbs(pattern string, words []string) ([]hub.Verb, error) {
	verbs, rest, err := access.ParseVerbs(pattern, words)
	if len(rest) > 0 {
		return nil, fmt.Errorf("unrecognized verb %q: must be %s", rest[0], verbForms)
	}
	return verbs, err
}

// rule converts the option to a rule for the rooms of the pattern.
func (a *Allow) rule(pattern string) (access.Rule, error) {
	verbs, rest, err := access.ParseVerbs(pattern, a.Verbs)
	kind, known := whos[a.Who]
	switch {
	case err != nil:
	case len(rest) > 0:
		err = fmt.Errorf("unknown verb %q: must be %s", rest[0], verbForms)
	case !known:
		err = fmt.Errorf("unknown who %q: must be anyone, nobody, granted, guests, users, user, owner, claim or matcher", a.Who)
	case kind != access.Named && len(a.IDs) > 0:
		err = fmt.Errorf("ids are only for who user, not %s", a.Who)
	case a.Who != matcher && (len(a.MatchRaw) > 0 || a.Name != ""):
		err = fmt.Errorf("match and name are only for who matcher, not %s", a.Who)
	case a.Who == matcher && a.fact == "" && len(a.MatchRaw) == 0:
		err = errors.New("who matcher needs a match that is not empty")
	case a.Who != claim && (a.Claim != "" || len(a.Values) > 0):
		err = fmt.Errorf("claim and values are only for who claim, not %s", a.Who)
	case a.Who == claim && (a.Claim == "" || len(a.Values) == 0):
		err = errors.New("claim needs the path of a claim, and at least one value")
	}
	if err != nil {
		return access.Rule{}, fmt.Errorf("%s: %w", allowAt(pattern), err)
	}
	who := access.Who{Kind: kind, IDs: a.IDs}
	switch a.Who {
	case claim:
		who.Name, who.Fact = strings.Join(append([]string{claim, a.Claim}, a.Values...), " "), a.claimID()
	case matcher:
		who.Name, who.Fact = a.Name, a.fact
		if who.Fact == "" {
			who.Fact = factID(a.MatchRaw, "") // not provisioned, so nobody is asked about it
		}
	}
	return access.Rule{Pattern: pattern, Verbs: verbs, Who: who}, nil
}

// claimID returns the id of what a claim tells.
func (a *Allow) claimID() string {
	values := slices.Compact(slices.Sorted(slices.Values(a.Values)))
	return fmt.Sprintf("claim %q %q", a.Claim, values)
}

// allowAt says in an error where the option stands.
func allowAt(pattern string) string {
	if pattern == "" {
		return "allow"
	}
	return "room " + pattern + ": allow"
}

// allows calls f for all that is allowed, until it returns an error. The pattern of the
// hub's own is empty.
func (h *Handler) allows(f func(pattern string, a *Allow) error) error {
	for i := range h.Allow {
		if err := f("", &h.Allow[i]); err != nil {
			return err
		}
	}
	for _, r := range h.Rooms {
		for i := range r.Allow {
			if err := f(r.Pattern, &r.Allow[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// rights converts what is allowed to the hub's rules, nil if there are none, and their key.
func (h *Handler) rights() (*access.Rules, string, error) {
	var list []access.Rule
	err := h.allows(func(pattern string, a *Allow) error {
		rule, err := a.rule(pattern)
		list = append(list, rule)
		return err
	})
	if err != nil || len(list) == 0 {
		return nil, "", err
	}
	rules, err := access.New(list)
	return rules, keyOf(list), err
}

// keyOf returns a text that is equal for rules that say the same, in whatever order. It
// leaves out what matchers are called.
func keyOf(rules []access.Rule) string {
	var lines []string
	for _, r := range rules {
		ids := slices.Compact(slices.Sorted(slices.Values(r.Who.IDs)))
		for _, v := range r.Verbs {
			lines = append(lines, fmt.Sprintf("%q %s %d %q %q", r.Pattern, v, r.Who.Kind, ids, r.Who.Fact))
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// userSegment stands for one user in the pattern of a room.
const userSegment = "{user}"

// checkOwned checks a room whose pattern has {user}: it has rights, and no limits. If only declared rooms
// exist it may do without.
func (r *Room) checkOwned(onlyDeclared bool) error {
	if !reflect.DeepEqual(*r, Room{Pattern: r.Pattern, Allow: r.Allow}) {
		return errors.New("a pattern with {user} takes only allow")
	}
	if len(r.Allow) == 0 && !onlyDeclared {
		return errors.New("no options: set allow")
	}
	return access.CheckPattern(r.Pattern)
}
