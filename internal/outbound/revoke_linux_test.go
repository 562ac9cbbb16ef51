package outbound_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// closed is an authorizer that lets nobody into a room.
type closed string

func (c closed) Decide(_ hub.Principal, verb hub.Verb, room string) bool {
	return room != string(c) && verb != hub.VerbModerate
}

// What waits for a slow peer is not sent once the session has lost the room, however the
// connection writes.
func TestNothingOfALostRoomIsSent(t *testing.T) {
	for _, kind := range []string{"TCP", "TLS", "wrapped"} {
		t.Run(kind, func(t *testing.T) {
			set := settings.Defaults()
			set.MaxMessageSize, set.Rate = 16<<20, limit.Unlimited
			h, g := newHubWith(t, set), new(outbound.Group)
			far, near := sockets(t, kind == "TLS")
			if kind == "wrapped" {
				far = struct{ net.Conn }{far}
			}
			c := start(t, h, g, plain, far, near)
			const size = 6 << 20
			publish(t, h, strings.Repeat("x", size)) // more than sockets take
			publish(t, h, "secret")
			<-time.After(50 * time.Millisecond) // until the connection waits for its peer
			h.Authorize(closed(room))
			<-c.done
			got, _ := io.ReadAll(near)
			if len(got) >= size || strings.Contains(string(got), "secret") {
				t.Errorf("%d bytes were sent", len(got))
			}
		})
	}
}
