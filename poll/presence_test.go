package poll_test

import (
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/poll"
)

// Who comes back after a restart is told nothing of members until the grace is over, and then of everybody, be it that it has no
// cursor for presence.
func TestPresenceAfterARestart(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub.Hub) {
				at, presence := hub.Position{Epoch: "earlier", Offset: 7}, hub.Position{}
				again := func() *page {
					t.Helper()
					p := ask(t, h, func(o *poll.Options) {
						o.Wait, o.Rooms[0].Query.After, o.PresenceCursor = wait, at, presence
						o.Client.Presence, o.Client.User = hub.PresenceAll, &hub.User{ID: "ann"}
					})
					at = p.position(t)
					presence, _ = message.ParsePosition(p.Presence)
					return p
				}
				for _, when := range []string{"first", "second"} {
					if p := again(); len(p.Present) > 0 || p.Presence == "" {
						t.Errorf("the %s page has %v members, cursor %q", when, p.Present, p.Presence)
					}
				}
				<-time.After(11 * time.Second)
				if p := again(); len(p.Present) != 1 || p.Present[0].Members != 1 {
					t.Errorf("when the grace is over: %+v", p)
				}
			})
		})
	}
}
