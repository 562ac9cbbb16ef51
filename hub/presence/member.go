package presence

import (
	"time"
)

// member is one person in a room. Where many share one user's name it holds as
// many leases, so none of them is looked for one by one.
type member struct {
	id, name string
	state    []byte // of the lease that showed one last; nil: it does not show itself
	leases   []*Lease
	byConn   map[string]*Lease // the same, where there are many; nil: there are not
	top      *Lease            // among the leases that show a state, the latest
}

// Lease is one connection's part in a member. It belongs to its [Roster].
type Lease struct {
	conn     string
	member   *member
	index    int  // in member.leases
	sessions int  // that hold it
	leaving  bool // it has no grace
	state    []byte
	newer    *Lease // of the member's, in the order in which they showed a state
	older    *Lease
	place    int // its index in Roster.ending, plus 1; 0: it has no end
	ends     time.Time
	why      Why
}

// Bare reports whether the lease is all that there is of a member who shows no state, and one session
// holds it.
func (l *Lease) Bare() bool {
	return l.state == nil && l.sessions == 1 && len(l.member.leases) == 1 && !l.leaving
}

// fewLeases is up to how many leases are looked through.
const fewLeases = 16

// find returns the connection's lease, or nil.
func (m *member) find(conn string) *Lease {
	if m.byConn != nil {
		return m.byConn[conn]
	}
	for _, l := range m.leases {
		if l.conn == conn {
			return l
		}
	}
	return nil
}

// add gives the member a lease for the connection, which has none.
func (m *member) add(conn string) *Lease {
	l := &Lease{conn: conn, member: m, index: len(m.leases)}
	m.leases = append(m.leases, l)
	switch {
	case m.byConn != nil:
		m.byConn[conn] = l
	case len(m.leases) > fewLeases:
		m.byConn = make(map[string]*Lease, len(m.leases))
		for _, o := range m.leases {
			m.byConn[o.conn] = o
		}
	}
	return l
}

// remove takes the lease away, and what it shows.
func (m *member) remove(l *Lease) {
	m.hide(l)
	last := len(m.leases) - 1
	m.leases[l.index] = m.leases[last]
	m.leases[l.index].index = l.index
	m.leases[last] = nil
	m.leases = m.leases[:last]
	if delete(m.byConn, l.conn); m.byConn != nil && last < fewLeases/2 {
		m.byConn, m.leases = nil, append([]*Lease(nil), m.leases...)
	}
}

// show makes the lease the latest that has shown a state.
func (m *member) show(l *Lease, state []byte) {
	m.hide(l)
	l.state, l.older = state, m.top
	if m.top != nil {
		m.top.newer = l
	}
	m.top = l
}

// hide takes back what the lease shows, if it does.
func (m *member) hide(l *Lease) {
	if l.state == nil {
		return
	}
	if l.older != nil {
		l.older.newer = l.newer
	}
	if l.newer != nil {
		l.newer.older = l.older
	} else {
		m.top = l.older
	}
	l.state, l.newer, l.older = nil, nil, nil
}

func (m *member) public() Member { return Member{m.id, m.name, m.state} }

// Before implements ranking.Item: the lease that ends next comes first.
func (l *Lease) Before(other *Lease) bool { return l.ends.Before(other.ends) }

// Placed implements ranking.Item.
func (l *Lease) Placed(index int) { l.place = index + 1 }
