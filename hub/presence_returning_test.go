package hub_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
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

// Where the log outlives the hub, who comes back has a cursor that is good, and no gap.
func TestPresenceAfterARestartOfADurableRoom(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
		e, h := newFake(t, configured())
		before := e.next
		before.Offset--
		ann := connect(t, h, person("ann"))
		if j := join(t, ann, "r", hub.Start{After: before, State: []byte("1")}); !j.Returning || j.Members != 0 || j.Gap != nil {
			t.Errorf("who comes back was told of %d members, returning: %t, gap: %v", j.Members, j.Returning, j.Gap)
		}
		cleo := connect(t, h, person("cleo"))
		if j := join(t, cleo, "r", hub.Start{}); j.Returning || j.Members != 2 {
			t.Errorf("who was not here before was told of %d members, returning: %t", j.Members, j.Returning)
		}
		advance(9 * time.Second)
		equal(t, "before the grace is over", seen(t, ann))
		advance(time.Second)
		equal(t, "when it is", seen(t, ann), "2 =ann1")
		ben := connect(t, h, person("ben"))
		if j := join(t, ben, "r", hub.Start{After: before}); j.Returning || j.Members != 3 {
			t.Errorf("who comes late was told of %d members, returning: %t", j.Members, j.Returning)
		}
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

// A client that comes back shortly before all have come back waits for the next frame, without a busy loop.
func TestPresenceSettlesWithTheNextFrame(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		advance(9300 * time.Millisecond)
		cleo := connect(t, h, person("cleo"))
		join(t, cleo, "r", hub.Start{State: []byte("1")})
		advance(200 * time.Millisecond) // the next frame may go at 10.3 s
		ann := connect(t, h, person("ann"))
		join(t, ann, "r", hub.Start{After: hub.Position{Epoch: "before", Offset: 5}, State: []byte("1")})
		advance(700 * time.Millisecond)
		equal(t, "when the grace is over", seen(t, ann))
		advance(100 * time.Millisecond)
		equal(t, "with the next frame", seen(t, ann), "2 =ann1 =cleo1")
	})
}

// A change of the mode is announced to everybody, also to those who have a snapshot of the last frame.
func TestPresenceModeIsAnnouncedToAll(t *testing.T) {
	mode := func(m settings.PresenceMode) func(*settings.Settings) {
		return func(s *settings.Settings) {
			s.Rooms = []settings.RoomRule{{Pattern: "r", Presence: &settings.PresenceRule{Mode: m, Grace: 10 * time.Second}}}
		}
	}
	bubble(t, configured(mode(settings.PresenceCount)), func(t *testing.T, h *hub.Hub) {
		ann := connect(t, h, person("ann"))
		join(t, ann, "r", hub.Start{State: []byte(`1`)})
		advance(2 * time.Second)
		observer := connect(t, h, hub.Client{Presence: hub.PresenceSome, Observer: true})
		join(t, observer, "r", hub.Start{})
		tab := connect(t, h, person("ann"))
		join(t, tab, "r", hub.Start{})
		advance(2 * time.Second)
		all := map[string]*hub.Session{"a member": ann, "an observer": observer, "another tab": tab}
		for _, s := range all {
			seen(t, s)
		}
		if err := h.Configure(configured(mode(settings.PresenceOn))); err != nil {
			t.Fatal(err)
		}
		advance(2 * time.Second)
		for who, s := range all {
			equal(t, who, seen(t, s), "1 =ann1")
		}
	})
}

// The number stands still while somebody is on the way, whatever others do and however the client comes back.
func TestPlacesAreForThoseWhoCome(t *testing.T) {
	for how, test := range map[string]func(t *testing.T, h *hub.Hub, other *hub.Session, id string){
		"another subscribes again": func(t *testing.T, _ *hub.Hub, other *hub.Session, _ string) { join(t, other, "r", hub.Start{}) },
		"another shows a state again": func(t *testing.T, _ *hub.Hub, other *hub.Session, _ string) {
			join(t, other, "r", hub.Start{State: []byte(`1`)})
		},
		"it comes back without a session": func(t *testing.T, h *hub.Hub, _ *hub.Session, id string) {
			if err := h.Caller(hub.Client{ID: id, Presence: hub.PresenceSome}).Renew(t.Context(), "r", nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
				watcher := connect(t, h, hub.Client{Presence: hub.PresenceSome, Observer: true})
				join(t, watcher, "r", hub.Start{})
				id := h.NewConn(nil)
				moves := connect(t, h, hub.Client{ID: id, Presence: hub.PresenceSome})
				join(t, moves, "r", hub.Start{})
				other := member(t, h, "r", hub.Start{})
				advance(2 * time.Second)
				seen(t, watcher)
				moves.End(hub.CauseDraining)
				advance(time.Second)
				test(t, h, other, id)
				advance(3 * time.Second)
				for _, frame := range seen(t, watcher) {
					if !strings.HasPrefix(frame, "2") {
						t.Errorf("seen: %q", frame)
					}
				}
			})
		})
	}
}
