package hub

import (
	"sync"
	"time"
)

// departuresEvery is the least time between two lines about declared rooms that have made way.
const departuresEvery = time.Minute

// departures logs which declared rooms have made way with their history: the operator has
// named them, and may want more room. The zero value is ready.
type departures struct {
	mu   sync.Mutex
	room string    // the last one that was not logged
	n    int       // how many were not logged
	next time.Time // when a line may be logged
}

// note notes that a room has made way.
func (d *departures) note(room string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
	d.n++
}

// take returns the room that is to be logged now, how many more there were, and whether there is
// anything to log. What it returns counts as logged.
func (d *departures) take(now time.Time) (room string, more int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == 0 || now.Before(d.next) {
		return "", 0, false
	}
	room, more = d.room, d.n-1
	d.room, d.n, d.next = "", 0, now.Add(departuresEvery)
	return room, more, true
}

// noteDeparture logs a room that is about to be forgotten, if it is declared and messages of it are
// lost by that: then it has made way.
func (h *Hub) noteDeparture(r *room) {
	if h.keeper == nil || !r.block.key.declared || h.engine.Forget(r.name, false) {
		return
	}
	h.departures.note(r.name)
	h.logDepartures(time.Now())
}

// logDepartures logs which declared rooms have made way, if it is time for that.
func (h *Hub) logDepartures(now time.Time) {
	if room, more, ok := h.departures.take(now); ok {
		h.Logger().Warn("a room that a room block declares has made way for another one, with its history",
			"room", room, "more", more, "hint", "raise max_rooms, of the hub or of the room block")
	}
}
