package hub

import (
	"time"

	"github.com/caddy-realtime/realtime/hub/presence"
)

// The part of a room's presence for clients that the server sends to another server, and that are only
// counted: their places are kept for them, so that the number does not move while they do.

const (
	// placeTime is how long a place is kept: clients come back within three seconds.
	placeTime = 5 * time.Second
	// placesTogether is how far apart places end at least; those that are closer end together.
	placesTogether = placeTime / 20
)

// places are the places that are kept, by their end.
type places []place

type place struct {
	ends time.Time
	n    int // connections
}

// keep keeps one more place.
func (p *places) keep(now time.Time) {
	ends := now.Add(placeTime)
	if last := len(*p) - 1; last >= 0 && ends.Sub((*p)[last].ends) < placesTogether {
		(*p)[last].n++
		return
	}
	*p = append(*p, place{ends, 1})
}

// take takes one of the places, if there is one, for a client that has come.
func (p *places) take() bool {
	if len(*p) == 0 {
		return false
	}
	if (*p)[0].n--; (*p)[0].n == 0 {
		p.drop()
	}
	return true
}

// expire gives the places up whose time is over, and returns how many.
func (p *places) expire(now time.Time) (n int) {
	for len(*p) > 0 && !(*p)[0].ends.After(now) {
		n += (*p)[0].n
		p.drop()
	}
	return n
}

// drop drops the first entry.
func (p *places) drop() {
	if *p = (*p)[1:]; len(*p) == 0 {
		*p = nil
	}
}

// seat calls f, which makes the client a member. If it comes, and is a new one that may have been counted all the
// while, it takes a place that is kept. Called with mu held.
func (p *attendance) seat(comes bool, c *Client, f func()) {
	if comes && c.User == nil && !p.roster.Has(p.hub.memberID(c)) && p.places.take() {
		p.roster.Replace(f)
	} else {
		f()
	}
}

// sendAway is release for an anonymous session that comes back at once. It may come back under another
// id; if others do not see it, it is then counted once all the same.
func (p *attendance) sendAway(l *presence.Lease, d departure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.Bare() && !p.closed {
		p.roster.Vacate(l)
		p.places.keep(time.Now())
	} else {
		p.roster.Release(l, d.why, p.endOf(d.grace, false))
	}
	p.follow()
}

// keepPlace keeps the place of a session that is only counted, and has ended.
func (p *attendance) keepPlace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.places.keep(time.Now())
	p.arm()
}
