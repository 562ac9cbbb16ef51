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
	pattern, spoken := ref.deciding(verb, room)
	if !spoken && verb == hub.VerbSignal {
		return ref.decide(p, hub.VerbPublish, room)
	}
	ok := !strings.HasPrefix(room, "-/") // what is unspoken is anyone's
	if spoken {
		ok = slices.ContainsFunc(ref, func(r access.Rule) bool {
			return r.Pattern == pattern && slices.Contains(r.Verbs, verb) && lets(r, p, room)
		})
	}
	if verb == hub.VerbSubscribe {
		return ok
	}
	gate, restricted := ref.deciding(hub.VerbSubscribe, room)
	always := verb == hub.VerbHistory || verb == hub.VerbMembers || verb == hub.VerbShow
	if always || restricted && (!spoken || moreSpecific(gate, pattern)) {
		ok = ok && ref.decide(p, hub.VerbSubscribe, room)
	}
	return ok
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
	switch r.Who.Kind {
	case access.Anyone:
		return true
	case access.Users:
		return p.User != ""
	case access.Named:
		return p.User != "" && slices.Contains(r.Who.IDs, p.User)
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
