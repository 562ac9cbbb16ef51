package access

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/caddy-realtime/realtime/hub/names"
)

// pattern is the pattern of a [Rule].
type pattern struct {
	text          string // as it was written; empty: the hub's own
	before, after string // the literal bytes before and after {user}
	user          bool   // it has {user}; else after is empty
	star          bool   // it ends in "*"
	reserved      bool   // it begins with "-/"
	rank          int    // how specific it is
}

const (
	userSegment = "{user}"

	unspoken = -1          // the rank of no pattern at all
	exact    = math.MaxInt // the rank of a name
)

// CheckPattern returns an error that says what is wrong with the pattern of a [Rule].
func CheckPattern(text string) error {
	if err := checkPattern(text); err != nil {
		return fmt.Errorf("room pattern %q: %w", text, err)
	}
	return nil
}

// parsePattern returns the pattern, or the error of [CheckPattern].
func parsePattern(text string) (pattern, error) {
	if err := CheckPattern(text); err != nil {
		return pattern{}, err
	}
	p := pattern{text: text, reserved: isReserved(text)}
	literal, star := strings.CutSuffix(p.full(), "*")
	p.star = star
	p.before, p.after, p.user = strings.Cut(literal, userSegment)
	p.rank = 2 * (len(p.before) + len(p.after))
	switch {
	case !p.user && !p.star:
		p.rank = exact
	case !p.user:
		p.rank++
	}
	return p, nil
}

func checkPattern(text string) error {
	if text == "" {
		return nil
	}
	segments := strings.Split(text, "/")
	users := 0
	for i, s := range segments {
		if s == userSegment {
			users++
			segments[i] = "x" // stands for somebody
		}
	}
	if isReserved(text) {
		segments[0] = "x" // clients may not name such rooms, but rules may
	}
	if users > 1 {
		return errors.New("{user} is only allowed once")
	}
	return names.CheckPattern(strings.Join(segments, "/"))
}

// full returns the pattern that has the same rooms, and is not empty.
func (p *pattern) full() string {
	if p.text == "" {
		return "*"
	}
	return p.text
}

// match reports whether the pattern matches the room, if both or neither are reserved.
func (p *pattern) match(room string) bool {
	rest, ok := strings.CutPrefix(room, p.before)
	if ok && p.user {
		rest, ok = strings.CutPrefix(rest[len(firstSegment(rest)):], p.after)
	}
	return ok && (p.star || rest == "")
}

// segment returns the segment of the room that {user} stands for. The room matches the pattern.
func (p *pattern) segment(room string) string { return firstSegment(room[len(p.before):]) }

func firstSegment(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// overlap reports whether there are rooms that match both patterns.
func overlap(p, q *pattern) bool {
	if p.reserved != q.reserved {
		return false
	}
	ps, qs := strings.Split(p.full(), "/"), strings.Split(q.full(), "/")
	for i := range min(len(ps), len(qs)) {
		a, aStar := strings.CutSuffix(ps[i], "*")
		b, bStar := strings.CutSuffix(qs[i], "*")
		switch {
		case a == userSegment || b == userSegment:
			if aStar || bStar {
				return true
			}
		case aStar && bStar:
			return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
		case aStar:
			return strings.HasPrefix(b, a)
		case bStar:
			return strings.HasPrefix(a, b)
		case a != b:
			return false
		}
	}
	return len(ps) == len(qs)
}

// hides reports whether p is more specific than q and matches every room that q does, as
// a/* does with a/{user}, because both have the same literal bytes.
func (p *pattern) hides(q *pattern) bool {
	return p.star && !p.user && q.user && q.after == "" && p.before == q.before
}
