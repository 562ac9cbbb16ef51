package hub_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
)

func TestParsePosition(t *testing.T) {
	for text, want := range map[string]hub.Position{
		"k3f9.1042":                     {Epoch: "k3f9", Offset: 1042},
		"a.0":                           {Epoch: "a"},
		"A-z_9.18446744073709551615":    {Epoch: "A-z_9", Offset: 1<<64 - 1},
		strings.Repeat("e", 32) + ".10": {Epoch: strings.Repeat("e", 32), Offset: 10},
	} {
		if got, err := hub.ParsePosition(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if want.String() != text || want.IsZero() {
			t.Errorf("%+v is written %q, want %q", want, want, text)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "no dot": "k3f9", "no epoch": ".1", "no offset": "k3f9.", "sign": "k3f9.+1", "minus": "k3f9.-1",
		"leading zero": "k3f9.01", "two zeros": "k3f9.00", "underscore": "k3f9.1_0", "hex": "k3f9.0x1", "space": "k3f9. 1",
		"space after": "k3f9.1 ", "two dots": "k3f9.1.2", "overflow": "k3f9.18446744073709551616", "epoch of 33": strings.Repeat("e", 33) + ".1",
		"epoch with a space": "k 9.1", "not ASCII": "é.1", "separators of vectors": "a=b.1", "newline": "a\n.1", "NUL": "\x00.1",
	} {
		if got, err := hub.ParsePosition(text); !errors.Is(err, hub.ErrPosition) || !got.IsZero() {
			t.Errorf("%s: %q gives %+v, %v", name, text, got, err)
		}
	}
	if zero := (hub.Position{}); zero.String() != "" || !zero.IsZero() {
		t.Errorf("no place is written %q", zero)
	}
}

func TestCheckRoomName(t *testing.T) {
	for _, good := range []string{
		"a", "lobby", "a/b/c", "-", "-a", "a/-/b", "...", "a..b", ".well-known/x", "日本語", "a b", "a+b", "a%2Fb", "a*", "*",
		strings.Repeat("x", 200), "\u00a0", "\ufffd", "café", "?#&=",
	} {
		if err := hub.CheckRoomName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, rule := range map[string]string{
		"": "empty", "/": "empty segment", "/a": "empty segment", "a/": "empty segment", "a//b": "empty segment",
		".": `segment "."`, "..": `segment ".."`, "a/../b": `segment ".."`, "a/.": `segment "."`,
		"-/": "reserved", "-/realtime.js": "reserved",
		"a\x00": "control character U+0000", "a\nb": "control character U+000A", "\x7f": "U+007F", "\u0085": "U+0085", "\u009f": "U+009F",
		"\xff": "not UTF-8", "a\xc3": "not UTF-8", strings.Repeat("x", 201): "201 bytes", strings.Repeat("é", 101): "202 bytes",
	} {
		if err := hub.CheckRoomName(bad); !errors.Is(err, hub.ErrRoomName) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: error %v, want one about %q", bad, err, rule)
		}
	}
}

func TestCheckEventName(t *testing.T) {
	for _, good := range []string{"", "message", "order", "a.b:c-d_E9", "Open", "errors", strings.Repeat("x", 64)} {
		if err := hub.CheckEventName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad := range strings.FieldsSeq("open error ok ready left state gap presence signal edit retract bye a/b é a=b " + strings.Repeat("x", 65)) {
		if err := hub.CheckEventName(bad); !errors.Is(err, hub.ErrEventName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"a b", "a\n", "\x00", "a\r\nid: 1"} {
		if err := hub.CheckEventName(bad); !errors.Is(err, hub.ErrEventName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Bad names are refused wherever they come in.
func TestBadNamesAreRefused(t *testing.T) {
	bubble(t, settings(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		if _, err := s.Subscribe(t.Context(), "a//b", hub.Start{}); !errors.Is(err, hub.ErrRoomName) {
			t.Errorf("joining: %v", err)
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a//b"}); !errors.Is(err, hub.ErrRoomName) {
			t.Errorf("publishing: %v", err)
		}
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "a", Event: "gap"}); !errors.Is(err, hub.ErrEventName) {
			t.Errorf("publishing an event: %v", err)
		}
		if n := h.Stats().Rooms; n != 0 {
			t.Errorf("%d rooms", n)
		}
	})
}

func TestCheckPattern(t *testing.T) {
	for _, good := range []string{"a", "*", "a*", "a/*", "a/b*", "-*", ".*", "a/.*", "a/..*", "日本*", strings.Repeat("x", 199) + "*"} {
		if err := hub.CheckPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "**", "a*b", "*a", "a**", "/*", "a//*", "-/*", "-/a", "a/", "../*", "a/./*", "\x00*", "\xff*", strings.Repeat("x", 201)} {
		if err := hub.CheckPattern(bad); err == nil || !strings.Contains(err.Error(), "room pattern") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"k3f9.1042", "a.0", "a.00", ".1", "a.", "a.+1", "a.18446744073709551616", "-_.7", "é.1", "a.1.2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := hub.ParsePosition(s)
		if err != nil {
			if !errors.Is(err, hub.ErrPosition) || p != (hub.Position{}) {
				t.Errorf("%q: %+v, %v", s, p, err)
			}
			return
		}
		if p.String() != s || p.IsZero() {
			t.Errorf("%q is written %q", s, p)
		}
	})
}

func FuzzCheckRoomName(f *testing.F) {
	for _, s := range []string{"", "a", "a/b", "a//b", "../x", "-/x", "\x00", "\u0085", "\xff", strings.Repeat("x", 201), "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := hub.CheckRoomName(s); err != nil {
			if !errors.Is(err, hub.ErrRoomName) || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\r\n") {
				t.Errorf("%q: %q", s, err)
			}
			return
		}
		if s == "" || len(s) > hub.MaxRoomName || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\x7f") ||
			strings.Contains("/"+s+"/", "//") || strings.Contains("/"+s+"/", "/../") || strings.Contains("/"+s+"/", "/./") || strings.HasPrefix(s, "-/") {
			t.Errorf("%q passes", s)
		}
	})
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
		if hub.CheckPattern(pattern) != nil {
			return
		}
		prefix, star := strings.CutSuffix(pattern, "*")
		if !star && hub.CheckRoomName(pattern) != nil {
			t.Errorf("%q passes, and no room can be called so", pattern)
		}
		if hub.CheckRoomName(room) != nil {
			return
		}
		limit := hub.DefaultMaxMessageSize
		s := settings()
		s.Rooms = []hub.RoomRule{{Pattern: pattern, MaxMessageSize: new(1)}}
		want := limit
		if room == pattern || star && strings.HasPrefix(room, prefix) {
			want = 1
		}
		if got := s.MaxMessageSizeOf(room); got != want {
			t.Errorf("pattern %q: room %q has the limit %d, want %d", pattern, room, got, want)
		}
	})
}
