package hub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// say publishes a message or a signal.
func say(t testing.TB, c *hub.Caller, room string, signal bool) error {
	t.Helper()
	_, err := c.Publish(t.Context(), hub.Publication{Room: room, Signal: signal})
	return err
}

// What one use spends, no other use needs: who is typing can still publish, and the
// other way round; the same holds for joins and for history.
func TestUsesHaveRatesOfTheirOwn(t *testing.T) {
	for _, kind := range []string{"session", "request"} {
		bubble(t, configured(rated(1, 3)), func(t *testing.T, h *hub.Hub) {
			publish(t, h, "r", "x")
			client := hub.Client{ID: "conn", Address: addr("192.0.2.1")}
			caller := h.Caller(client)
			if kind == "session" {
				caller = &connect(t, h, client).Caller
			}
			uses := []struct {
				limit string
				burst int
				use   func() error
			}{
				{"rate of signals", 3, func() error { return say(t, caller, "r", true) }},
				{"rate", 3, func() error { return say(t, caller, "r", false) }},
				{"rate of joins", settings.MaxRoomsJoined, func() error {
					_, err := caller.Subscribe(t.Context(), "r", hub.Start{})
					return err
				}},
				{"rate of commands", settings.MaxRoomsJoined, func() error {
					_, err := caller.History(t.Context(), "r", hub.Query{})
					return err
				}},
			}
			for _, u := range uses {
				for i := range u.burst {
					if err := u.use(); err != nil {
						t.Fatalf("%s, %d of %s: %v", kind, i+1, u.limit, err)
					}
				}
			}
			for _, u := range uses {
				limited(t, u.use(), limit.ErrRate, u.limit)
			}
		})
	}
}

// A user has one rate, over all connections, requests and addresses; two users of one
// address still share that of the address.
func TestRateByUser(t *testing.T) {
	tests := []struct {
		name        string
		users       [2]string
		addresses   [2]string
		signal      bool
		want        int
		refusedHint string
	}{
		{"one user at two addresses", [2]string{"ann", "ann"}, [2]string{"192.0.2.1", "192.0.2.2"}, false, 4, "share this user"},
		{"one user who signals", [2]string{"ann", "ann"}, [2]string{"192.0.2.1", "192.0.2.2"}, true, 4, "share this user"},
		{"two users at two addresses", [2]string{"ann", "ben"}, [2]string{"192.0.2.1", "192.0.2.2"}, false, 8, "share this user"},
		{"two users at one address", [2]string{"ann", "ben"}, [2]string{"192.0.2.1", "192.0.2.1"}, false, 4, "trusted_proxies"},
		{"strangers at two addresses", [2]string{}, [2]string{"192.0.2.1", "192.0.2.2"}, false, 8, "trusted_proxies"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(rated(1, 4)), func(t *testing.T, h *hub.Hub) {
				var out bytes.Buffer
				h.SetLogger(slog.New(slog.NewTextHandler(&out, nil)))
				ok := 0
				for i := range 2 {
					c := hub.Client{Address: addr(test.addresses[i])}
					if test.users[i] != "" {
						c.User = &hub.User{ID: test.users[i]}
					}
					for range 2 { // connections
						s := connect(t, h, c)
						for range 3 {
							if say(t, &s.Caller, "r", test.signal) == nil {
								ok++
							}
						}
					}
					for range 3 {
						if say(t, h.Caller(c), "r", test.signal) == nil {
							ok++
						}
					}
				}
				if ok != test.want {
					t.Errorf("%d passed, want %d", ok, test.want)
				}
				if !strings.Contains(out.String(), test.refusedHint) {
					t.Errorf("logged %q", out.String())
				}
			})
		})
	}
}

// New rooms count by user, too, at whichever address.
func TestNewRoomsCountByUser(t *testing.T) {
	bubble(t, configured(rated(1, 3), func(s *settings.Settings) {
		s.Rooms = []settings.RoomRule{{Pattern: "*", Rate: &limit.Unlimited}}
	}), func(t *testing.T, h *hub.Hub) {
		made := 0
		for i := range 9 {
			c := hub.Client{User: &hub.User{ID: "ann"}, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}
			if err := say(t, h.Caller(c), fmt.Sprint("room", i), false); err == nil {
				made++
			} else {
				limited(t, err, limit.ErrRate, "rate of new rooms")
			}
		}
		if made != 3 {
			t.Errorf("%d rooms made, want 3", made)
		}
	})
}

// A room's own rate bounds all who publish in it together. It survives that the room is
// forgotten, and does not hold for backends.
func TestRateOfARoom(t *testing.T) {
	rule := func(s *settings.Settings) {
		s.History = settings.History{}
		s.Rooms = []settings.RoomRule{{Pattern: "calm*", RoomRate: &limit.Rate{PerSecond: 1. / 60, Burst: 3}}}
	}
	bubble(t, configured(rule), func(t *testing.T, h *hub.Hub) {
		passed := func(room string, signal bool) (ok int) {
			for i := range 9 {
				c := hub.Client{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}
				err := say(t, h.Caller(c), room, signal)
				if err == nil {
					ok++
				} else if e := limited(t, err, limit.ErrRate, "room_rate"); e.RetryAfter <= 0 || e.Max != "1/m 3" {
					t.Errorf("%+v", e)
				}
			}
			return ok
		}
		for room, want := range map[string]int{"calm1": 3, "calm2": 3, "loud": 9} {
			if got := passed(room, false); got != want {
				t.Errorf("%s: %d messages passed, want %d", room, got, want)
			}
			if got := passed(room, true); got != want {
				t.Errorf("%s: %d signals passed, want %d", room, got, want)
			}
		}
		advance(30 * time.Second)
		if n := h.Stats().Rooms; n != 0 {
			t.Fatalf("%d rooms are left", n)
		}
		if got := passed("calm1", false); got != 0 {
			t.Errorf("%d passed after the room was forgotten", got)
		}
		backend := h.Caller(hub.Client{User: &hub.User{ID: "~bshop"}, Credential: &hub.Credential{Grants: everything{}}})
		for range 100 {
			if err := say(t, backend, "calm1", false); err != nil {
				t.Fatalf("a backend: %v", err)
			}
		}
	})
}

// A backend has a rate of its own, over all that it does and wherever it comes from, and no
// part in that of its address.
func TestRateOfABackend(t *testing.T) {
	slow := func(s *settings.Settings) { s.BackendRate = limit.Rate{PerSecond: 50, Burst: 100} }
	bubble(t, configured(rated(1, 3), slow), func(t *testing.T, h *hub.Hub) {
		passed := 0
		for i := range 300 {
			c := hub.Client{User: &hub.User{ID: "~bshop"}, Credential: &hub.Credential{Grants: everything{}}, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 2)})}
			caller := h.Caller(c)
			if i%3 == 0 {
				caller = &connect(t, h, c).Caller
			}
			if err := say(t, caller, "r", false); err == nil {
				passed++
			} else {
				limited(t, err, limit.ErrRate, "rate")
			}
		}
		if passed != 100 {
			t.Errorf("%d passed, want 100", passed)
		}
		if err := say(t, h.Caller(hub.Client{Address: addr("10.0.0.1")}), "r", false); err != nil {
			t.Errorf("a neighbour of the backend: %v", err)
		}
		if d := settings.Defaults().BackendRate; d.PerSecond != 1000 {
			t.Errorf("the default is %v", d)
		}
	})
}

// Users with several connections come back to all their rooms at once.
func TestAUserComesBackWithSeveralConnections(t *testing.T) {
	bubble(t, configured(rated(1, 10)), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", "x")
		for i := range 5 {
			s := connect(t, h, hub.Client{User: &hub.User{ID: "ann"}, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
			for range settings.MaxRoomsJoined {
				join(t, s, "r", hub.Start{})
			}
		}
	})
}

func TestMaxConnectionsPerUser(t *testing.T) {
	bubble(t, configured(func(s *settings.Settings) { s.MaxPerUser = 2 }), func(t *testing.T, h *hub.Hub) {
		ann := hub.Client{User: &hub.User{ID: "ann"}}
		elsewhere := hub.Client{User: &hub.User{ID: "ann", Name: "Ann"}, Address: addr("192.0.2.1")}
		s := connect(t, h, ann)
		leave, err := h.Caller(elsewhere).Occupy()
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Connect(ann, deaf{})
		if e := limited(t, err, limit.ErrFull, "max_connections_per_user"); e.Max != "2" || e.RetryAfter <= 0 {
			t.Errorf("%+v", e)
		}
		limited(t, h.Caller(elsewhere).CanConnect(), limit.ErrFull, "max_connections_per_user")
		_, err = h.Caller(ann).Occupy()
		limited(t, err, limit.ErrFull, "max_connections_per_user")
		connect(t, h, hub.Client{User: &hub.User{ID: "ben"}})
		connect(t, h, hub.Client{Address: elsewhere.Address})
		leave()
		connect(t, h, ann)
		s.End(hub.CauseLeft)
		connect(t, h, ann)
	})
}

// Whoever is refused by one of the limits of connections takes no place in the others.
func TestMaxUsers(t *testing.T) {
	bubble(t, configured(func(s *settings.Settings) { s.MaxUsers, s.MaxConnections = 2, 6 }), func(t *testing.T, h *hub.Hub) {
		client := func(id string) hub.Client {
			return hub.Client{User: &hub.User{ID: id}, Address: addr("192.0.2.1")}
		}
		ann := connect(t, h, client("ann"))
		connect(t, h, client("ben"))
		for range 3 {
			_, err := h.Connect(client("cid"), deaf{})
			if e := limited(t, err, limit.ErrFull, "max_users"); e.Max != "2" || e.RetryAfter <= 0 {
				t.Errorf("%+v", e)
			}
		}
		limited(t, h.Caller(client("cid")).CanConnect(), limit.ErrFull, "max_users")
		again := connect(t, h, client("ann"))
		connect(t, h, hub.Client{}) // nobody
		ann.End(hub.CauseLeft)
		_, err := h.Connect(client("cid"), deaf{})
		limited(t, err, limit.ErrFull, "max_users")
		again.End(hub.CauseLeft)
		connect(t, h, client("cid"))
		for range 3 {
			connect(t, h, hub.Client{})
		}
		_, err = h.Connect(client("cid"), deaf{})
		limited(t, err, limit.ErrFull, "max_connections")
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// Whose credentials have failed too often must wait, and nobody else.
func TestFailedCredentialsAreRated(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		one, neighbour, other := addr("2001:db8::1"), addr("2001:db8::2"), addr("2001:db8:0:1::1")
		for i := range 20 {
			if _, ok := h.MayTry(one); !ok {
				t.Fatalf("%d failures are too many to try again", i)
			}
			if _, ok := h.SpendFailure(one); !ok {
				t.Fatalf("failure %d is one too many", i+1)
			}
		}
		for _, a := range []netip.Addr{one, neighbour} {
			for range 3 { // asking costs nothing
				if wait, ok := h.MayTry(a); ok || wait <= 0 || wait > time.Second {
					t.Errorf("%v may try: %v, after %v", a, ok, wait)
				}
			}
			if wait, ok := h.SpendFailure(a); ok || wait <= 0 || wait > time.Second {
				t.Errorf("%v may fail: %v, after %v", a, ok, wait)
			}
		}
		for _, a := range []netip.Addr{other, {}} {
			if _, ok := h.MayTry(a); !ok {
				t.Errorf("%v may not try", a)
			}
		}
		wait, _ := h.MayTry(one)
		advance(wait)
		if _, ok := h.MayTry(one); !ok {
			t.Error("may not try after the time given")
		}
		h.SpendFailure(one)
		if _, ok := h.MayTry(one); ok {
			t.Error("may try twice in a second")
		}
	})
}

// everything grants all.
type everything struct{}

func (everything) Grants(hub.Verb, string) (granted, exactly bool) { return true, false }
