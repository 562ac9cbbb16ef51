package hub_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// rated returns a change of settings: a rate for all rooms.
func rated(perSecond float64, burst int) func(*settings.Settings) {
	return func(s *settings.Settings) { s.Rate = limit.Rate{PerSecond: perSecond, Burst: burst} }
}

// passed publishes n times and returns how often that was allowed.
func passed(t testing.TB, n int, publish func() error) (ok int) {
	t.Helper()
	for range n {
		err := publish()
		if err == nil {
			ok++
			continue
		}
		if e := limited(t, err, limit.ErrRate, "rate"); e.RetryAfter <= 0 {
			t.Errorf("retry after %v", e.RetryAfter)
		}
	}
	return ok
}

func TestRateByConnection(t *testing.T) {
	bubble(t, configured(rated(2, 5)), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		publish := func() error {
			_, err := s.Publish(t.Context(), hub.Publication{Room: "r"})
			return err
		}
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 5}, {499 * time.Millisecond, 0}, {time.Millisecond, 1}, {time.Second, 2}, {time.Hour, 5}} {
			advance(step.wait)
			if got := passed(t, 9, publish); got != step.want {
				t.Errorf("after %v: %d, want %d", step.wait, got, step.want)
			}
		}
		e := limited(t, publish(), limit.ErrRate, "rate")
		if e.RetryAfter != 500*time.Millisecond || e.Max != "2/s 5" {
			t.Errorf("%+v", e)
		}
		advance(e.RetryAfter)
		if err := publish(); err != nil {
			t.Errorf("after the time given: %v", err)
		}
	})
}

func TestRateByAddress(t *testing.T) {
	tests := []struct {
		name, one, other string
		shared           bool
	}{
		{"the same", "192.0.2.1", "192.0.2.1", true},
		{"neighbours", "192.0.2.1", "192.0.2.2", false},
		{"mapped", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"a /64", "2001:db8::1", "2001:db8::ffff:0:0:2", true},
		{"a zone", "fe80::1%eth0", "fe80::2%eth1", true},
		{"two /64", "2001:db8::1", "2001:db8:0:1::1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(rated(1, 4)), func(t *testing.T, h *hub.Hub) {
				ok := 0
				for _, a := range []string{test.one, test.other} {
					c := hub.Client{Address: addr(a)}
					s := connect(t, h, c)
					ok += passed(t, 3, func() error {
						_, err := s.Publish(t.Context(), hub.Publication{Room: "r"})
						return err
					})
					ok += passed(t, 3, func() error {
						_, err := h.Caller(c).Publish(t.Context(), hub.Publication{Room: "r"})
						return err
					})
				}
				if want := map[bool]int{true: 4, false: 8}[test.shared]; ok != want {
					t.Errorf("%d passed, want %d", ok, want)
				}
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		bubble(t, configured(rated(1, 4)), func(t *testing.T, h *hub.Hub) {
			if ok := passed(t, 50, func() error {
				_, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "r"})
				return err
			}); ok != 50 {
				t.Errorf("%d passed", ok)
			}
		})
	})
}

// Rooms of different rates do not share their buckets, rooms of one rate do.
func TestRateByRoom(t *testing.T) {
	rules := func(s *settings.Settings) {
		s.Rooms = []settings.RoomRule{
			{Pattern: "slow*", Rate: &limit.Rate{PerSecond: 1, Burst: 1}},
			{Pattern: "mute", Rate: &limit.Rate{}},
			{Pattern: "off", Rate: &limit.Unlimited},
		}
	}
	bubble(t, configured(rated(1, 3), rules), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{Address: addr("192.0.2.1")})
		for _, test := range []struct {
			room string
			want int
		}{{"slow1", 1}, {"slow2", 0}, {"other", 3}, {"another", 0}, {"mute", 0}, {"off", 20}} {
			ok := passed(t, 20, func() error {
				_, err := s.Publish(t.Context(), hub.Publication{Room: test.room})
				return err
			})
			if ok != test.want {
				t.Errorf("%s: %d passed, want %d", test.room, ok, test.want)
			}
		}
	})
}

func TestRateOfJoinsAndNewRooms(t *testing.T) {
	bubble(t, configured(rated(1, 3)), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{Address: addr("192.0.2.1")})
		for _, room := range count(1, 3) {
			join(t, s, room, hub.Start{})
		}
		for range settings.MaxRoomsJoined - 3 { // a client that comes back to all of its rooms need not wait
			join(t, s, "1", hub.Start{})
		}
		_, err := s.Subscribe(t.Context(), "1", hub.Start{})
		limited(t, err, limit.ErrRate, "rate of joins")

		other := connect(t, h, hub.Client{Address: addr("192.0.2.1")})
		join(t, other, "1", hub.Start{})
		_, err = other.Subscribe(t.Context(), "4", hub.Start{})
		limited(t, err, limit.ErrRate, "rate of new rooms")
		_, err = h.Caller(other.Client()).Publish(t.Context(), hub.Publication{Room: "4"})
		limited(t, err, limit.ErrRate, "rate of new rooms")
		if _, err = other.Publish(t.Context(), hub.Publication{Room: "3"}); err != nil {
			t.Errorf("a room that is there: %v", err)
		}
		advance(time.Second)
		join(t, other, "4", hub.Start{})
		if n := h.Stats().Rooms; n != 4 {
			t.Errorf("%d rooms", n)
		}
	})
}

func TestMaxConnections(t *testing.T) {
	bubble(t, configured(func(s *settings.Settings) { s.MaxConnections, s.MaxPerAddress = 4, 2 }), func(t *testing.T, h *hub.Hub) {
		a := connect(t, h, hub.Client{Address: addr("2001:db8::1")})
		connect(t, h, hub.Client{Address: addr("2001:db8::2")})
		if err := h.Caller(hub.Client{}).CanConnect(); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		limited(t, h.Caller(hub.Client{Address: addr("2001:db8::3")}).CanConnect(), limit.ErrFull, "max_connections_per_address")
		_, err := h.Connect(hub.Client{Address: addr("2001:db8::3")}, deaf{})
		if e := limited(t, err, limit.ErrFull, "max_connections_per_address"); e.Max != "2" || e.RetryAfter <= 0 {
			t.Errorf("%+v", e)
		}
		connect(t, h, hub.Client{})
		connect(t, h, hub.Client{})
		limited(t, h.Caller(hub.Client{}).CanConnect(), limit.ErrFull, "max_connections")
		_, err = h.Connect(hub.Client{Address: addr("192.0.2.1")}, deaf{})
		if e := limited(t, err, limit.ErrFull, "max_connections"); e.Max != "4" || e.RetryAfter <= 0 {
			t.Errorf("%+v", e)
		}
		a.End(hub.CauseLeft)
		connect(t, h, hub.Client{Address: addr("2001:db8::3")})
	})
}

// Addresses with full buckets are forgotten, which gives nobody new tokens.
func TestAddressesAreForgotten(t *testing.T) {
	bubble(t, configured(rated(0.01, 1)), func(t *testing.T, h *hub.Hub) {
		c := hub.Client{Address: addr("192.0.2.1")}
		publish := func() error {
			_, err := h.Caller(c).Publish(t.Context(), hub.Publication{Room: "r"})
			return err
		}
		for range 3 {
			if ok := passed(t, 3, publish); ok != 1 {
				t.Errorf("%d passed", ok)
			}
			advance(50 * time.Second)
			if ok := passed(t, 3, publish); ok != 0 || h.Addresses() != 1 {
				t.Errorf("%d passed, %d addresses", ok, h.Addresses())
			}
			advance(time.Minute)
			if h.Addresses() != 0 {
				t.Errorf("%d addresses", h.Addresses())
			}
		}
	})
}

func TestLimitsAreLoggedOnce(t *testing.T) {
	one := func(s *settings.Settings) { s.MaxConnections, s.MaxMessageSize = 1, 1 }
	bubble(t, configured(one), func(t *testing.T, h *hub.Hub) {
		var out bytes.Buffer
		h.SetLogger(slog.New(slog.NewTextHandler(&out, nil)))
		connect(t, h, hub.Client{})
		lines := func(want ...string) {
			t.Helper()
			for range 3 {
				_, err := h.Connect(hub.Client{}, deaf{})
				limited(t, err, limit.ErrFull, "max_connections")
				_, err = h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("secret")})
				limited(t, err, limit.ErrTooLarge, "max_message_size")
			}
			got := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(got) != len(want) {
				t.Fatalf("logged %q", got)
			}
			for i, line := range got {
				if !strings.Contains(line, "level=WARN") || !strings.Contains(line, want[i]) || strings.Contains(line, "secret") {
					t.Errorf("logged %q, want %q", line, want[i])
				}
			}
		}
		lines("limit=max_connections value=1", "limit=max_message_size value=1")
		out.Reset()
		if err := h.Configure(configured(one)); err != nil {
			t.Fatal(err)
		}
		lines("limit=max_connections value=1", "limit=max_message_size value=1")
	})
}

func TestRateString(t *testing.T) {
	for want, r := range map[string]limit.Rate{
		"10/s 20": {PerSecond: 10, Burst: 20},
		"1/s 1":   {PerSecond: 1, Burst: 1},
		"30/m 1":  {PerSecond: 0.5, Burst: 1},
		"2/h 3":   {PerSecond: 2. / 3600, Burst: 3},
		"off":     limit.Unlimited,
	} {
		if r.String() != want {
			t.Errorf("%q, want %q", r, want)
		}
	}
}

// logged checks that one line was logged since the last time, and what it says.
func logged(t *testing.T, out *bytes.Buffer, limit, address, room string, asks bool) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	out.Reset()
	line := lines[0]
	if len(lines) != 1 || !strings.Contains(line, "limit="+limit) || strings.Contains(line, "proxy?") != asks {
		t.Fatalf("logged %q, want %s", lines, limit)
	}
	if strings.Contains(line, "address=") != (address != "") || !strings.Contains(line, "address="+address) && address != "" {
		t.Errorf("logged %q, want address %q", line, address)
	}
	if strings.Contains(line, "room=") != (room != "") || !strings.Contains(line, "room="+room) && room != "" {
		t.Errorf("logged %q, want room %q", line, room)
	}
}

// A limit that counts by address may be everybody's who comes through one proxy: its
// first refusal says which address, which room, and asks. It is logged although the
// same limit of a connection was logged before.
func TestLimitsByAddressAskForAProxy(t *testing.T) {
	one := func(s *settings.Settings) {
		s.MaxPerAddress, s.MaxRooms, s.MaxConnections, s.Rate = 1, 2, 2, limit.Rate{PerSecond: 1, Burst: 1}
	}
	bubble(t, configured(one), func(t *testing.T, h *hub.Hub) {
		var out bytes.Buffer
		h.SetLogger(slog.New(slog.NewTextHandler(&out, nil)))
		client := hub.Client{Address: netip.MustParseAddr("::ffff:192.0.2.1"), Scope: []string{"lobby", "bar"}}
		s, err := h.Connect(client, deaf{})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err = h.Connect(client, deaf{})
			limited(t, err, limit.ErrFull, "max_connections_per_address")
		}
		logged(t, &out, "max_connections_per_address", "192.0.2.1", "lobby", true)

		publish := func(room string) error {
			_, err := h.Caller(client).Publish(t.Context(), hub.Publication{Room: room})
			return err
		}
		if err := publish("bar"); err != nil {
			t.Fatal(err)
		}
		// The connection's own bucket refuses first, then that of its address.
		for range 2 {
			_, _ = s.Publish(t.Context(), hub.Publication{Room: "bar"})
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || strings.Contains(lines[1], "proxy?") == strings.Contains(lines[0], "proxy?") {
			t.Fatalf("logged %q, want the rate of an address and of a connection", lines)
		}
		for _, line := range lines {
			if !strings.Contains(line, "limit=rate ") || !strings.Contains(line, "room=bar") || !strings.Contains(line, "address=192.0.2.1") {
				t.Errorf("logged %q", line)
			}
		}
		out.Reset()

		// A client without an address is not counted by address, but by everything
		// else.
		nobody := hub.Client{Scope: []string{"lobby"}}
		connect(t, h, nobody)
		_, err = h.Connect(nobody, deaf{})
		limited(t, err, limit.ErrFull, "max_connections")
		logged(t, &out, "max_connections", "", "lobby", false)
	})
}

// Each connection may ask anew, but the connections of one address, one after the
// other, may not do so without end.
func TestConnectionsOfAnAddressAskTogether(t *testing.T) {
	change := func(s *settings.Settings) {
		s.Rate, s.MaxPerAddress, s.MaxRooms = limit.Rate{PerSecond: 1, Burst: 10}, 2, 1000
	}
	bubble(t, configured(change), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", "x")
		client := hub.Client{Address: netip.MustParseAddr("192.0.2.7")}
		joined := 0
		var refused error
		for range 5 {
			s := connect(t, h, client)
			for refused == nil && joined < 1000 {
				if _, err := s.Subscribe(t.Context(), "r", hub.Start{}); err != nil {
					if joined%100 != 0 {
						t.Fatalf("after %d joins: %v", joined, err)
					}
					break
				}
				joined++
			}
			s.End(hub.CauseLeft)
		}
		if joined != 200 {
			t.Errorf("%d joins by connections of one address, want 200", joined)
		}
		s := connect(t, h, client)
		_, err := s.Subscribe(t.Context(), "r", hub.Start{})
		limited(t, err, limit.ErrRate, "rate of joins")
		if _, err := connect(t, h, hub.Client{Address: netip.MustParseAddr("192.0.2.8")}).Subscribe(t.Context(), "r", hub.Start{}); err != nil {
			t.Errorf("another address: %v", err)
		}
		advance(time.Second)
		if _, err := s.Subscribe(t.Context(), "r", hub.Start{}); err != nil {
			t.Errorf("a second later: %v", err)
		}
		s.End(hub.CauseLeft)
	})
}
