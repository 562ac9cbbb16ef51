package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// declaring returns a change of settings: the patterns of declared rooms.
func declaring(patterns ...string) func(*settings.Settings) {
	return func(s *settings.Settings) {
		for _, p := range patterns {
			if strings.Contains(p, "{user}") {
				s.Owned = append(s.Owned, p)
			} else {
				s.Rooms = append(s.Rooms, settings.RoomRule{Pattern: p})
			}
		}
	}
}

// onlyDeclaring does so, and leaves no other rooms.
func onlyDeclaring(patterns ...string) func(*settings.Settings) {
	return func(s *settings.Settings) {
		declaring(patterns...)(s)
		s.OnlyDeclared = true
	}
}

// engines are those on which rooms make way in the same order: one that keeps its logs in this
// process, and one whose logs outlive the hub.
var engines = map[string]func() hub.Engine{
	"in this process": func() hub.Engine { return hub.NewMemory() },
	"elsewhere":       func() hub.Engine { return remote{hub.NewMemory()} },
}

// The rooms that strangers make are replaced by those that strangers make, and declared ones only
// where there is no other; among themselves by use.
func TestDeclaredRoomsMakeWayLast(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, inBubble(func(t *testing.T) {
			h := newHubOn(t, engine(), configured(func(s *settings.Settings) { s.MaxRooms = 5 }, declaring("*", "blog/*", "dm/{user}")))
			use := func(rooms ...string) {
				for _, room := range rooms {
					publish(t, h, room, room)
					advance(time.Millisecond)
				}
			}
			there := func(when string, want ...string) {
				t.Helper()
				if h.Stats().Rooms != 5 {
					t.Errorf("%s: %d rooms", when, h.Stats().Rooms)
				}
				for _, room := range want {
					if !h.Knows(room) {
						t.Errorf("%s: %s has made way", when, room)
					}
				}
			}
			use("blog/1", "dm/ann", "blog/2", "a", "b", "c")
			there("one is over", "blog/1", "dm/ann", "blog/2", "b", "c")
			for i := range 60 {
				use(fmt.Sprint("new", i))
			}
			there("after a flood", "blog/1", "dm/ann", "blog/2", "new58", "new59")
			member(t, h, "new58", hub.Start{})
			use("d", "e")
			there("one is occupied", "blog/1", "dm/ann", "blog/2", "new58", "e")
			member(t, h, "e", hub.Start{})
			use("blog/1", "f")
			there("all others are occupied", "blog/1", "blog/2", "new58", "e", "f")
			use("blog/3")
			there("a declared one comes", "blog/1", "blog/2", "new58", "e", "blog/3")
			member(t, h, "blog/1", hub.Start{})
			use("blog/4")
			there("there are only declared ones", "blog/1", "blog/3", "new58", "e", "blog/4")
		}))
	}
}

// The quota of all rooms takes declared ones last, too. That of a block is about its own rooms.
func TestQuotasAndDeclaredRooms(t *testing.T) {
	change := configured(quoted(
		settings.RoomRule{Pattern: "*", MaxRooms: new(3)},
		settings.RoomRule{Pattern: "blog/*"},
		settings.RoomRule{Pattern: "shop/*", MaxRooms: new(2)},
		settings.RoomRule{Pattern: "shop/1"},
	))
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		for _, room := range []string{"blog/1", "shop/1", "a", "b", "c", "d", "shop/2", "shop/3"} {
			publish(t, h, room, room)
			advance(time.Millisecond)
		}
		for room, there := range map[string]bool{"blog/1": true, "a": false, "b": false, "c": true, "d": true, "shop/1": false, "shop/2": true, "shop/3": true} {
			if h.Knows(room) != there {
				t.Errorf("%s is there: %v, want %v", room, !there, there)
			}
		}
	})
}

// The messages of declared rooms go last, be it the memory of the hub that is full or the quota of
// all rooms; by age among themselves.
func TestMessagesOfDeclaredRoomsGoLast(t *testing.T) {
	const memory = 100_000
	for name, change := range map[string]func(*settings.Settings){
		"of the hub":     func(s *settings.Settings) { s.HistoryMemory = memory },
		"of all rooms":   quoted(settings.RoomRule{Pattern: "*", HistoryMemory: new(memory)}),
		"after a reload": nil,
	} {
		t.Run(name, func(t *testing.T) {
			open := []func(*settings.Settings){keeping(settings.Off, 0), func(s *settings.Settings) { s.MaxMessageSize = 1000 }}
			start := configured(open...)
			if change != nil {
				start = configured(append(open, change, declaring("blog/*", "dm/{user}"))...)
			}
			bubble(t, start, func(t *testing.T, h *hub.Hub) {
				publish(t, h, "blog/1", count(1, 100)...)
				publish(t, h, "dm/ann", count(1, 50)...)
				flood := func() {
					for i := range 300 {
						publish(t, h, fmt.Sprint("new", i), strings.Repeat("x", 900))
						send(t, h, hub.Publication{Room: "new", Signal: true, Data: make([]byte, 900)})
					}
				}
				flood()
				if change == nil {
					if err := h.Configure(configured(append(open, func(s *settings.Settings) { s.HistoryMemory = memory }, declaring("blog/*", "dm/{user}"))...)); err != nil {
						t.Fatal(err)
					}
				}
				flood()
				equal(t, "a declared room", history(t, h, "blog/1"), count(1, 100)...)
				equal(t, "a user's room", history(t, h, "dm/ann"), count(1, 50)...)
				if last := history(t, h, "new299"); len(last) == 0 || h.Stats().Bytes > memory {
					t.Errorf("the last message of others is %q, %d bytes are kept", last, h.Stats().Bytes)
				}
				if err := h.Check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Where declared rooms take all of the memory, what is published elsewhere still reaches those
// who listen, and takes a sixteenth.
func TestOtherRoomsBesideFullDeclaredOnes(t *testing.T) {
	const memory = 160_000
	change := configured(keeping(settings.Off, 0), declaring("blog/*"), func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = memory, 1000 })
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		text := strings.Repeat("x", 600) // a thousand bytes with what is charged beside it
		for range 200 {
			publish(t, h, "blog/1", text)
		}
		s := member(t, h, "chat", hub.Start{})
		for range 10 {
			publish(t, h, "chat", count(1, 9)...)
			equal(t, "a listener hears", drain(t, s), count(1, 9)...)
		}
		for i := range 100 {
			publish(t, h, fmt.Sprint("new", i), text)
		}
		if n := len(history(t, h, "blog/1")); n < 140 {
			t.Errorf("%d messages of the declared room are left", n)
		}
		// One alone is kept, however large it is: it has not been read yet.
		if err := h.Configure(configured(keeping(settings.Off, 0), declaring("blog/*"), func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = 10_000, 1000 })); err != nil {
			t.Fatal(err)
		}
		late := member(t, h, "chat", hub.Start{})
		publish(t, h, "chat", text)
		equal(t, "a large message", drain(t, late), text)
	})
}

// logText is the text of a log to which the hub's own goroutines write, too.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what has been written since it was called last.
func (l *logText) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// Other rooms do not keep their sixteenth for ever: within it their messages go by age, as all do.
func TestOldMessagesOfOtherRoomsGo(t *testing.T) {
	const memory = 160_000
	change := configured(keeping(settings.Off, 0), declaring("blog/*"), func(s *settings.Settings) { s.HistoryMemory, s.MaxMessageSize = memory, 1000 })
	bubble(t, change, func(t *testing.T, h *hub.Hub) {
		text := strings.Repeat("x", 600)
		publish(t, h, "blog/1", "oldest")
		publish(t, h, "chat", count(1, 5)...)
		for range 200 {
			publish(t, h, "blog/2", text)
		}
		equal(t, "a declared room", history(t, h, "blog/1"))
		equal(t, "another room", history(t, h, "chat"))
		if n := len(history(t, h, "blog/2")); n < 140 {
			t.Errorf("%d of the newest messages are left", n)
		}
	})
}

// A declared room that makes way with its history is a line in the log, at most once a minute, which
// says how many more there were. Where the log outlives the hub nothing is lost, and nothing logged.
func TestDeparturesAreLogged(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, inBubble(func(t *testing.T) {
			h := newHubOn(t, engine(), configured(func(s *settings.Settings) { s.MaxRooms = 2 }, declaring("blog/*")))
			out := new(logText)
			h.SetLogger(slog.New(slog.NewTextHandler(out, nil)))
			logged := func(when string, want ...string) {
				t.Helper()
				if name == "elsewhere" {
					want = nil
				}
				var got []string
				for line := range strings.Lines(out.take()) {
					_, attributes, _ := strings.Cut(line, "room=")
					room, _, _ := strings.Cut(attributes, " hint=")
					got = append(got, room)
				}
				equal(t, when, got, want...)
			}
			publish(t, h, "new", "x")
			for i := range 3 {
				publish(t, h, fmt.Sprint("other", i), "x")
				advance(time.Millisecond)
			}
			logged("others")
			send(t, h, hub.Publication{Room: "blog/empty", Signal: true})
			advance(time.Millisecond)
			publish(t, h, "blog/0", "x") // in place of the last one that is not declared
			advance(time.Millisecond)
			publish(t, h, "blog/1", "x")
			logged("an empty one")
			for i := range 5 {
				advance(time.Millisecond)
				publish(t, h, fmt.Sprint("blog/", i+2), "x")
			}
			logged("the first", "blog/0 more=0")
			advance(50 * time.Second)
			logged("within a minute")
			advance(15 * time.Second)
			logged("after it", "blog/4 more=3")
			advance(time.Hour)
			logged("when all was said")
			publish(t, h, "blog/x", "x")
			logged("later", "blog/5 more=0")
		}))
	}
}

// Who is in a room that does not exist any more is told, or ends; nobody else notices. What the room
// has kept is there again when the room is.
func TestRoomsThatAreNotDeclaredEnd(t *testing.T) {
	tell := func(r hub.Change) []byte { return fmt.Appendf(nil, "%s %v", r.Room, r.Left) }
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		several := connect(t, h, hub.Client{Tell: tell})
		join(t, several, "news", hub.Start{})
		join(t, several, "chat", hub.Start{})
		bound := connect(t, h, hub.Client{Bound: true})
		join(t, bound, "chat", hub.Start{})
		other := connect(t, h, hub.Client{Bound: true})
		join(t, other, "news", hub.Start{})
		publish(t, h, "chat", "before")
		for range 2 { // the second changes nothing
			if err := h.Configure(configured(onlyDeclaring("news", "dm/{user}"))); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, h, "news", "after")
		equal(t, "in several rooms", drain(t, several), "notice chat no_room", "after")
		equal(t, "in another room", drain(t, other), "after")
		if bound.Ended() != hub.CauseNoRoom || h.SubscriberCount("chat") > 0 {
			t.Errorf("a session of the room alone ends by %v, %d are left", bound.Ended(), h.SubscriberCount("chat"))
		}
		if _, err := several.Subscribe(t.Context(), "chat", hub.Start{}); !errors.Is(err, hub.ErrNoRoom) {
			t.Errorf("coming back: %v", err)
		}
		join(t, several, "dm/ann", hub.Start{})
		if err := h.Configure(configured(onlyDeclaring("news", "chat"))); err != nil {
			t.Fatal(err)
		}
		equal(t, "others are declared", drain(t, several), "notice dm/ann no_room")
		join(t, several, "chat", hub.Start{})
		if err := h.Configure(configured()); err != nil {
			t.Fatal(err)
		}
		join(t, several, "dm/ann", hub.Start{})
		equal(t, "when any name is a room again", history(t, h, "chat"), "before")
		equal(t, "nothing is told", drain(t, several))
	})
}

// A room may cease to exist while a session subscribes to it.
func TestConfigureAmidASubscription(t *testing.T) {
	e, h := newFake(t, configured())
	e.subscribe = func(context.Context) error { return h.Configure(configured(onlyDeclaring("news"))) }
	s := connect(t, h, hub.Client{})
	if _, err := s.Subscribe(t.Context(), "r", hub.Start{}); !errors.Is(err, hub.ErrNoRoom) {
		t.Errorf("subscribing: %v", err)
	}
	if n := h.SubscriberCount("r"); n > 0 || s.Ended() != 0 {
		t.Errorf("%d are in the room; the session has ended by %v", n, s.Ended())
	}
}

// After Configure has returned nobody is in a room that does not exist, whoever comes meanwhile.
func TestConfigureBesideSubscribers(t *testing.T) {
	configure := func(h *hub.Hub, s *settings.Settings) {
		if err := h.Configure(s); err != nil {
			t.Error(err)
		}
	}
	besideSubscribers(t,
		func(h *hub.Hub) { configure(h, configured(onlyDeclaring("news"))) },
		func(h *hub.Hub) { configure(h, configured()) })
}
