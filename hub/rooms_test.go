package hub_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

func TestRoomsAreForgotten(t *testing.T) {
	tests := []struct {
		name    string
		history settings.History
		use     func(*testing.T, *hub.Hub)
		stays   time.Duration // the room is there
		gone    time.Duration // the room is gone, 0: never
	}{
		{"left and never published in", settings.History{Count: 9}, func(t *testing.T, h *hub.Hub) {
			member(t, h, "r", hub.Start{}).Unsubscribe("r")
		}, 0, 5 * time.Second},
		{"without history, after the window", settings.History{}, func(t *testing.T, h *hub.Hub) {
			publish(t, h, "r", "1")
		}, 9 * time.Second, window},
		{"with history that ends", settings.History{Count: 9, Age: time.Hour}, func(t *testing.T, h *hub.Hub) {
			publish(t, h, "r", "1")
		}, time.Hour, time.Hour + window},
		{"with a message that ends", settings.History{Count: 9}, func(t *testing.T, h *hub.Hub) {
			send(t, h, hub.Publication{Room: "r", TTL: time.Minute})
		}, 59 * time.Second, time.Minute + window},
		{"with a signal", settings.History{Count: 9}, func(t *testing.T, h *hub.Hub) {
			send(t, h, hub.Publication{Room: "r", Signal: true})
		}, 9 * time.Second, window},
		{"with history", settings.History{Count: 9}, func(t *testing.T, h *hub.Hub) {
			publish(t, h, "r", "1")
		}, 24 * time.Hour, 0},
		{"occupied", settings.History{}, func(t *testing.T, h *hub.Hub) {
			member(t, h, "r", hub.Start{})
		}, 24 * time.Hour, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(keeping(test.history.Count, test.history.Age)), func(t *testing.T, h *hub.Hub) {
				test.use(t, h)
				advance(test.stays)
				if h.Stats().Rooms != 1 {
					t.Errorf("gone after %v", test.stays)
				}
				if test.gone > 0 {
					advance(test.gone - test.stays)
					if st := h.Stats(); st.Rooms != 0 || st.Bytes != 0 {
						t.Errorf("after %v: %+v", test.gone, st)
					}
				}
			})
		})
	}
}

func TestReadMakesNoRoom(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		at := tail(t, h, "r")
		for _, q := range []hub.Query{{}, {InvalidCursor: true}, {After: at}, {Before: at}, {Last: 1}, {Age: time.Hour}} {
			q.Limit = 9
			if p := page(t, h, "r", q); len(p.Messages) > 0 || p.More || p.Cursor != at {
				t.Errorf("%+v: %+v", q, p)
			}
		}
		if h.SubscriberCount("r") != 0 || h.Stats().Rooms != 0 {
			t.Errorf("%+v", h.Stats())
		}
		if _, err := h.Caller(hub.Client{}).Read(t.Context(), "", hub.Query{}); !errors.Is(err, names.ErrRoom) {
			t.Errorf("a bad name: %v", err)
		}
	})
}

func TestMaxRooms(t *testing.T) {
	three := func(s *settings.Settings) { s.MaxRooms = 3 }
	t.Run("the least used makes way", func(t *testing.T) {
		bubble(t, configured(three), func(t *testing.T, h *hub.Hub) {
			for _, room := range []string{"published", "read", "joined"} {
				publish(t, h, room, room)
				advance(time.Millisecond)
			}
			s := member(t, h, "joined", hub.Start{})
			advance(time.Millisecond)
			read(t, h, "read", hub.Query{Last: 1})
			advance(time.Millisecond)
			publish(t, h, "published", "again")
			advance(time.Millisecond)
			s.Unsubscribe("joined")
			for _, want := range []string{"joined", "read", "published"} {
				advance(time.Millisecond)
				publish(t, h, "new-"+want, "x")
				equal(t, want, history(t, h, want))
				if n := h.Stats().Rooms; n != 3 {
					t.Errorf("%d rooms", n)
				}
			}
		})
	})
	t.Run("occupied rooms stay", func(t *testing.T) {
		bubble(t, configured(three), func(t *testing.T, h *hub.Hub) {
			s := connect(t, h, hub.Client{})
			for _, room := range []string{"a", "b", "c"} {
				join(t, s, room, hub.Start{})
			}
			_, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "d"})
			e := limited(t, err, limit.ErrFull, "max_rooms")
			if e.Max != "3" || e.RetryAfter <= 0 {
				t.Errorf("%+v", e)
			}
			_, err = s.Subscribe(t.Context(), "d", hub.Start{})
			limited(t, err, limit.ErrFull, "max_rooms")
			publish(t, h, "a", "known rooms go on")
			s.Unsubscribe("b")
			publish(t, h, "d", "there is room again")
		})
	})
}

// Configure is felt by rooms and sessions that are there already.
func TestConfigureAppliesToTheLiving(t *testing.T) {
	bubble(t, configured(keeping(5, 0)), func(t *testing.T, h *hub.Hub) {
		configure := func(change ...func(*settings.Settings)) {
			t.Helper()
			if err := h.Configure(configured(change...)); err != nil {
				t.Fatal(err)
			}
		}
		s := member(t, h, "r", hub.Start{})
		send := func(n int) error {
			_, err := s.Publish(t.Context(), hub.Publication{Room: "r", Data: make([]byte, n)})
			return err
		}
		publish(t, h, "r", count(1, 5)...)
		configure(keeping(2, 0))
		equal(t, "fewer", history(t, h, "r"), "4", "5")
		configure(keeping(4, 0))
		publish(t, h, "r", "6", "7")
		equal(t, "more", history(t, h, "r"), "4", "5", "6", "7")
		advance(time.Minute)
		publish(t, h, "r", "8")
		configure(keeping(9, time.Second))
		equal(t, "younger", history(t, h, "r"), "8")
		configure(keeping(9, 0), func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = 900, 10 })
		if used := h.Stats().Bytes; used > 900 {
			t.Errorf("%d bytes are kept", used)
		}
		equal(t, "a session is told", drain(t, s), "gap slow", "7", "8")
		limited(t, send(11), limit.ErrTooLarge, "max_message_size")
		configure(keeping(0, 0))
		equal(t, "nothing", history(t, h, "r"))
		configure(func(s *settings.Settings) { s.Rate = limit.Rate{PerSecond: 1, Burst: 1} })
		if err := send(11); err != nil {
			t.Error(err)
		}
		limited(t, send(11), limit.ErrRate, "rate")
		configure(func(s *settings.Settings) { s.MaxConnections = 1 })
		_, err := h.Connect(hub.Client{}, deaf{})
		limited(t, err, limit.ErrFull, "max_connections")

		bad := configured()
		bad.MaxRooms = 0
		before := h.Settings()
		if err := h.Configure(bad); err == nil || h.Settings() != before {
			t.Errorf("bad settings: %v", err)
		}
	})
}

func TestSettingsCheck(t *testing.T) {
	rule := func(r settings.RoomRule) func(*settings.Settings) {
		return func(s *settings.Settings) { s.Rooms = append(s.Rooms, r) }
	}
	tests := []struct {
		name   string
		change func(*settings.Settings)
		want   string // a part of the error, "" for none
	}{
		{"defaults", func(*settings.Settings) {}, ""},
		{"all off", func(s *settings.Settings) {
			s.MaxMessageSize, s.MaxRooms, s.MaxConnections, s.MaxPerAddress = settings.Off, settings.Off, settings.Off, settings.Off
			s.HistoryMemory = settings.Off
		}, ""},
		{"no rooms", func(s *settings.Settings) { s.MaxRooms = 0 }, "max_rooms"},
		{"no connections", func(s *settings.Settings) { s.MaxConnections = 0 }, "max_connections"},
		{"none an address", func(s *settings.Settings) { s.MaxPerAddress = -1 }, "max_connections_per_address"},
		{"no messages", func(s *settings.Settings) { s.MaxMessageSize = 0 }, "max_message_size"},
		{"messages above the memory", func(s *settings.Settings) { s.HistoryMemory = 1000 }, "history_memory"},
		{"negative history", keeping(-1, 0), "history"},
		{"negative age", keeping(1, -1), "history"},
		{"negative history of a pattern", rule(settings.RoomRule{Pattern: "a", History: &settings.History{Count: -1}}), "history"},
		{"messages of a pattern above the memory", rule(settings.RoomRule{Pattern: "a", MaxMessageSize: new(settings.Off)}), "history_memory"},
		{"no messages of a pattern", rule(settings.RoomRule{Pattern: "a", MaxMessageSize: new(0)}), "max_message_size"},
		{"a bad pattern", rule(settings.RoomRule{Pattern: "a*b"}), "only one *"},
		{"a pattern twice", func(s *settings.Settings) { s.Rooms = []settings.RoomRule{{Pattern: "a*"}, {Pattern: "a*"}} }, "already specified"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := configured(test.change).Check()
			if test.want == "" && err == nil {
				return
			}
			if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one about %q", err, test.want)
			}
			if _, err := hub.New(configured(test.change), hub.NewMemory()); err == nil {
				t.Error("New takes what Check refuses")
			}
		})
	}
}

// Which rule speaks for which room is seen by how many messages it keeps and
// how long they may be.
func TestPatterns(t *testing.T) {
	keep := func(n int) *settings.History { return &settings.History{Count: n} }
	rules := []settings.RoomRule{
		{Pattern: "*", MaxMessageSize: new(1)},
		{Pattern: "chat/*", History: keep(2), MaxMessageSize: new(2)},
		{Pattern: "chat/de/*", History: keep(3)},
		{Pattern: "chat/de/berlin", MaxMessageSize: new(4)},
		{Pattern: "chat/de/berlin*", History: keep(5), MaxMessageSize: new(5)},
	}
	tests := []struct {
		room       string
		keep, size int
	}{
		{"other", 7, 1},
		{"chat", 7, 1},
		{"chat/x", 2, 2},
		{"chat/x/y/z", 2, 2},
		{"chat/de", 2, 2},
		{"chat/de/bonn", 3, 2},
		{"chat/de/berlin", 5, 4},
		{"chat/de/berlin/mitte", 5, 5},
	}
	for name, order := range map[string]func([]settings.RoomRule){"as written": func([]settings.RoomRule) {}, "reversed": slices.Reverse[[]settings.RoomRule]} {
		t.Run(name, func(t *testing.T) {
			rules := slices.Clone(rules)
			order(rules)
			bubble(t, configured(keeping(7, 0), func(s *settings.Settings) { s.Rooms = rules }), func(t *testing.T, h *hub.Hub) {
				for _, test := range tests {
					publish(t, h, test.room, count(0, 9)...)
					if got := len(history(t, h, test.room)); got != test.keep {
						t.Errorf("%s keeps %d, want %d", test.room, got, test.keep)
					}
					if got := h.MaxMessageSize(test.room); got != test.size {
						t.Errorf("%s takes %d bytes, want %d", test.room, got, test.size)
					}
					send(t, h, hub.Publication{Room: test.room, Data: make([]byte, test.size)})
					_, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: test.room, Data: make([]byte, test.size+1)})
					limited(t, err, limit.ErrTooLarge, "max_message_size")
				}
			})
		})
	}
}
