package access_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// reference decides as the text about rules says it, slowly.
type reference []access.Rule

func (ref reference) decide(p access.Principal, verb hub.Verb, room string) bool {
	if strings.HasPrefix(p.User, "~b") {
		granted, exactly := grantedTo(p, verb, room)
		if _, spoken := ref.deciding(verb, room); verb == hub.VerbCreate && !spoken && !granted {
			return ref.decide(p, hub.VerbSubscribe, room) || ref.decide(p, hub.VerbPublish, room) || ref.decide(p, hub.VerbShow, room)
		}
		return granted && (exactly || !ref.says(access.Nobody, verb, room))
	}
	switch verb {
	case hub.VerbModerate:
		return ref.may(p, verb, room)
	case hub.VerbSubscribe:
		return ref.may(p, verb, room) || ref.moderates(p, verb, room)
	case hub.VerbHistory, hub.VerbMembers:
		return (ref.may(p, verb, room) || ref.moderates(p, verb, room)) && ref.decide(p, hub.VerbSubscribe, room)
	case hub.VerbShow:
		return ref.may(p, verb, room) && ref.decide(p, hub.VerbSubscribe, room)
	default: // the rest is below
	}
	pattern, spoken := ref.deciding(verb, room)
	granted, _ := grantedTo(p, verb, room)
	if !spoken && verb == hub.VerbCreate {
		return ref.decide(p, hub.VerbSubscribe, room) || ref.decide(p, hub.VerbPublish, room) || ref.decide(p, hub.VerbShow, room)
	}
	if !spoken && verb == hub.VerbSignal {
		return ref.decide(p, hub.VerbPublish, room) || granted && !ref.says(access.Nobody, hub.VerbPublish, room)
	}
	if granted && !ref.says(access.Nobody, verb, room) {
		return true
	}
	gate, restricted := ref.deciding(hub.VerbSubscribe, room)
	if restricted && (!spoken || moreSpecific(gate, pattern)) && !ref.decide(p, hub.VerbSubscribe, room) {
		return false
	}
	return ref.may(p, verb, room)
}

// may reports whether the lines on the verb, or a grant, let the caller in.
func (ref reference) may(p access.Principal, verb hub.Verb, room string) bool {
	granted, _ := grantedTo(p, verb, room)
	if granted && !ref.says(access.Nobody, verb, room) {
		return true
	}
	pattern, spoken := ref.deciding(verb, room)
	if !spoken {
		return !strings.HasPrefix(room, "-/") && verb != hub.VerbModerate
	}
	return slices.ContainsFunc(ref, func(r access.Rule) bool {
		return r.Pattern == pattern && slices.Contains(r.Verbs, verb) && lets(r, p, room)
	})
}

// moderates reports whether the right to moderate brings another.
func (ref reference) moderates(p access.Principal, verb hub.Verb, room string) bool {
	return ref.may(p, hub.VerbModerate, room) && !ref.says(access.Nobody, verb, room) && !ref.says(access.Nobody, hub.VerbSubscribe, room)
}

// says reports whether a line on the verb decides that is about these.
func (ref reference) says(kind access.Kind, verb hub.Verb, room string) bool {
	pattern, spoken := ref.deciding(verb, room)
	return spoken && slices.ContainsFunc(ref, func(r access.Rule) bool {
		return r.Pattern == pattern && slices.Contains(r.Verbs, verb) && r.Who.Kind == kind
	})
}

// granting is what tests grant.
type granting struct {
	grants, within []access.Grant // within nil: no ceiling
	backend        bool
	made           *access.Grants
}

// Grants implements hub.Granter.
func (g granting) Grants(verb hub.Verb, room string) (granted, exactly bool) {
	return g.made.Grants(verb, room)
}

// grantedTo says what the caller was granted, slowly.
func grantedTo(p access.Principal, verb hub.Verb, room string) (granted, exactly bool) {
	g, ok := p.Grants.(granting)
	if !ok || strings.HasPrefix(room, "-/") && !g.backend {
		return false, false
	}
	covers := func(list []access.Grant) (covered, exactly bool) {
		for _, each := range list {
			for _, pattern := range each.Patterns {
				if !slices.Contains(each.Verbs, verb) || !matches(pattern, room) {
					continue
				}
				owner := strings.Contains(pattern, "{user}")
				if owner && (p.User == "" || compiled[pattern].FindStringSubmatch(room)[1] != escape(p.User)) {
					continue
				}
				covered = true
				exactly = exactly || !owner && !strings.HasSuffix(pattern, "*")
			}
		}
		return covered, exactly
	}
	granted, exactly = covers(g.grants)
	if g.within != nil {
		below, _ := covers(g.within)
		granted, exactly = granted && below, exactly && below
	}
	return granted, exactly
}

// deciding returns the most specific pattern that matches the room and speaks of the verb.
func (ref reference) deciding(verb hub.Verb, room string) (most string, ok bool) {
	for _, r := range ref {
		if !slices.Contains(r.Verbs, verb) || !matches(r.Pattern, room) {
			continue
		}
		if ok && r.Pattern != most && !moreSpecific(r.Pattern, most) && !moreSpecific(most, r.Pattern) {
			panic(fmt.Sprintf("both %q and %q decide on %s in %q", most, r.Pattern, verb, room))
		}
		if !ok || moreSpecific(r.Pattern, most) {
			most, ok = r.Pattern, true
		}
	}
	return most, ok
}

func lets(r access.Rule, p access.Principal, room string) bool {
	signedIn := p.User != "" && p.User[0] != '~'
	switch r.Who.Kind {
	case access.Anyone:
		return true
	case access.Guests:
		return signedIn || strings.HasPrefix(p.User, "~g")
	case access.Users:
		return signedIn
	case access.Named:
		return signedIn && slices.Contains(r.Who.IDs, p.User)
	case access.Owner:
		return p.User != "" && compiled[r.Pattern].FindStringSubmatch(room)[1] == escape(p.User)
	case access.Fact:
		return p.Facts.Has(r.Who.Fact)
	default:
		return false
	}
}

func escape(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func full(pattern string) string {
	if pattern == "" {
		return "*"
	}
	return pattern
}

// compile returns the pattern as a regular expression, with {user} as its group.
func compile(pattern string) *regexp.Regexp {
	r := regexp.QuoteMeta(full(pattern))
	r = strings.ReplaceAll(r, `\{user\}`, `([^/]+)`)
	r = strings.ReplaceAll(r, `\*`, `.*`)
	return regexp.MustCompile(`(?s)^` + r + `$`)
}

// What has been compiled and matched before, since that takes long.
var (
	compiled = make(map[string]*regexp.Regexp)
	matched  = make(map[[2]string]bool)
)

func matches(pattern, room string) bool {
	ask := [2]string{pattern, room}
	yes, known := matched[ask]
	if !known {
		if compiled[pattern] == nil {
			compiled[pattern] = compile(pattern)
		}
		yes = compiled[pattern].MatchString(room) && strings.HasPrefix(pattern, "-/") == strings.HasPrefix(room, "-/")
		matched[ask] = yes
	}
	return yes
}

func moreSpecific(a, b string) bool {
	literal := func(p string) int {
		return len(strings.ReplaceAll(strings.ReplaceAll(full(p), "{user}", ""), "*", ""))
	}
	user := func(p string) bool { return strings.Contains(p, "{user}") }
	exact := func(p string) bool { return !user(p) && !strings.HasSuffix(full(p), "*") }
	switch {
	case exact(a) != exact(b):
		return exact(a)
	case literal(a) != literal(b):
		return literal(a) > literal(b)
	default:
		return !user(a) && user(b)
	}
}
