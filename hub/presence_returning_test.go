package hub_test

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// After a restart all come back at about the same time. What they knew stays until the grace is over.
func TestPresenceAfterARestart(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		before := hub.Position{Epoch: "before", Offset: 5}
		back := func(name, state string) *hub.Session {
			s := connect(t, h, person(name))
			if j := join(t, s, "r", hub.Start{After: before, State: []byte(state)}); !j.Returning || j.Members != 0 {
				t.Errorf("%s was told of %d members, returning: %t", name, j.Members, j.Returning)
			}
			return s
		}
		ann := back("ann", "1")
		advance(3 * time.Second)
		ben := back("ben", "2")
		cleo := connect(t, h, person("cleo"))
		if j := join(t, cleo, "r", hub.Start{}); j.Returning || j.Members != 3 {
			t.Errorf("one who was not here before was told of %d members, returning: %t", j.Members, j.Returning)
		}
		equal(t, "one who was not here before", seen(t, cleo), "3 =ann1 =ben2")
		pages := h.Caller(person("dan"))
		if changed, next := pages.PresenceSince([]string{"r"}, before); len(changed) > 0 || next != before {
			t.Errorf("a page has %d changes, and the cursor %v", len(changed), next)
		}
		advance(6900 * time.Millisecond)
		equal(t, "those who have come back", slices.Concat(seen(t, ann), seen(t, ben), seen(t, cleo)))
		advance(100 * time.Millisecond)
		for _, s := range []*hub.Session{ann, ben, cleo} {
			equal(t, "when the grace is over", seen(t, s), "3 =ann1 =ben2")
		}
		if changed, next := pages.PresenceSince([]string{"r"}, before); len(changed) != 1 || next.Epoch == "before" {
			t.Errorf("a page has %d changes, and the cursor %v", len(changed), next)
		}
		dan := connect(t, h, person("dan"))
		if j := join(t, dan, "r", hub.Start{After: before, State: []byte(`4`)}); j.Returning || j.Members != 4 {
			t.Errorf("one who comes late was told of %d members, returning: %t", j.Members, j.Returning)
		}
		advance(time.Second)
		equal(t, "later", seen(t, ann), "4 +dan4")
	})
}

// A frame that was sent before a snapshot is not sent after it: the number would go back.
func TestPresenceDoesNotGoBack(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, watcher, "r", hub.Start{})
		late := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, late, "r", hub.Start{})
		advance(time.Millisecond) // the frame with two
		member(t, h, "r", hub.Start{})
		equal(t, "who reads now", seen(t, late), "3")
		advance(time.Second)
		equal(t, "and later", seen(t, late), "3")
	})
}
