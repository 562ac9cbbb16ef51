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
