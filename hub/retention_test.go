package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// window is after how long a delivery window has surely gone: 10 s and a sweep.
const window = 16 * time.Second

func TestHistoryByCount(t *testing.T) {
	bubble(t, configured(keeping(3, 0)), func(t *testing.T, h *hub.Hub) {
		first := publish(t, h, "r", "1")
		publish(t, h, "r", count(2, 5)...)
		equal(t, "history", history(t, h, "r"), "3", "4", "5")
		equal(t, "within the window", read(t, h, "r", hub.Query{After: first.Position, Limit: 9}), "2", "3", "4", "5")
		advance(window)
		equal(t, "after the window", read(t, h, "r", hub.Query{After: first.Position, Limit: 9}), "gap expired", "3", "4", "5")
		gap := page(t, h, "r", hub.Query{After: first.Position}).Gap
		second := publish(t, h, "other", "x").Position
		if gap.Room != "r" || gap.From != first.Position || gap.To.Offset <= gap.From.Offset || gap.To.Offset >= second.Offset {
			t.Errorf("gap %+v", gap)
		}
	})
}

func TestHistoryByAge(t *testing.T) {
	bubble(t, configured(keeping(100, time.Minute)), func(t *testing.T, h *hub.Hub) {
		before := tail(t, h, "r")
		publish(t, h, "r", "old")
		advance(50 * time.Second)
		publish(t, h, "r", "new")
		advance(10 * time.Second)
		equal(t, "at a minute", history(t, h, "r"), "old", "new")
		equal(t, "no older than 20 s", read(t, h, "r", hub.Query{Age: 20 * time.Second, Limit: 9}), "new")
		advance(time.Millisecond)
		equal(t, "over a minute", history(t, h, "r"), "new")
		advance(window)
		equal(t, "from before", read(t, h, "r", hub.Query{After: before, Limit: 9}), "gap expired", "new")
	})
}

func TestHistoryByBudget(t *testing.T) {
	data := func(name string) string { return name + strings.Repeat(".", 99) } // charged 512: its array, of 112, and its overhead
	tests := []struct {
		name   string
		memory int64
		bytes  int64    // after the fourth message
		kept   []string // first letters of what all rooms keep
		again  int      // forms that must be encoded anew
	}{
		{"enough for all", 2308, 2308, []string{"a", "c", "d", "b"}, 0}, // the form is charged 260
		{"the form goes first", 2307, 2048, []string{"a", "c", "d", "b"}, 1},
		{"then the oldest message", 2047, 1536, []string{"c", "d", "b"}, 1},
		{"of the whole hub", 1535, 1024, []string{"c", "d"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			small := func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = test.memory, 100 }
			bubble(t, configured(small), func(t *testing.T, h *hub.Hub) {
				publish(t, h, "one", data("a"))
				publish(t, h, "two", data("b"))
				publish(t, h, "one", data("c"))
				encoded := 0
				form := func() {
					for _, m := range page(t, h, "one", hub.Query{Last: 1, Limit: 1}).Messages {
						m.Form(0, func(*hub.Message) []byte { encoded++; return make([]byte, 100) })
					}
				}
				form()
				form() // from the cache
				c := page(t, h, "one", hub.Query{Last: 1, Limit: 1}).Messages
				publish(t, h, "one", data("d"))
				for _, m := range c {
					m.Form(0, func(*hub.Message) []byte { encoded++; return make([]byte, 10_000) })
				}
				var kept []string
				for _, text := range slices.Concat(history(t, h, "one"), history(t, h, "two")) {
					kept = append(kept, text[:1])
				}
				equal(t, "kept", kept, test.kept...)
				if got := h.Stats().Bytes; got != test.bytes {
					t.Errorf("%d bytes are kept, want %d", got, test.bytes)
				}
				if encoded != 1+test.again && test.memory >= 2047 {
					t.Errorf("encoded %d times, want %d", encoded, 1+test.again)
				}
			})
		})
	}
}

func TestEvictedMessagesAreAGap(t *testing.T) {
	small := func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = 1700, 100 }
	bubble(t, configured(small), func(t *testing.T, h *hub.Hub) {
		s := member(t, h, "r", hub.Start{})
		before := tail(t, h, "r")
		publish(t, h, "r", count(1, 3)...)
		publish(t, h, "r", count(4, 6)...)
		equal(t, "a page", read(t, h, "r", hub.Query{After: before, Limit: 9}), "gap expired", "3", "4", "5", "6")
		equal(t, "a session", drain(t, s), "gap slow", "3", "4", "5", "6")
	})
}

// A form that is cached does not push the hub over its budget.
func TestFormsKeepToTheBudget(t *testing.T) {
	small := func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = 2000, 100 }
	bubble(t, configured(small), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", count(1, 4)...)
		for range 2 {
			for i, m := range page(t, h, "r", hub.Query{Last: 9, Limit: 9}).Messages {
				got := m.Form(hub.Form(i), func(*hub.Message) []byte { return make([]byte, 50+i) })
				if len(got) != 50+i {
					t.Errorf("form %d has %d bytes", i, len(got))
				}
				if used := h.Stats().Bytes; used > 2000 {
					t.Errorf("%d bytes are kept", used)
				}
			}
		}
		equal(t, "history", history(t, h, "r"), "1", "2", "3", "4")
	})
}

func TestFormsLeaveWithTheShortWindow(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", "1")
		m := page(t, h, "r", hub.Query{Last: 1, Limit: 1}).Messages[0]
		encoded := 0
		form := func() { m.Form(0, func(*hub.Message) []byte { encoded++; return nil }) }
		form()
		publish(t, h, "r", count(2, 64)...)
		form()
		if encoded != 1 {
			t.Errorf("encoded %d times within the window", encoded)
		}
		publish(t, h, "r", "65")
		form()
		if encoded != 2 {
			t.Errorf("encoded %d times, want it anew after 64 messages", encoded)
		}
	})
}

// The messages that a live session can read in a room that keeps little or nothing.
func TestDeliveryWindow(t *testing.T) {
	tests := []struct {
		name    string
		history int
		waiting int           // messages that the session has not read
		pause   time.Duration // then one more comes, if there is a pause
		want    []string
	}{
		{"many at once", 0, 200, 0, count(1, 200)},
		{"many within the time", 0, 200, 10*time.Second - 1, count(1, 201)},
		{"many at the time", 0, 200, 10 * time.Second, append([]string{"gap slow"}, count(138, 201)...)},
		{"few after the time", 0, 63, time.Hour, count(1, 64)},
		{"one too many after the time", 0, 64, time.Hour, append([]string{"gap slow"}, count(2, 65)...)},
		{"many after the time", 0, 200, time.Hour, append([]string{"gap slow"}, count(138, 201)...)},
		{"a history below the window", 10, 200, time.Hour, append([]string{"gap slow"}, count(138, 201)...)},
		{"a history above the window", 100, 200, time.Hour, append([]string{"gap slow"}, count(102, 201)...)},
		{"a history above all", 300, 200, time.Hour, count(1, 201)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(keeping(test.history, 0)), func(t *testing.T, h *hub.Hub) {
				s := member(t, h, "r", hub.Start{})
				publish(t, h, "r", count(1, test.waiting)...)
				if test.pause > 0 {
					advance(test.pause)
					publish(t, h, "r", count(test.waiting+1, test.waiting+1)...)
				}
				equal(t, "told", drain(t, s), test.want...)
				equal(t, "told again", drain(t, s))
			})
		})
	}
}

// A room without members keeps its window for 10 s, so that a poll which
// comes back in time misses nothing.
func TestDeliveryWindowWithoutMembers(t *testing.T) {
	bubble(t, configured(keeping(0, 0)), func(t *testing.T, h *hub.Hub) {
		first := publish(t, h, "r", "1")
		publish(t, h, "r", "2", "3")
		advance(9 * time.Second)
		after := hub.Query{After: first.Position, Limit: 9}
		equal(t, "in time", read(t, h, "r", after), "2", "3")
		equal(t, "a session in time", drain(t, member(t, h, "r", hub.Start{After: first.Position})), "2", "3")
		equal(t, "no history", history(t, h, "r"))
		publish(t, h, "s", "x")
		advance(time.Hour)
		equal(t, "an empty room", read(t, h, "s", hub.Query{After: first.Position, Limit: 9}), "gap expired")
	})
}

func TestOwnExpiryIsNoGap(t *testing.T) {
	for _, count := range []int{0, 100} {
		bubble(t, configured(keeping(count, 0)), func(t *testing.T, h *hub.Hub) {
			s := member(t, h, "r", hub.Start{})
			before := tail(t, h, "r")
			send(t, h, hub.Publication{Room: "r", Data: []byte("short"), TTL: time.Second})
			send(t, h, hub.Publication{Room: "r", Data: []byte("long"), TTL: time.Hour})
			late := member(t, h, "r", hub.Start{After: before})
			advance(time.Second - 1)
			equal(t, "in time", read(t, h, "r", hub.Query{After: before, Limit: 9}), "short", "long")
			advance(1)
			equal(t, "too late", read(t, h, "r", hub.Query{After: before, Limit: 9}), "long")
			equal(t, "live", drain(t, s), "long")
			s.End(hub.CauseLeft)
			equal(t, "resumed", drain(t, late), "long")
			late.End(hub.CauseLeft)
			if count == 0 {
				return
			}
			equal(t, "history", history(t, h, "r"), "long")
			advance(time.Hour)
			equal(t, "from the log", read(t, h, "r", hub.Query{After: before, Limit: 9}))
		})
	}
}

// Losses in one room are not losses for readers of another.
func TestLossesAreOfTheirRoom(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *hub.Hub, string){
		"a room that is forgotten": func(t *testing.T, h *hub.Hub, room string) {
			publish(t, h, room, "1")
			advance(window)
		},
		"one that makes way": func(t *testing.T, h *hub.Hub, room string) {
			for i := range 5 {
				publish(t, h, fmt.Sprint(room, i), "1")
				advance(time.Millisecond)
			}
		},
		"one that is there": func(t *testing.T, h *hub.Hub, room string) { publish(t, h, room, "1") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(keeping(0, 0), func(s *settings.Settings) { s.MaxRooms = 3 }), func(t *testing.T, h *hub.Hub) {
				early := tail(t, h, "idle")
				missed := publish(t, h, "idle", "missed").Position
				at := publish(t, h, "idle", "seen").Position
				advance(window)
				use(t, h, "other")
				from := func(p hub.Position) (told []string) {
					t.Helper()
					told = read(t, h, "idle", hub.Query{After: p, Limit: 9})
					s := member(t, h, "idle", hub.Start{After: p})
					equal(t, "by a session", drain(t, s), told...)
					s.End(hub.CauseLeft)
					equal(t, "in the room that is made", read(t, h, "idle", hub.Query{After: p, Limit: 9}), told...)
					advance(window) // it is forgotten again
					return told
				}
				equal(t, "nothing is missing", from(at))
				equal(t, "never used", read(t, h, "never", hub.Query{After: early, Limit: 9}))
				use(t, h, "another")
				equal(t, "one is missing", from(missed), "gap expired")
				equal(t, "still nothing is missing", from(at))
			})
		})
	}
}

// A gap is about what is missing, and what the window still has is not.
func TestGapsEndWhereTheWindowBegins(t *testing.T) {
	bubble(t, configured(keeping(0, 0)), func(t *testing.T, h *hub.Hub) {
		before := tail(t, h, "r")
		lost := publish(t, h, "r", "lost").Position
		advance(8 * time.Second)
		publish(t, h, "r", "kept")
		advance(7 * time.Second)
		q := hub.Query{After: before, Limit: 9}
		equal(t, "a page", read(t, h, "r", q), "gap expired", "kept")
		if gap := page(t, h, "r", q).Gap; gap.From != before || gap.To != lost {
			t.Errorf("the gap %+v, want one to %v", gap, lost)
		}
		equal(t, "a session", drain(t, member(t, h, "r", hub.Start{After: before})), "gap expired", "kept")
	})
}

// A message that expires by its own TTL leaves no gap, wherever it was stored.
func TestExpiryAfterTheWindowIsNoGap(t *testing.T) {
	bubble(t, configured(keeping(0, 0)), func(t *testing.T, h *hub.Hub) {
		before := tail(t, h, "r")
		s := member(t, h, "live", hub.Start{})
		for _, room := range []string{"r", "live"} {
			send(t, h, hub.Publication{Room: room, Data: []byte("short"), TTL: time.Second})
			send(t, h, hub.Publication{Room: room, Data: []byte("long"), TTL: time.Minute})
		}
		publish(t, h, "live", count(1, 63)...)
		advance(window)
		q := hub.Query{After: before, Limit: 9}
		equal(t, "too early", read(t, h, "r", q), "gap expired")
		advance(time.Minute)
		equal(t, "a page", read(t, h, "r", q))
		equal(t, "a session", drain(t, member(t, h, "r", hub.Start{After: before})))
		publish(t, h, "live", "64") // trims the window
		equal(t, "who was there", drain(t, s), count(1, 64)...)
	})
}

// A message that has expired by its own TTL leaves no gap either if its room was forgotten
// and made again, before or after it expired, and only the window has what came since.
func TestExpiryInAForgottenRoomIsNoGap(t *testing.T) {
	for name, wait := range map[string]time.Duration{"made again before": 0, "made again after": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(keeping(1, 0), func(s *settings.Settings) { s.MaxRooms = 1 }), func(t *testing.T, h *hub.Hub) {
				seen := publish(t, h, "r", "seen").Position
				send(t, h, hub.Publication{Room: "r", Data: []byte("brief"), TTL: 5 * time.Second})
				publish(t, h, "other", "r makes way")
				advance(wait)
				publish(t, h, "r", "1", "2")
				q := hub.Query{After: seen, Limit: 9}
				if wait == 0 {
					equal(t, "while something is missing", read(t, h, "r", q), "gap expired", "1", "2")
				}
				advance(5 * time.Second)
				equal(t, "a page", read(t, h, "r", q), "1", "2")
				equal(t, "a session", drain(t, member(t, h, "r", hub.Start{After: seen})), "1", "2")
			})
		})
	}
}

// A reader that came to a room before its first message has a cursor at which nothing is missing.
func TestCursorOfAnUnusedRoom(t *testing.T) {
	bubble(t, configured(keeping(1, 0)), func(t *testing.T, h *hub.Hub) {
		begin := page(t, h, "r", hub.Query{InvalidCursor: true}).Gap.To
		publish(t, h, "r", "1", "2")
		equal(t, "a page", read(t, h, "r", hub.Query{After: begin, Limit: 9}), "1", "2")
		equal(t, "a session", drain(t, member(t, h, "r", hub.Start{After: begin})), "1", "2")
	})
}

// The answers to cursors in a room that was forgotten, and in rooms that never existed.
func TestCursorsOfAForgottenRoom(t *testing.T) {
	for _, again := range []bool{false, true} {
		bubble(t, configured(keeping(10, time.Minute)), func(t *testing.T, h *hub.Hub) {
			before := tail(t, h, "r")
			first := publish(t, h, "r", "1").Position
			last := publish(t, h, "r", "2").Position
			advance(2 * time.Minute)
			if n := h.Stats().Rooms; n != 0 {
				t.Fatalf("%d rooms are left", n)
			}
			after := tail(t, h, "r")
			var fresh []string
			if again {
				fresh = []string{"3"}
				publish(t, h, "r", fresh...)
			}
			tests := []struct {
				name string
				at   hub.Query
				gap  string
			}{
				{"below all", hub.Query{After: before}, "gap expired"},
				{"below the last", hub.Query{After: first}, "gap expired"},
				{"at the last", hub.Query{After: last}, ""},
				{"above the last", hub.Query{After: after}, ""},
				{"in the future", hub.Query{After: hub.Position{Epoch: last.Epoch, Offset: last.Offset + 1e12}}, "gap epoch"},
				{"of another epoch", hub.Query{After: hub.Position{Epoch: "x", Offset: last.Offset}}, "gap epoch"},
				{"foreign", hub.Query{InvalidCursor: true}, "gap epoch"},
			}
			for _, test := range tests {
				want := fresh
				if test.gap != "" {
					want = append([]string{test.gap}, fresh...)
				}
				test.at.Limit = 9
				equal(t, test.name+", page", read(t, h, "r", test.at), want...)
				s := connect(t, h, hub.Client{})
				joined := join(t, s, "r", hub.Start{After: test.at.After, InvalidCursor: test.at.InvalidCursor})
				if (joined.Gap != nil) != (test.gap != "") {
					t.Errorf("%s: joined with the gap %+v", test.name, joined.Gap)
				}
				if !test.at.InvalidCursor && joined.Cursor != test.at.After {
					t.Errorf("%s: joined at %v: who drops now must be told again", test.name, joined.Cursor)
				}
				equal(t, test.name+", session", drain(t, s), want...)
				s.End(hub.CauseLeft)
			}
		})
	}
}

func TestStart(t *testing.T) {
	bubble(t, configured(keeping(5, 0)), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", "1", "2")
		third := publish(t, h, "r", "3").Position
		publish(t, h, "r", "4")
		advance(window)
		fifth := publish(t, h, "r", "5").Position
		publish(t, h, "r", "6")
		tests := []struct {
			name  string
			start hub.Start
			want  []string
		}{
			{"now", hub.Start{}, nil},
			{"the last two", hub.Start{Last: 2}, []string{"5", "6"}},
			{"more than there are", hub.Start{Last: 50}, count(2, 6)},
			{"the newest", hub.Start{Age: time.Second}, []string{"5", "6"}},
			{"no older than an hour", hub.Start{Age: time.Hour}, count(2, 6)},
			{"after a cursor", hub.Start{After: fifth, Last: 5}, []string{"6"}},
			{"after a cursor before the window", hub.Start{After: third, Last: 5}, []string{"4", "5", "6"}},
			{"foreign", hub.Start{InvalidCursor: true}, append([]string{"gap epoch"}, count(2, 6)...)},
		}
		for _, test := range tests {
			s := member(t, h, "r", test.start)
			equal(t, test.name, drain(t, s), test.want...)
			s.End(hub.CauseLeft)
		}
	})
}

// A client with an old cursor has missed nothing of a room that was made anew.
func TestResumeInAFreshRoom(t *testing.T) {
	tests := []struct {
		name  string
		start func(old hub.Position) hub.Start
		want  []string
	}{
		{"an old cursor", func(old hub.Position) hub.Start { return hub.Start{After: old} }, []string{"1", "2"}},
		{"a foreign cursor", func(hub.Position) hub.Start { return hub.Start{InvalidCursor: true} }, []string{"gap epoch", "1", "2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(keeping(0, 0)), func(t *testing.T, h *hub.Hub) {
				old := tail(t, h, "r")
				publish(t, h, "elsewhere", "x")
				s := member(t, h, "r", test.start(old))
				publish(t, h, "r", "1", "2")
				equal(t, "told", drain(t, s), test.want...)
			})
		})
	}
}
