package hub_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// What is erased is in no page and reaches nobody who is behind. Nobody gets a gap, and others' messages come.
func TestErase(t *testing.T) {
	bubble(t, configured(keeping(100, 0)), func(t *testing.T, h *hub.Hub) {
		ann := h.Caller(hub.Client{User: &hub.User{ID: "ann"}})
		ben := h.Caller(hub.Client{User: &hub.User{ID: "ben"}})
		say := func(c *hub.Caller, room, text string) hub.Position {
			t.Helper()
			r, err := c.Publish(t.Context(), hub.Publication{Room: room, Data: []byte(text), TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			return r.Position
		}
		begin := tail(t, h, "r")
		behind, ahead, other := member(t, h, "r", hub.Start{}), member(t, h, "r", hub.Start{}), member(t, h, "other", hub.Start{})
		first := say(ann, "r", "a1")
		say(ben, "r", "b1")
		say(ann, "r", "a2")
		say(ben, "other", "b2")
		equal(t, "who reads at once", drain(t, ahead), "a1", "b1", "a2")
		if n, err := h.Erase(t.Context(), "ann"); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		say(ann, "r", "a3")
		equal(t, "who is behind", drain(t, behind), "b1", "a3")
		equal(t, "who was not", drain(t, ahead), "a3")
		equal(t, "in another room", drain(t, other), "b2")
		equal(t, "the page", history(t, h, "r"), "b1", "a3")
		for _, at := range []hub.Position{begin, first} {
			equal(t, "who comes back", read(t, h, "r", hub.Query{After: at, Limit: 9}), "b1", "a3")
			equal(t, "who joins again", drain(t, member(t, h, "r", hub.Start{After: at})), "b1", "a3")
		}
		advance(2 * time.Hour)
		equal(t, "when all have expired", history(t, h, "r"))
	})
}

// An engine that erases nothing says so.
func TestEraseNeedsAnEraser(t *testing.T) {
	_, h := newFake(t, settings.Defaults())
	if _, err := h.Erase(t.Context(), "ann"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
