package hub

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub/settings"
)

// The part of a room's presence that shows everybody at once.

// snapshot returns who is there, for a reader that then gets the frames. In a large room
// all that come between two frames share one, or a thousand that come at once would cost
// a million: what has changed since comes with the next frame.
func (p *attendance) snapshot() *Presence {
	p.mu.Lock()
	s := p.share()
	p.mu.Unlock()
	return s.sorted()
}

// since returns who is there, as snapshot does, or nil if that has not changed
// since the cursor.
func (p *attendance) since(cursor Position) *Presence {
	p.mu.Lock()
	if cursor.Epoch == p.hub.epoch && p.flushed <= cursor.Offset {
		p.mu.Unlock()
		return nil
	}
	s := p.share()
	p.mu.Unlock()
	return s.sorted()
}

// share returns the snapshot that all share, or one of its own in a room of few.
// Called with mu held.
func (p *attendance) share() *snapshot {
	if p.latest == nil || p.roster.Members() <= exactSnapshots {
		s := p.look()
		s.Carry(&s.message, p.hub.budget, time.Time{})
		p.outdate()
		p.latest = s
		p.hub.budget.Hold(&s.message)
	}
	return p.latest
}

// outdate lets go of the snapshot. Called with mu held.
func (p *attendance) outdate() {
	if p.latest != nil {
		p.hub.budget.Release(&p.latest.message)
		p.latest = nil
	}
}

// evict lets go of the snapshot if the message is what is charged for it.
func (p *attendance) evict(m *Message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.latest == nil || &p.latest.message != m {
		return false
	}
	p.outdate()
	return true
}

// snapshot is a Presence that is put in order by the first who needs it, and not
// with the lock held that everybody who comes or goes waits for.
type snapshot struct {
	Presence
	once    sync.Once
	message Message // what is charged for it
}

// sorted returns the Presence, in order.
func (s *snapshot) sorted() *Presence {
	s.once.Do(func() {
		slices.SortFunc(s.Here, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	})
	return &s.Presence
}

// look returns who is there.
func (p *attendance) look() *snapshot {
	s := &snapshot{Presence: Presence{Room: p.room.name, Members: p.roster.Len(), Snapshot: true, Cursor: p.position()}}
	if s.Numbers = p.room.policy.Load().Presence.Mode != settings.PresenceOn; !s.Numbers {
		s.Here = p.roster.Here()
	}
	return s
}
