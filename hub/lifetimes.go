package hub

import (
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/ranking"
)

// The part of the hub that ends sessions whose credentials expire.

const (
	// warnBefore is how long before its end a client is warned that its credential expires, if
	// that is later than after four fifths of the credential's life.
	warnBefore = time.Minute
	// lookAgain is how long the wall clock goes unwatched at most: it may be set, or the machine
	// may sleep.
	lookAgain = 30 * time.Second
)

// lifetimes knows the sessions whose credentials expire.
type lifetimes struct {
	mu    sync.Mutex
	next  ranking.Heap[*expiring]
	of    map[*Session]*expiring
	conns map[string]*Session
	timer *time.Timer
}

// expiring is what is to happen to a session next.
type expiring struct {
	session *Session
	conn    string
	warn    time.Time // zero: it has been warned
	end     time.Time
	place   int
}

// at returns when that is, by the wall clock.
func (e *expiring) at() time.Time {
	if e.warn.IsZero() {
		return e.end
	}
	return e.warn
}

// Before implements ranking.Item.
func (e *expiring) Before(other *expiring) bool { return e.at().Before(other.at()) }

// Placed implements ranking.Item.
func (e *expiring) Placed(index int) { e.place = index }

// set notes when the session ends, by the client that it is at this moment: another call may have
// made it another one, or ended it.
func (l *lifetimes) set(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
	c := s.who()
	end := c.Expires()
	if end.IsZero() || s.Ended() != 0 {
		return
	}
	e := &expiring{session: s, conn: c.ID, end: end, warn: end.Add(-warnBefore)}
	if issued := c.Credential.Issued; !issued.IsZero() {
		if late := issued.Add(end.Sub(issued) / 5 * 4); late.After(e.warn) {
			e.warn = late
		}
	}
	if l.of == nil {
		l.of, l.conns = make(map[*Session]*expiring), make(map[string]*Session)
	}
	l.of[s], l.conns[e.conn] = e, s
	l.next.Add(e)
	if e.place == 0 {
		l.arm(time.Now())
	}
}

// remove forgets the session.
func (l *lifetimes) remove(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
}

// drop does so. Called with mu held.
func (l *lifetimes) drop(s *Session) {
	e := l.of[s]
	if e == nil {
		return
	}
	delete(l.of, s)
	if l.conns[e.conn] == s {
		delete(l.conns, e.conn)
	}
	if e.place >= 0 {
		l.next.Remove(e.place)
	}
}

// find returns the session on a connection, if its credential expires; otherwise nil.
func (l *lifetimes) find(conn string) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[conn]
}

// arm sets the timer to what is to happen next. Called with mu held.
func (l *lifetimes) arm(now time.Time) {
	if len(l.next) > 0 {
		l.timer.Reset(min(max(l.next[0].at().Sub(now), 0), lookAgain))
	}
}

// due returns the sessions that are to be warned, and those that are to end.
func (l *lifetimes) due(now time.Time) (warn map[*Session]time.Duration, end []*Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = now.Round(0) // the wall clock alone
	for len(l.next) > 0 && !l.next[0].at().After(now) {
		e := l.next[0]
		if e.warn.IsZero() || !now.Before(e.end) {
			end = append(end, e.session)
			l.drop(e.session)
			continue
		}
		if warn == nil {
			warn = make(map[*Session]time.Duration)
		}
		warn[e.session] = e.end.Sub(now)
		e.warn = time.Time{}
		l.next.Fix(0)
	}
	l.arm(now)
	return warn, end
}

// expireUntilStopped warns clients and ends sessions as their credentials expire.
func (h *Hub) expireUntilStopped() {
	for {
		select {
		case <-h.stop:
			h.lifetimes.timer.Stop()
			return
		case <-h.lifetimes.timer.C:
			h.expire(time.Now())
		}
	}
}

// expire does so once; a panic must not take the whole server with it.
func (h *Hub) expire(now time.Time) {
	defer h.survive("panic while credentials expire")
	warn, end := h.lifetimes.due(now)
	for s, left := range warn {
		if tell := s.who().Tell; tell != nil {
			s.Notify(tell(Change{Expires: left}))
		}
	}
	for _, s := range end {
		s.refuse(CauseCredential)
	}
}
