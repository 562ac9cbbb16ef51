package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

// New returns what decides by the rules, in whatever order they come. The rules must not be
// changed afterwards. An error names the pattern and the verb of the rule that is wrong:
//
//   - a pattern, verb or Who that is not valid;
//   - Owner for a pattern without {user};
//   - Nobody beside another Who, for the same pattern and verb;
//   - a verb both for the empty pattern and for "*";
//   - two patterns for the same verb that match the same room, and are equally specific;
//   - a pattern that never decides, such as a/{user} for a verb that a/* has, too.
func New(rules []Rule) (*Rules, error) {
	r := &Rules{facts: make(map[string]bool)}
	index := make(map[key]*lines)
	for _, rule := range rules {
		p, err := parsePattern(rule.Pattern)
		if err != nil {
			return nil, err
		}
		if len(rule.Verbs) == 0 {
			return nil, fmt.Errorf("%s: no verb specified", place(rule.Pattern))
		}
		if rule.Who.Kind == Fact {
			r.facts[rule.Who.Fact] = true
		}
		for _, v := range rule.Verbs {
			if int(v) >= numVerbs {
				return nil, fmt.Errorf("%s: unknown verb %d", place(rule.Pattern), v)
			}
			l := index[key{v, rule.Pattern}]
			if l == nil {
				l = &lines{pattern: p}
				index[key{v, rule.Pattern}] = l
				r.verbs[v].add(l)
			}
			if err := l.add(rule.Who); err != nil {
				return nil, fmt.Errorf("%s %s: %w", place(rule.Pattern), v, err)
			}
		}
	}
	for v := range r.verbs {
		if err := r.verbs[v].arrange(hub.Verb(v)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

type key struct {
	verb    hub.Verb
	pattern string
}

// place says in an error where a rule with the pattern stands.
func place(pattern string) string {
	if pattern == "" {
		return "allow"
	}
	return "room " + pattern + ": allow"
}

func (t *table) add(l *lines) {
	if l.rank != exact {
		t.loose = append(t.loose, l)
		return
	}
	if t.exact == nil {
		t.exact = make(map[string]*lines)
	}
	t.exact[l.text] = l
}

// arrange orders the loose patterns. It returns an error if two of them are in each other's way.
func (t *table) arrange(verb hub.Verb) error {
	slices.SortFunc(t.loose, func(a, b *lines) int {
		if a.rank != b.rank {
			return b.rank - a.rank
		}
		return strings.Compare(a.text, b.text)
	})
	for i, p := range t.loose {
		for _, q := range t.loose[i+1:] {
			if q.rank < p.rank-1 {
				break // far enough apart
			}
			if err := conflict(&p.pattern, &q.pattern); err != nil {
				return fmt.Errorf("%s %s: %w", place(q.text), verb, err)
			}
		}
	}
	return nil
}

// conflict returns why q cannot stand beside p, which is as specific, or just more so.
func conflict(p, q *pattern) error {
	switch {
	case p.hides(q):
		return fmt.Errorf("never applies, since %s is more specific and matches the same rooms", p.full())
	case p.rank != q.rank || !overlap(p, q):
		return nil
	case p.text == "":
		return errors.New("already specified for all rooms, outside of the room blocks")
	default:
		return fmt.Errorf("%s is just as specific and may match the same room", p.text)
	}
}

// add adds what one rule says.
func (l *lines) add(who Who) error {
	if err := who.check(&l.pattern); err != nil {
		return err
	}
	if len(l.who) > 0 && (who.Kind == Nobody) != (l.who[0].Kind == Nobody) {
		return errors.New("nobody cannot be combined with others")
	}
	l.who = append(l.who, who)
	switch who.Kind {
	case Anyone:
		l.anyone = true
	case Nobody:
		l.nobody = true
	case Guests:
		l.guests = true
	case Users:
		l.users = true
	case Named:
		if l.ids == nil {
			l.ids = make(map[string]bool)
		}
		for _, id := range who.IDs {
			l.ids[id] = true
		}
	case Owner:
		l.owner = true
	case Fact:
		l.facts = append(l.facts, who.Fact)
	default: // Granted
	}
	return nil
}

// check returns an error if the Who is not valid for a pattern.
func (w Who) check(p *pattern) error {
	switch {
	case w.Kind == 0 || w.Kind > Fact:
		return fmt.Errorf("unknown kind %d of callers", w.Kind)
	case w.Kind == Named && len(w.IDs) == 0:
		return errors.New("user needs at least one id")
	case w.Kind == Owner && !p.user:
		return errors.New("owner needs a room pattern with {user}")
	case w.Kind == Fact && w.Fact == "":
		return errors.New("the id of a fact must not be empty")
	}
	for _, id := range w.IDs {
		if err := names.CheckUserID(id); err != nil {
			return fmt.Errorf("user %q: %w", id, err)
		}
	}
	return nil
}
