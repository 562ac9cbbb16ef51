package settings_test

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

func TestCheckPattern(t *testing.T) {
	for _, good := range []string{"a", "*", "a*", "a/*", "a/b*", "-*", ".*", "a/.*", "a/..*", "日本*", strings.Repeat("x", 199) + "*"} {
		if err := settings.CheckPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "**", "a*b", "*a", "a**", "/*", "a//*", "-/*", "-/a", "a/", "../*", "a/./*", "\x00*", "\xff*", strings.Repeat("x", 201)} {
		if err := settings.CheckPattern(bad); err == nil || !strings.Contains(err.Error(), "room pattern") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A pattern that passes matches what it says: the room that is named like it,
// or that begins with it.
func FuzzPattern(f *testing.F) {
	f.Add("a*", "ab")
	f.Add("a", "a")
	f.Add("*", "x/y")
	f.Add("a/..*", "a/..b")
	f.Add("a**", "a*")
	f.Add("-/*", "-/x")
	f.Fuzz(func(t *testing.T, pattern, room string) {
		if settings.CheckPattern(pattern) != nil {
			return
		}
		prefix, star := strings.CutSuffix(pattern, "*")
		if !star && names.CheckRoom(pattern) != nil {
			t.Errorf("%q passes, and no room can be called so", pattern)
		}
		if names.CheckRoom(room) != nil {
			return
		}
		limit := settings.DefaultMaxMessageSize
		s := settings.Defaults()
		s.Rooms = []settings.RoomRule{{Pattern: pattern, MaxMessageSize: new(1)}}
		want := limit
		if room == pattern || star && strings.HasPrefix(room, prefix) {
			want = 1
		}
		if got := s.Policy(room).MaxMessageSize; got != want {
			t.Errorf("pattern %q: room %q has the limit %d, want %d", pattern, room, got, want)
		}
	})
}

// The most specific rule that has a quota has it alone; off excepts from the others.
func TestQuotas(t *testing.T) {
	s := settings.Defaults()
	s.Rooms = []settings.RoomRule{
		{Pattern: "*", MaxRooms: new(1)},
		{Pattern: "a/*", HistoryMemory: new(1 << 20)},
		{Pattern: "a/b*", MaxRooms: new(2)},
		{Pattern: "a/bc", MaxRooms: new(settings.Off)},
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]settings.Quota{"x": {"*", 1}, "a/x": {"*", 1}, "a/b": {"a/b*", 2}, "a/bcd": {"a/b*", 2}, "a/bc": {}} {
		if got := s.RoomsQuota(room); got != want {
			t.Errorf("%s counts in %v, want %v", room, got, want)
		}
	}
	for room, want := range map[string]settings.Quota{"x": {}, "a/x": {"a/*", 1 << 20}, "a/bc": {"a/*", 1 << 20}} {
		if got := s.MemoryQuota(room); got != want {
			t.Errorf("%s is charged to %v, want %v", room, got, want)
		}
	}
}

// A message that its room could not keep is refused when it is configured, whichever rule says
// how large it may be.
func TestQuotasThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		says  string
		rules []settings.RoomRule
	}{
		{"max_rooms", []settings.RoomRule{{Pattern: "a", MaxRooms: new(0)}}},
		{"max_members", []settings.RoomRule{{Pattern: "a", MaxMembers: new(-1)}}},
		{"history_memory", []settings.RoomRule{{Pattern: "a", HistoryMemory: new(0)}}},
		{"history_memory 100", []settings.RoomRule{{Pattern: "a", HistoryMemory: new(100)}}},
		{"history_memory 100", []settings.RoomRule{{Pattern: "*", HistoryMemory: new(100), MaxMessageSize: new(100)}, {Pattern: "a", MaxMessageSize: new(101)}}},
		{"history_memory 100", []settings.RoomRule{{Pattern: "a*", HistoryMemory: new(100)}, {Pattern: "a", MaxMessageSize: new(10)}}},
		{"", []settings.RoomRule{{Pattern: "*", MaxMessageSize: new(100)}, {Pattern: "a*", HistoryMemory: new(100)}}},
	} {
		s := settings.Defaults()
		s.Rooms = test.rules
		err := s.Check()
		if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v", test.says, err)
		}
	}
}

// A pattern declares its rooms, and "*" none.
func TestDeclared(t *testing.T) {
	s := settings.Defaults()
	s.Rooms = []settings.RoomRule{{Pattern: "*"}}
	if s.Declares() || s.Declared("news") {
		t.Error("* declares rooms")
	}
	s.Rooms = append(s.Rooms, settings.RoomRule{Pattern: "news"}, settings.RoomRule{Pattern: "blog/*"})
	s.Owned = []string{"dm/{user}", "desk/{user}/in", "team/{user}/*"}
	if !s.Declares() {
		t.Error("nothing is declared")
	}
	for room, want := range map[string]bool{
		"news": true, "news/1": false, "new": false, "blog": false, "blog/1": true, "blog/1/2": true,
		"dm": false, "dm/ann": true, "dm/ann/1": false, "DM/ann": false,
		"desk/ann": false, "desk/ann/in": true, "desk/ann/in/1": false, "desk/ann/out": false, "desk/ann/x/in": false,
		"team/ann": false, "team/ann/1": true, "team/ann/1/2": true, "other": false,
	} {
		if got := s.Declared(room); got != want {
			t.Errorf("%s is declared: %v", room, got)
		}
	}
}

// Where only declared rooms exist, there are some that do and some that do not.
func TestOnlyDeclared(t *testing.T) {
	for name, test := range map[string]struct {
		patterns, owned []string
		says            string // a part of the error; empty: none
	}{
		"a room":      {[]string{"news"}, nil, ""},
		"users' ones": {nil, []string{"dm/{user}"}, ""},
		"none":        {nil, nil, "needs a room block"},
		"all":         {[]string{"news", "*"}, nil, "beside room *"},
		"all alone":   {[]string{"*"}, nil, "beside room *"},
	} {
		s := settings.Defaults()
		s.OnlyDeclared, s.Owned = true, test.owned
		for _, p := range test.patterns {
			s.Rooms = append(s.Rooms, settings.RoomRule{Pattern: p})
		}
		err := s.Check()
		if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && s.Exists("other") {
			t.Errorf("%s: another room exists", name)
		}
		if s.OnlyDeclared = false; !s.Exists("other") {
			t.Errorf("%s: another room does not exist, although any name is a room", name)
		}
	}
}
