package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// join returns all names of that many segments.
func join(segments []string, n int) []string {
	if n == 0 {
		return []string{""}
	}
	var names []string
	for _, name := range join(segments, n-1) {
		for _, s := range segments {
			names = append(names, strings.TrimPrefix(name+"/"+s, "/"))
		}
	}
	return names
}

// allPatterns returns patterns of up to three segments, beside a last one that is "*".
func allPatterns() []string {
	patterns := []string{"", "*"}
	for n := range 3 {
		for _, p := range join([]string{"a", "ab", "-", "{user}"}, n+1) {
			if strings.Count(p, "{user}") > 1 {
				continue
			}
			patterns = append(patterns, p, p+"/*")
			if !strings.HasSuffix(p, "{user}") {
				patterns = append(patterns, p+"*")
			}
		}
	}
	return patterns
}

// allRooms returns rooms for every case of these patterns: whatever two of them match, and
// what only one does, has an example.
func allRooms() (rooms []string) {
	for n := range 4 {
		rooms = append(rooms, join([]string{"a", "ab", "abc", "-", "-a", "a%2Eb"}, n+1)...)
	}
	return rooms
}

// world is what random rules and questions are made of.
type world struct {
	*rand.Rand
	rooms, patterns []string
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), rooms: allRooms()}
	all := allPatterns()
	// Few patterns, so that rules meet.
	for range 8 {
		w.patterns = append(w.patterns, pick(w, all))
	}
	w.patterns = append(w.patterns, "", "a/*", "a/{user}/*")
	return w
}

func pick[T any](w *world, of []T) T { return of[w.IntN(len(of))] }

func (w *world) verbs() []hub.Verb {
	all := everyVerb()
	w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.IntN(3)]
}

func (w *world) who(pattern string) access.Who {
	who := access.Who{Kind: access.Kind(1 + w.IntN(int(access.Fact)))}
	switch {
	case who.Kind == access.Named:
		who.IDs = []string{pick(w, []string{"a", "a.b"}), pick(w, []string{"ab", "a/b"})}
	case who.Kind == access.Fact:
		who.Fact = fmt.Sprint(63 * w.IntN(2))
	case who.Kind == access.Owner && !strings.Contains(pattern, "{user}"):
		who.Kind = access.Users
	}
	return who
}

func (w *world) rule() access.Rule {
	pattern := pick(w, w.patterns)
	return access.Rule{Pattern: pattern, Verbs: w.verbs(), Who: w.who(pattern)}
}

// rules returns rules that New accepts.
func (w *world) rules() ([]access.Rule, *access.Rules) {
	var list []access.Rule
	decider := new(access.Rules)
	for range 1 + w.IntN(12) {
		more := append(slices.Clone(list), w.rule())
		if r, err := access.New(more); err == nil {
			list, decider = more, r
		}
	}
	return list, decider
}

// everyVerb returns all verbs.
func everyVerb() (all []hub.Verb) {
	for v := range hub.NumVerbs {
		all = append(all, hub.Verb(v))
	}
	return all
}

// principals returns every user with a random set of facts, and some with grants.
func (w *world) principals() (all []access.Principal) {
	for _, user := range []string{"", "a", "ab", "a.b", "-", "a/b", "%", "~ga", "~la", "~bab"} {
		p := access.Principal{User: user, Facts: factsOf(w.Uint64())}
		if w.IntN(2) == 0 {
			p.Grants = w.granting(user)
		}
		all = append(all, p)
	}
	return all
}

// granting returns random grants for the user, half of them below a ceiling.
func (w *world) granting(user string) granting {
	g := granting{grants: w.grants(), backend: strings.HasPrefix(user, "~b")}
	var err error
	switch {
	case g.backend:
		g.made, err = access.Backend(g.grants)
	case w.IntN(2) == 0:
		g.made, err = access.NewGrants(user, g.grants, nil)
	default:
		g.within = w.grants()
		var within *access.Grants
		if within, err = access.NewGrants("", g.within, nil); err == nil {
			g.made, err = access.NewGrants(user, g.grants, within)
		}
	}
	if err != nil {
		panic(err)
	}
	return g
}

func (w *world) grants() (grants []access.Grant) {
	for range 1 + w.IntN(3) {
		pattern := pick(w, w.patterns)
		if pattern == "" {
			pattern = "*"
		}
		grants = append(grants, access.Grant{Verbs: w.verbs(), Patterns: []string{pattern}})
	}
	return grants
}

// each calls f for many questions about the rooms that patterns of the world are about.
func (w *world) each(f func(p access.Principal, verb hub.Verb, room string)) {
	for _, p := range w.principals() {
		for range 40 {
			room := pick(w, w.rooms)
			for _, verb := range everyVerb() {
				f(p, verb, room)
			}
		}
	}
}

const seeds = 400

// TestReference compares decisions with those of the reference.
func TestReference(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		rules, decider := w.rules()
		ref := reference(rules)
		w.each(func(p access.Principal, verb hub.Verb, room string) {
			want := ref.decide(p, verb, room)
			if got := decider.Allow(p, verb, room); got != want {
				t.Fatalf("seed %d: %+v %s %s: %v, want %v, with %+v", seed, p, verb, room, got, want, rules)
			}
			if e := decider.Explain(p, verb, room); e.Allowed != want {
				t.Fatalf("seed %d: %+v %s %s: explained as %+v, want %v, with %+v", seed, p, verb, room, e, want, rules)
			}
		})
	}
}

// TestEveryConflict holds New to its word with all pairs of patterns for one verb: it refuses
// them where some room has no most specific pattern, or a pattern no room to decide about.
func TestEveryConflict(t *testing.T) {
	rooms, patterns := allRooms(), allPatterns()
	matching := make([][]bool, len(patterns)) // by pattern and room
	for i, p := range patterns {
		for _, room := range rooms {
			matching[i] = append(matching[i], matches(p, room))
		}
	}
	for i, p := range patterns {
		for j, q := range patterns[:i] {
			var both, onlyP, onlyQ bool
			for k, byP := range matching[i] {
				byQ := matching[j][k]
				both, onlyP, onlyQ = both || byP && byQ, onlyP || byP && !byQ, onlyQ || byQ && !byP
			}
			pWins, qWins := moreSpecific(p, q), moreSpecific(q, p)
			want := both && (!pWins && !qWins || pWins && !onlyQ || qWins && !onlyP)
			for _, rules := range [][]access.Rule{
				{rule(p, access.Users), rule(q, access.Users)},
				{rule(q, access.Users), rule(p, access.Users)},
			} {
				if _, err := access.New(rules); (err != nil) != want {
					t.Errorf("%q and %q: error %v, want one: %v", p, q, err, want)
				}
			}
		}
	}
}

// TestOrder: the order of rules, and of the verbs in one, does not matter.
func TestOrder(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		rules, decider := w.rules()
		mixed := slices.Clone(rules)
		w.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		for i := range mixed {
			mixed[i].Verbs = slices.Clone(mixed[i].Verbs)
			slices.Reverse(mixed[i].Verbs)
		}
		other, err := access.New(mixed)
		if err != nil {
			t.Fatalf("seed %d: %v for %+v, which was accepted as %+v", seed, err, mixed, rules)
		}
		w.each(func(p access.Principal, verb hub.Verb, room string) {
			if got, want := other.Allow(p, verb, room), decider.Allow(p, verb, room); got != want {
				t.Fatalf("seed %d: %+v %s %s: %v, want %v, with %+v", seed, p, verb, room, got, want, mixed)
			}
		})
	}
}

// TestNobodyNeverOpens adds a rule for nobody.
func TestNobodyNeverOpens(t *testing.T) {
	added := 0
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		rules, before := w.rules()
		r := w.rule()
		r.Who = access.Who{Kind: access.Nobody}
		after, err := access.New(append(slices.Clone(rules), r))
		if err != nil {
			continue
		}
		added++
		w.neverOpens(t, seed, before, after, rules, r)
	}
	if added < seeds/4 {
		t.Errorf("only %d rules were added", added)
	}
}

// TestStricterNeverOpens makes one rule stricter.
func TestStricterNeverOpens(t *testing.T) {
	changed := 0
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		rules, before := w.rules()
		if len(rules) == 0 {
			continue
		}
		stricter := slices.Clone(rules)
		r := &stricter[w.IntN(len(stricter))]
		r.Who = w.stricter(r.Who, r.Pattern)
		after, err := access.New(stricter)
		if err != nil { // nobody, beside others
			continue
		}
		changed++
		w.neverOpens(t, seed, before, after, rules, *r)
	}
	if changed < seeds/2 {
		t.Errorf("only %d rules became stricter", changed)
	}
}

// stricter returns a Who that lets in no more than another.
func (w *world) stricter(than access.Who, pattern string) access.Who {
	nobody := access.Who{Kind: access.Nobody}
	switch than.Kind {
	case access.Anyone:
		return w.who(pattern)
	case access.Guests:
		return access.Who{Kind: access.Users}
	case access.Users:
		if strings.Contains(pattern, "{user}") && w.IntN(2) == 0 {
			return access.Who{Kind: access.Owner}
		}
		return access.Who{Kind: access.Named, IDs: []string{"a", "ab"}}
	case access.Named:
		return access.Who{Kind: access.Named, IDs: than.IDs[:1]}
	default:
		return nobody
	}
}

func (w *world) neverOpens(t *testing.T, seed uint64, before, after *access.Rules, rules []access.Rule, change access.Rule) {
	t.Helper()
	w.each(func(p access.Principal, verb hub.Verb, room string) {
		if after.Allow(p, verb, room) && !before.Allow(p, verb, room) {
			t.Fatalf("seed %d: %+v opens %s in %s for %+v, with %+v", seed, change, verb, room, p, rules)
		}
	})
}

// factsOf returns those of the facts 0 and 63 whose bits are set.
func factsOf(bits uint64) *hub.Facts {
	var ids []string
	for _, n := range []int{0, 63} {
		if bits>>n&1 == 1 {
			ids = append(ids, fmt.Sprint(n))
		}
	}
	return &hub.Facts{IDs: ids}
}
