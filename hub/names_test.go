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
		if _, err := s.Subscribe(t.Context(), "a//b", hub.Start{}); !errors.Is(err, names.ErrRoom) {
			t.Errorf("joining: %v", err)
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a//b"}); !errors.Is(err, names.ErrRoom) {
			t.Errorf("publishing: %v", err)
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a", Event: "gap"}); !errors.Is(err, names.ErrEvent) {
			t.Errorf("publishing an event: %v", err)
		}
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms", n)
		}
	})
}
