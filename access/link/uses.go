package link

import (
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/ranking"
)

// MaxCounted is for how many links [Uses] counts at the same time.
const MaxCounted = 100_000

// Uses counts how often links with a limit have been used, until they expire. Its zero value is
// ready. It is safe for concurrent use.
type Uses struct {
	mu     sync.Mutex
	counts map[string]*count // by the id of the link
	ending ranking.Heap[*count]
}

// count is how often a link has been used.
type count struct {
	id      string
	used    int
	expires time.Time
}

// Before and Placed implement [ranking.Item]: the one that expires first comes first.
func (c *count) Before(other *count) bool { return c.expires.Before(other.expires) }
func (*count) Placed(int)                 {}

// Use counts one use of a verified link, and reports whether the link allows it. A link
// without a limit always does. If there are [MaxCounted] others that have not expired, a link that
// is not counted yet is refused.
func (u *Uses) Use(l *Link, now time.Time) bool {
	if l.Uses <= 0 {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.ending) > 0 && !now.Before(u.ending[0].expires) {
		delete(u.counts, u.ending.Remove(0).id)
	}
	c := u.counts[l.ID]
	switch {
	case c != nil && c.used >= l.Uses:
		return false
	case c != nil:
		c.used++
		return true
	case len(u.counts) >= MaxCounted || !now.Before(l.Expires):
		return false
	}
	if u.counts == nil {
		u.counts = make(map[string]*count)
	}
	c = &count{id: l.ID, used: 1, expires: l.Expires}
	u.counts[l.ID] = c
	u.ending.Add(c)
	return true
}

// Len returns how many links are counted.
func (u *Uses) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.counts)
}
