package presence

import (
	"errors"
	"fmt"
)

// Check returns what is wrong with the roster, or nil, and how many sessions hold leases.
// It is for tests: it looks at everything.
func (r *Roster) Check() (held int, err error) {
	var faults []error
	that := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	ending, bytes := 0, int64(0)
	for id, m := range r.members {
		that(m.id == id && len(m.leases) > 0, "member %s has no lease, or another id", id)
		that(len(m.byConn) == 0 || len(m.byConn) == len(m.leases), "member %s has %d leases, found by connection are %d", id, len(m.leases), len(m.byConn))
		shown := false
		for _, l := range m.leases {
			held += l.sessions
			bytes += Weight(l.state)
			shown = shown || l.state != nil
			that((l.place > 0) == (l.sessions == 0), "a lease of %s is held by %d and ends: %t", id, l.sessions, l.place > 0)
			that(l.member == m && r.has(l) && m.find(l.conn) == l, "a lease of %s is not where it belongs", id)
			if l.sessions == 0 {
				ending++
			}
		}
		that(shown == (m.state != nil) && shown == (m.top != nil), "member %s shows a state: %t", id, shown)
		that(m.top == nil || m.top.newer == nil && string(m.top.state) == string(m.state), "member %s does not show what it showed last, but %s", id, m.state)
	}
	for i, l := range r.ending {
		that(l.place == i+1 && !l.ends.Before(r.ending[0].ends), "a lease ends in the wrong place")
	}
	that(ending == len(r.ending), "%d leases end, %d are listed", ending, len(r.ending))
	that(bytes == r.bytes, "states weigh %d, counted %d", bytes, r.bytes)
	return held, errors.Join(faults...)
}
