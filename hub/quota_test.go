package hub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// quoted returns a change of settings: the rules of rooms.
func quoted(rules ...settings.RoomRule) func(*settings.Settings) {
	return func(s *settings.Settings) { s.Rooms = rules }
}

// In a full block the least recently used room of the block makes way, and none of others.
func TestMaxRoomsOfABlock(t *testing.T) {
	change := configured(func(s *settings.Settings) { s.MaxRooms = 6 }, quoted(
		settings.RoomRule{Pattern: "shop/*", MaxRooms: new(2)},
		settings.RoomRule{Pattern: "shop/free/*", MaxRooms: new(settings.Off)},
	))
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		for _, room := range []string{"other", "shop/1", "shop/free/1", "shop/2"} {
			publish(t, h, room, room)
			advance(time.Millisecond)
		}
		read(t, h, "shop/1", hub.Query{Last: 1})
		advance(time.Millisecond)
		publish(t, h, "shop/3", "shop/3") // in place of shop/2
		for room, there := range map[string]bool{"other": true, "shop/1": true, "shop/2": false, "shop/3": true, "shop/free/1": true} {
			if got := len(history(t, h, room)) > 0; got != there {
				t.Errorf("%s is there: %v, want %v", room, got, there)
			}
			advance(time.Millisecond)
		}
		for i := range 100 {
			publish(t, h, fmt.Sprint("shop/new", i), "x")
		}
		equal(t, "another room after the flood", history(t, h, "other"), "other")
		equal(t, "a room that is excepted", history(t, h, "shop/free/1"), "shop/free/1")
		if n := h.Stats().Rooms; n != 4 {
			t.Errorf("%d rooms, want 4", n)
		}

		// The hub's own limit is for all of them together.
		for i := range 3 {
			advance(time.Millisecond)
			publish(t, h, fmt.Sprint("more", i), "x")
		}
		if n := h.Stats().Rooms; n != 6 {
			t.Errorf("%d rooms, want 6", n)
		}
	})
}

// A block whose rooms are all occupied refuses, with an error that names the limit, and a log
// line that names the block.
func TestMaxRoomsOfAnOccupiedBlock(t *testing.T) {
	change := configured(quoted(settings.RoomRule{Pattern: "a*", MaxRooms: new(1)}, settings.RoomRule{Pattern: "b*", MaxRooms: new(1)}))
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		var out bytes.Buffer
		h.SetLogger(slog.New(slog.NewTextHandler(&out, nil)))
		s := connect(t, h, hub.Client{})
		for _, block := range []string{"a", "b"} {
			join(t, s, block+"1", hub.Start{})
			for range 2 {
				_, err := s.Subscribe(t.Context(), block+"2", hub.Start{})
				if e := limited(t, err, limit.ErrFull, "max_rooms"); e.Max != "1" || e.RetryAfter <= 0 {
					t.Errorf("%+v", e)
				}
			}
			join(t, s, block+"1", hub.Start{})
		}
		for _, pattern := range []string{`a*`, `b*`} {
			if n := strings.Count(out.String(), pattern); n != 1 {
				t.Errorf("%s is logged %d times: %s", pattern, n, out.String())
			}
		}
		s.Unsubscribe("a1")
		join(t, s, "a2", hub.Start{})
		if h.SubscriberCount("a1") != 0 || h.Stats().Rooms != 2 {
			t.Errorf("%+v", h.Stats())
		}
	})
}

// What is published in one block makes no message of another go, however much it is.
func TestMemoryOfABlock(t *testing.T) {
	const quota = 20_000
	change := configured(keeping(settings.Off, 0), func(s *settings.Settings) {
		s.HistoryMemory, s.MaxMessageSize = 200_000, 1000
	}, quoted(settings.RoomRule{Pattern: "shop/*", HistoryMemory: new(quota)}))
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		publish(t, h, "other", count(1, 100)...)
		used := h.Stats().Bytes
		for i := range 500 {
			publish(t, h, fmt.Sprint("shop/", i%5), strings.Repeat("x", 900), fmt.Sprint(i))
			send(t, h, hub.Publication{Room: fmt.Sprint("shop/", i%5), Signal: true, Data: make([]byte, 900)})
		}
		if grown := h.Stats().Bytes - used; grown > quota || grown < quota/2 {
			t.Errorf("the block keeps %d bytes, %d are allowed", grown, quota)
		}
		equal(t, "another room", history(t, h, "other"), count(1, 100)...)
		if last := history(t, h, "shop/4"); len(last) == 0 || last[len(last)-1] != "499" {
			t.Errorf("the last room has %q", last)
		}
		if first := history(t, h, "shop/0"); len(first) > 0 && first[len(first)-1] != "495" {
			t.Errorf("the oldest do not go first: %q", first)
		}
		// A block that has nothing left to give is no way to take from others.
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// States count, too: they may have half of the block's memory, and take nothing of others'.
func TestStatesInABlock(t *testing.T) {
	const quota = 20_000
	change := configured(quoted(settings.RoomRule{Pattern: "shop/*", HistoryMemory: new(quota), MaxMessageSize: new(1000)}))
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		shown := 0
		var err error
		for ; err == nil && shown < 100; shown++ {
			err = h.Caller(hub.Client{ID: fmt.Sprint("conn", shown)}).Show(t.Context(), "shop/1", []byte(`"`+strings.Repeat("s", 500)+`"`))
		}
		if e := limited(t, err, limit.ErrFull, "history_memory"); e.Max != fmt.Sprint(quota) {
			t.Errorf("%+v", e)
		}
		if shown > quota/2/900+2 {
			t.Errorf("%d states are shown", shown)
		}
		if err := h.Caller(hub.Client{ID: "conn"}).Show(t.Context(), "other", []byte(`1`)); err != nil {
			t.Errorf("a state elsewhere: %v", err)
		}
		advance(time.Hour)
	})
}

// A reload puts quotas in force for what is kept already, and takes them back.
func TestReloadOfQuotas(t *testing.T) {
	const quota = 20_000
	open := []func(*settings.Settings){keeping(settings.Off, 0), func(s *settings.Settings) { s.MaxMessageSize = 1000 }}
	closed := append(open, quoted(settings.RoomRule{Pattern: "shop/*", HistoryMemory: new(quota), MaxRooms: new(2), MaxMembers: new(1)}))
	bubble(t, configured(open...), func(t *testing.T, h *hub.Hub) {
		for i := range 100 {
			publish(t, h, fmt.Sprint("shop/", i%5), strings.Repeat("x", 900))
			publish(t, h, "other", fmt.Sprint(i+1))
		}
		s := member(t, h, "shop/0", hub.Start{State: []byte(`1`)})
		for range 2 {
			if err := h.Configure(configured(closed...)); err != nil {
				t.Fatal(err)
			}
			if err := h.Check(); err != nil {
				t.Error(err)
			}
			if n := len(history(t, h, "shop/0")) + len(history(t, h, "shop/4")); n > quota/1300 {
				t.Errorf("%d messages are left", n)
			}
			equal(t, "another room", history(t, h, "other"), count(1, 100)...)
			publish(t, h, "shop/new", "x") // one goes, one comes
			if n := h.Stats().Rooms; n != 6 {
				t.Errorf("%d rooms", n)
			}
			_, err := connect(t, h, hub.Client{}).Subscribe(t.Context(), "shop/0", hub.Start{State: []byte(`2`)})
			limited(t, err, limit.ErrFull, "max_members")
		}
		if err := h.Configure(configured(open...)); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			publish(t, h, fmt.Sprint("shop/new", i), "x")
		}
		if n := h.Stats().Rooms; n != 16 {
			t.Errorf("%d rooms", n)
		}
		s.End(hub.CauseLeft)
	})
}

// Who counts as a member, and who does not.
func TestMaxMembers(t *testing.T) {
	user := func(id string) *hub.User { return &hub.User{ID: id} }
	tests := []struct {
		name    string
		client  hub.Client
		state   string
		refused bool
	}{
		{"a new user", hub.Client{User: user("cid")}, "", true},
		{"a new user who shows a state", hub.Client{User: user("cid")}, "1", true},
		{"a stranger who shows a state", hub.Client{}, "1", true},
		{"a stranger who receives presence", hub.Client{Presence: hub.PresenceSome}, "", true},
		{"a stranger who only reads", hub.Client{}, "", false},
		{"an observer", hub.Client{User: user("cid"), Observer: true, Presence: hub.PresenceAll}, "", false},
		{"another connection of a member", hub.Client{User: user("ann")}, "2", false},
		{"who is back within the grace", hub.Client{User: user("ben")}, "", false},
	}
	for _, mode := range []settings.PresenceMode{settings.PresenceOn, settings.PresenceCount, settings.PresenceOff} {
		rule := settings.RoomRule{Pattern: "*", MaxMembers: new(2), Presence: &settings.PresenceRule{Mode: mode, Grace: 10 * time.Second}}
		for _, test := range tests {
			t.Run(fmt.Sprint(mode, " ", test.name), func(t *testing.T) {
				bubble(t, configured(quoted(rule)), func(t *testing.T, h *hub.Hub) {
					join(t, connect(t, h, hub.Client{User: user("ann")}), "r", hub.Start{})
					ben := connect(t, h, hub.Client{User: user("ben")})
					join(t, ben, "r", hub.Start{})
					ben.End(hub.CauseGone)
					var state []byte
					if test.state != "" {
						state = []byte(test.state)
					}
					s := connect(t, h, test.client)
					_, err := s.Subscribe(t.Context(), "r", hub.Start{State: state})
					if !test.refused {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if e := limited(t, err, limit.ErrFull, "max_members"); e.Max != "2" || e.RetryAfter <= 0 {
						t.Errorf("%+v", e)
					}
					if n := h.SubscriberCount("r"); n != 1 {
						t.Errorf("%d subscribers", n)
					}
					join(t, s, "elsewhere", hub.Start{State: state})
					advance(10 * time.Second) // Ben is gone for good
					join(t, s, "r", hub.Start{State: state})
				})
			})
		}
	}
}

// Who is only counted, or has no session, becomes a member by showing a state.
func TestMaxMembersHoldsForStates(t *testing.T) {
	bubble(t, configured(quoted(settings.RoomRule{Pattern: "*", MaxMembers: new(1)})), func(t *testing.T, h *hub.Hub) {
		reader := member(t, h, "r", hub.Start{})
		visitor := h.Caller(hub.Client{ID: "visitor"})
		for range 2 {
			if err := visitor.Show(t.Context(), "r", []byte(`1`)); err != nil {
				t.Fatal(err)
			}
		}
		limited(t, reader.Show(t.Context(), "r", []byte(`1`)), limit.ErrFull, "max_members")
		limited(t, h.Caller(hub.Client{ID: "another"}).Renew(t.Context(), "r", nil), limit.ErrFull, "max_members")
		if err := visitor.Unsubscribe("r"); err != nil {
			t.Fatal(err)
		}
		if err := reader.Show(t.Context(), "r", []byte(`1`)); err != nil {
			t.Errorf("after the visitor has left: %v", err)
		}
		if n, err := h.Caller(hub.Client{}).MemberCount("r"); n != 1 || err != nil {
			t.Errorf("%d members, %v", n, err)
		}
	})
}
