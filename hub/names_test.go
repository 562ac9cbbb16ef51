package hub_test

import (
	"errors"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

// Bad names are refused wherever they come in.
func TestBadNamesAreRefused(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		for _, bad := range []string{"a//b", "cafe\u0301", "a\u200b", "a*"} {
			if _, err := s.Subscribe(t.Context(), bad, hub.Start{}); !errors.Is(err, names.ErrRoom) {
				t.Errorf("joining %q: %v", bad, err)
			}
			if _, err := s.Publish(t.Context(), hub.Publication{Room: bad}); !errors.Is(err, names.ErrRoom) {
				t.Errorf("publishing in %q: %v", bad, err)
			}
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a", Event: "gap"}); !errors.Is(err, names.ErrEvent) {
			t.Errorf("publishing an event: %v", err)
		}
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms", n)
		}
	})
}
