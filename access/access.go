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
// A verb without a rule is open to anyone, and signal then follows publish; moderate is
// nobody's, and create is theirs who may subscribe, publish or show. But whoever may
// not subscribe may do nothing else either, unless a pattern at least as specific as the one
// that decides on subscribe has a rule on the other verb. Even so, history, members and
// show always need the right to subscribe. The right to moderate brings subscribe, history and
// members with it.
//
// Credentials may grant rights beside the rules, except where the rules say nobody. To backends
// the rules do not apply: they have what their credential grants, and where the rules say nobody
// only what it grants for the room by its exact name.
//
// Rooms whose names begin with "-/" match only patterns that begin so, and a verb without
// a rule is nobody's there.
package access

import (
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
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
	_       Kind = iota
	Anyone       // every caller
	Nobody       // no caller; no other rule may stand beside it on the same pattern and verb
	Granted      // no caller by itself: only those whose credential grants it
	Guests       // every guest, and every user
	Users        // every user that has signed in
	Named        // the users in IDs
	Owner        // the user or guest whom the segment {user} of the pattern names
	Fact         // every caller with the fact
)

// Principal is what rules ask about a caller.
type Principal struct {
	User   string // the id of the user, which says its kind, see [message.KindOf]; empty: anonymous
	Facts  *hub.Facts
	Claims *hub.Facts  // what was found in its credential
	Grants hub.Granter // nil: none
}

// Rules decides by the rules that [New] was given. It does not change, so it is safe for
// concurrent use. The zero Rules has no rules.
type Rules struct {
	verbs [numVerbs]table
	facts map[string]bool // all that are asked about
}

const numVerbs = hub.NumVerbs

// table is what the rules say about one verb.
type table struct {
	exact map[string]*lines // by the name of the room
	loose []*lines          // with "*" or {user}, the most specific first
}

// lines is what the rules of one pattern say about one verb.
type lines struct {
	pattern
	who []Who // as they were given

	// The same, made ready to be asked. Granted is none of these.
	nobody bool
	anyone bool
	guests bool
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
func (r *Rules) Decide(p hub.Principal, verb hub.Verb, room string) bool {
	asked := Principal{Facts: p.Facts}
	if p.User != nil {
		asked.User = p.User.ID
	}
	if p.Credential != nil {
		asked.Grants, asked.Claims = p.Credential.Grants, p.Credential.Facts
	}
	return r.Allow(asked, verb, room)
}

// Knows implements [hub.FactKnower].
func (r *Rules) Knows(f *hub.Facts) bool {
	return f == nil || !slices.ContainsFunc(f.IDs, func(id string) bool { return !r.facts[id] })
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
	// no rule is about, subscribe for a caller that lacks just that or makes a room, and
	// moderate where that right brings another.
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
	if message.KindOf(p.User) == message.UserBackend {
		return r.decideBackend(p, verb, room)
	}
	own, about, ok := r.decideAlone(p, verb, room)
	if !ok && broughtByModerate(verb) && !own.nobody && !r.find(hub.VerbSubscribe, room).nobody {
		if by := r.find(hub.VerbModerate, room); by.admit(p, hub.VerbModerate, room) {
			return by, hub.VerbModerate, true
		}
	}
	return own, about, ok
}

// decideBackend is decide for a backend.
func (r *Rules) decideBackend(p Principal, verb hub.Verb, room string) (*lines, hub.Verb, bool) {
	own := r.find(verb, room)
	if ok := own.admitBackend(p, verb, room); ok || verb != hub.VerbCreate || own.rank != unspoken {
		return own, verb, ok
	}
	return r.decideCreate(p, room)
}

// decideAlone is decide without what the right to moderate brings, for a caller that is no backend.
func (r *Rules) decideAlone(p Principal, verb hub.Verb, room string) (*lines, hub.Verb, bool) {
	own := r.find(verb, room)
	switch {
	case own.rank == unspoken && verb == hub.VerbCreate:
		return r.decideCreate(p, room)
	case verb == hub.VerbModerate:
		return own, verb, own.admit(p, verb, room)
	}
	about := verb
	if own.rank == unspoken && verb == hub.VerbSignal {
		about = hub.VerbPublish
		own = r.find(about, room)
	}
	granted := own.grants(p, verb, room) || about != verb && own.grants(p, about, room)
	if !granted && !own.admitByRule(p, room) {
		return own, about, false
	}
	subscribe := r.find(hub.VerbSubscribe, room)
	if !needsSubscribe(verb) && (granted || own.rank >= subscribe.rank) || subscribe.admit(p, hub.VerbSubscribe, room) {
		return own, about, true
	}
	if by := r.find(hub.VerbModerate, room); !subscribe.nobody && by.admit(p, hub.VerbModerate, room) {
		return own, about, true // which brings subscribe
	}
	return subscribe, hub.VerbSubscribe, false
}

// decideCreate decides on create where no rule is about it.
func (r *Rules) decideCreate(p Principal, room string) (by *lines, about hub.Verb, ok bool) {
	for _, verb := range []hub.Verb{hub.VerbShow, hub.VerbPublish, hub.VerbSubscribe} {
		if by, about, ok = r.decide(p, verb, room); ok {
			break
		}
	}
	return by, about, ok
}

// broughtByModerate reports whether the right to moderate brings the verb with it.
func broughtByModerate(verb hub.Verb) bool {
	return verb == hub.VerbSubscribe || verb == hub.VerbHistory || verb == hub.VerbMembers
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
	if hidden || verb == hub.VerbModerate {
		return closed
	}
	return open
}

// admit reports whether the lines, or what the caller was granted, let the caller use the
// verb. The room matches their pattern.
func (l *lines) admit(p Principal, verb hub.Verb, room string) bool {
	return l.admitByRule(p, room) || l.grants(p, verb, room)
}

// grants reports whether the caller was granted the verb, and the lines do not keep everybody out.
func (l *lines) grants(p Principal, verb hub.Verb, room string) bool {
	if p.Grants == nil || l.nobody {
		return false
	}
	granted, _ := p.Grants.Grants(verb, room)
	return granted
}

// admitBackend reports whether a backend may use the verb, which the lines are about.
func (l *lines) admitBackend(p Principal, verb hub.Verb, room string) bool {
	if p.Grants == nil {
		return false
	}
	granted, exactly := p.Grants.Grants(verb, room)
	return granted && (exactly || !l.nobody)
}

// admitByRule reports whether the lines let the caller in. The room matches their pattern.
func (l *lines) admitByRule(p Principal, room string) bool {
	if l.anyone || slices.ContainsFunc(l.facts, p.Facts.Has) || slices.ContainsFunc(l.facts, p.Claims.Has) {
		return true
	}
	if p.User == "" {
		return false
	}
	kind := message.KindOf(p.User)
	signedIn := kind == message.UserSignedIn
	return signedIn && (l.users || l.guests || l.ids[p.User]) || l.guests && kind == message.UserGuest ||
		l.owner && isEscaped(l.segment(room), p.User)
}

// isReserved reports whether a room or pattern is among those that begin with "-/".
func isReserved(name string) bool { return strings.HasPrefix(name, "-/") }
