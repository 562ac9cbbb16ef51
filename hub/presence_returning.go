package hub

import (
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
)

// The part of a room's presence for clients that were here before the hub began, as after a restart. All
// come back at about the same time, to a room in which nobody is yet. What they knew stays as it is until the
// room's grace is over, which is what a member gets whose connection has ended.

// returning returns until when others may be coming back, if a client that has come with this cursor, and gets this
// gap, was in the room before the hub began, and that time is not over. Where the log outlives the hub it may
// also have come afterwards, for a moment: it is treated alike.
func (h *Hub) returning(after Position, gap *Gap, room string) (until time.Time, ok bool) {
	if lost := gap != nil && gap.Reason == message.GapEpoch; !lost && (h.keeper != nil || after.IsZero()) {
		return time.Time{}, false
	}
	until = h.born.Add(h.settings.Load().Policy(room).Presence.Grace)
	return until, time.Now().Before(until)
}

// PresenceBefore is the cursor of a client that has kept what it knew of members from before the hub began, see
// [Caller.PresenceSince].
var PresenceBefore = Position{Epoch: "before"}

// Returning reports whether a client that has come with this cursor, and gets this gap, was in the room before the hub
// began, and others may still be coming back.
func (h *Hub) Returning(room string, after Position, gap *Gap) bool {
	_, ok := h.returning(after, gap, room)
	return ok
}

// allReturning reports whether members may still be coming back to all of the rooms.
func (h *Hub) allReturning(rooms []string) bool {
	set, age := h.settings.Load(), time.Since(h.born)
	return !slices.ContainsFunc(rooms, func(room string) bool { return age >= set.Policy(room).Presence.Grace })
}

// settle sends nothing until then, and then everybody who is there.
func (p *attendance) settle(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settles = later(p.settles, until)
	p.next = later(p.next, until)
	p.arm()
}
