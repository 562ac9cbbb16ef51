package names_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub/names"
)

func TestCheckRoomName(t *testing.T) {
	for _, good := range []string{
		"a", "lobby", "a/b/c", "-", "-a", "a/-/b", "...", "a..b", ".well-known/x", "日本語", "a b", "a+b", "a%2Fb", "a*", "*",
		strings.Repeat("x", 200), "\u00a0", "\ufffd", "café", "?#&=",
	} {
		if err := names.CheckRoom(good); err != nil {
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
		if err := names.CheckRoom(bad); !errors.Is(err, names.ErrRoom) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: error %v, want one about %q", bad, err, rule)
		}
	}
}

func TestCheckEventName(t *testing.T) {
	for _, good := range []string{"", "message", "order", "a.b:c-d_E9", "Open", "errors", strings.Repeat("x", 64)} {
		if err := names.CheckEvent(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad := range strings.FieldsSeq("open error ok ready left state gap presence signal edit retract bye auth can clear held lock a/b é a=b " + strings.Repeat("x", 65)) {
		if err := names.CheckEvent(bad); !errors.Is(err, names.ErrEvent) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"a b", "a\n", "\x00", "a\r\nid: 1"} {
		if err := names.CheckEvent(bad); !errors.Is(err, names.ErrEvent) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzCheckRoomName(f *testing.F) {
	for _, s := range []string{"", "a", "a/b", "a//b", "../x", "-/x", "\x00", "\u0085", "\xff", strings.Repeat("x", 201), "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := names.CheckRoom(s); err != nil {
			if !errors.Is(err, names.ErrRoom) || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\r\n") {
				t.Errorf("%q: %q", s, err)
			}
			return
		}
		if s == "" || len(s) > names.MaxRoom || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\x7f") ||
			strings.Contains("/"+s+"/", "//") || strings.Contains("/"+s+"/", "/../") || strings.Contains("/"+s+"/", "/./") || strings.HasPrefix(s, "-/") {
			t.Errorf("%q passes", s)
		}
	})
}
