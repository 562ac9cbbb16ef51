package access

import (
	"fmt"

	"github.com/caddy-realtime/realtime/hub"
)

// Grant is the right to use some verbs in the rooms that match some patterns. {user} in a
// pattern stands for the user who has the grant.
type Grant struct {
	Verbs    []hub.Verb
	Patterns []string
}

// Grants are rights that a credential adds to those by the rules. They implement
// [hub.Granter]. They do not change, so they are safe for concurrent use.
type Grants struct {
	user     string // the id that {user} stands for
	reserved bool   // rooms that begin with "-/" can be granted
	list     []grant
	within   *Grants // what is granted at most; nil: anything
}

type grant struct {
	pattern
	verbs hub.Verbs
}

// NewGrants returns what the grants add for a user, whose id may be empty. within is the
// ceiling, of which only the patterns and verbs count; nil: none. Rooms that begin with "-/" are
// never granted.
//
// An error names a pattern that is not valid, or says that no verb or pattern is given.
func NewGrants(user string, grants []Grant, within *Grants) (*Grants, error) {
	g := &Grants{user: user, within: within}
	for _, each := range grants {
		var verbs hub.Verbs
		for _, v := range each.Verbs {
			verbs |= 1 << v
		}
		if verbs == 0 || len(each.Patterns) == 0 {
			return nil, fmt.Errorf("a grant needs at least one verb and one room pattern")
		}
		for _, text := range each.Patterns {
			if text == "" {
				return nil, fmt.Errorf("room pattern %q: must not be empty", text)
			}
			p, err := parsePattern(text)
			if err != nil {
				return nil, err
			}
			g.list = append(g.list, grant{p, verbs})
		}
	}
	return g, nil
}

// Backend returns the grants of a backend, which rooms that begin with "-/" can be among, if
// their patterns begin so.
func Backend(grants []Grant) (*Grants, error) {
	g, err := NewGrants("", grants, nil)
	if err == nil {
		g.reserved = true
	}
	return g, err
}

// For returns the same grants for a user.
func (g *Grants) For(user string) *Grants {
	own := *g
	own.user = user
	return &own
}

// Union grants what one of its members does.
type Union []hub.Granter

// Grants implements [hub.Granter].
func (u Union) Grants(verb hub.Verb, room string) (granted, exactly bool) {
	for _, g := range u {
		ok, exact := g.Grants(verb, room)
		granted, exactly = granted || ok, exactly || exact
	}
	return granted, exactly
}

// Grants implements [hub.Granter].
func (g *Grants) Grants(verb hub.Verb, room string) (granted, exactly bool) {
	if g.within != nil && !g.within.covers(verb, room, g.user) {
		return false, false
	}
	hidden := isReserved(room)
	if hidden && !g.reserved {
		return false, false
	}
	for i := range g.list {
		if each := &g.list[i]; each.reserved == hidden && each.allows(verb, room, g.user) {
			granted = true
			exactly = exactly || each.rank == exact
		}
	}
	return granted, exactly
}

// covers reports whether the grants would let the user do so.
func (g *Grants) covers(verb hub.Verb, room, user string) bool {
	for i := range g.list {
		if g.list[i].allows(verb, room, user) {
			return true
		}
	}
	return false
}

func (g *grant) allows(verb hub.Verb, room, user string) bool {
	return g.verbs.Has(verb) && g.match(room) && (!g.user || user != "" && isEscaped(g.segment(room), user))
}
