// Package access decides who may do what in which room. Rules are data, and a decision
// depends on the caller, the verb, the name of the room and the rules alone: never on
// whether the room exists.
//
//	rules, err := access.New([]access.Rule{
//		{Verbs: []hub.Verb{hub.VerbPublish}, Who: access.Who{Kind: access.Users}},
//		{Pattern: "dm/{user}/*", Verbs: []hub.Verb{hub.VerbSubscribe}, Who: access.Who{Kind: access.Owner}},
//	})
//	...
//	if !rules.Allow(access.Principal{User: "ann"}, hub.VerbSubscribe, "dm/ann/1") {
//
// For each verb, the most specific pattern that matches the room and has a rule on that
// verb decides. Its rules on the verb add up; less specific patterns are not asked.
//
// A verb without a rule is open to anyone, and signal then follows publish. But whoever may
// not subscribe may do nothing else either, unless a pattern at least as specific as the one
// that decides on subscribe has a rule on the other verb. Even so, history, members and
// show always need the right to subscribe.
//
// Rooms whose names begin with "-/" match only patterns that begin so, and a verb without
// a rule is nobody's there.
package access

import (
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
)

// Rule lets some callers use some verbs in the rooms that match a pattern.
type Rule struct {
	// Pattern is a room's name, or the beginning of names followed by one "*", which also
	// spans "/". One segment may be {user}: it stands for any one whole segment, and the
	// room is owned by the user whose id, escaped by [EscapeID], is that segment.
	//
	// The empty pattern belongs to the hub itself. It matches the same rooms as "*".
	//
	// An exact name is the most specific pattern, then the one with more bytes beside "*"
	// and {user}, then the one without {user}.
	Pattern string
	Verbs   []hub.Verb
	Who     Who
}

// Who says whom a [Rule] lets in.
type Who struct {
	Kind Kind
	IDs  []string // the ids of the users, for Named
	Fact string   // the id of a fact, see [hub.Facts], for Fact
	Name string   // how the fact is called in the configuration, for [Rules.Explain]
}

// Kind is what a [Who] goes by.
type Kind uint8

// The kinds. The zero Kind is not valid.
const (
	_      Kind = iota
	Anyone      // every caller
	Nobody      // no caller; no other rule may stand beside it on the same pattern and verb
	Users       // every user, that is, every caller that is not anonymous
	Named       // the users in IDs
	Owner       // the user whom the segment {user} of the pattern names
	Fact        // every caller with the fact
)

// Principal is what rules ask about a caller.
type Principal struct {
	User  string // the id of the user; empty: anonymous
	Facts *hub.Facts
}

// Rules decides by the rules that [New] was given. It does not change, so it is safe for
// concurrent use. The zero Rules has no rules.
type Rules struct {
	verbs [numVerbs]table
}

const numVerbs = int(hub.VerbShow) + 1

// table is what the rules say about one verb.
type table struct {
	exact map[string]*lines // by the name of the room
	loose []*lines          // with "*" or {user}, the most specific first
}

// lines is what the rules of one pattern say about one verb.
type lines struct {
	pattern
	who []Who // as they were given

	// The same, made ready to be asked. Nobody is none of these.
	anyone bool
	users  bool
	owner  bool
	ids    map[string]bool
	facts  []string
}

// These decide where no rule does.
var (
	open   = &lines{pattern: pattern{rank: unspoken}, anyone: true}
	closed = &lines{pattern: pattern{rank: unspoken}}
)

// Decide implements [hub.Authorizer].
func (r *Rules) Decide(c *hub.Client, verb hub.Verb, room string) bool {
	p := Principal{Facts: c.Facts}
	if c.User != nil {
		p.User = c.User.ID
	}
	return r.Allow(p, verb, room)
}

// Allow reports whether the caller may use the verb in the room, whose name is valid.
// It does not allocate.
func (r *Rules) Allow(p Principal, verb hub.Verb, room string) bool {
	_, _, ok := r.decide(p, verb, room)
	return ok
}

// Decision is what [Rules] decide about a caller, a verb and a room, and why.
type Decision struct {
	Allowed bool
	// Verb is the verb that the deciding rules are about. It is publish for a signal that
	// no rule is about, and subscribe for a caller that lacks just that.
	Verb hub.Verb
	// Pattern is that of the deciding rules; empty for the hub's own, or without any.
	Pattern string
	// Who is what the deciding rules say; empty if no rule is about the verb. It must not be
	// changed.
	Who []Who
}

// Explain says how [Rules.Allow] decides, and by which rules.
func (r *Rules) Explain(p Principal, verb hub.Verb, room string) Decision {
	by, verb, ok := r.decide(p, verb, room)
	return Decision{Allowed: ok, Verb: verb, Pattern: by.text, Who: by.who}
}

// decide also returns the lines that decide, and the verb they are about.
func (r *Rules) decide(p Principal, verb hub.Verb, room string) (*lines, hub.Verb, bool) {
	if int(verb) >= numVerbs {
		return closed, verb, false
	}
	own := r.find(verb, room)
	if own.rank == unspoken && verb == hub.VerbSignal {
		verb = hub.VerbPublish
		own = r.find(verb, room)
	}
	if !own.admit(p, room) {
		return own, verb, false
	}
	subscribe := r.find(hub.VerbSubscribe, room)
	if (own.rank < subscribe.rank || needsSubscribe(verb)) && !subscribe.admit(p, room) {
		return subscribe, hub.VerbSubscribe, false
	}
	return own, verb, true
}

// needsSubscribe reports whether nobody has the verb without the right to subscribe, whatever
// the rules say.
func needsSubscribe(verb hub.Verb) bool {
	return verb == hub.VerbHistory || verb == hub.VerbMembers || verb == hub.VerbShow
}

// find returns the lines on the verb with the most specific pattern that matches the room.
func (r *Rules) find(verb hub.Verb, room string) *lines {
	t := &r.verbs[verb]
	if l := t.exact[room]; l != nil {
		return l
	}
	hidden := isReserved(room)
	for _, l := range t.loose {
		if l.reserved == hidden && l.match(room) {
			return l
		}
	}
	if hidden {
		return closed
	}
	return open
}

// admit reports whether the lines let the caller in. The room matches their pattern.
func (l *lines) admit(p Principal, room string) bool {
	switch {
	case l.anyone || slices.ContainsFunc(l.facts, p.Facts.Has):
		return true
	case p.User == "":
		return false
	default:
		return l.users || l.ids[p.User] || l.owner && isEscaped(l.segment(room), p.User)
	}
}

// isReserved reports whether a room or pattern is among those that begin with "-/".
func isReserved(name string) bool { return strings.HasPrefix(name, "-/") }
