package names_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/caddy-realtime/realtime/hub/names"
)

func TestCheckRoomName(t *testing.T) {
	for _, good := range []string{
		"a", "lobby", "a/b/c", "-", "-a", "a/-/b", "...", "a..b", ".well-known/x", "日本語", "a b", "a+b", "a%2Fb", "~a",
		strings.Repeat("x", 200), "\u00a0", "\ufffd", "caf\u00e9", "?#&=", "\uac01", "\U0001f600", "e\u0332", "\u05e9\u05c1",
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
		"a*": `"*"`, "*": `"*"`, "a*b": `"*"`, "{user}": `"{"`, "a}": `"}"`,
		"cafe\u0301": "normalization form C", "\u1100\u1161\u11a8": "normalization form C", "\u212b": "normalization form C",
		"q\u0307\u0323": "normalization form C", "\ufb2a": "normalization form C",
		"a\u00ad": "format character U+00AD", "a\u200b": "format character U+200B", "a\u200d": "U+200D", "\ufeffa": "U+FEFF",
		"\u202ea": "U+202E", "a\u2066": "U+2066", "a\u061c": "U+061C", "a\U000e0041": "U+E0041", "a\u2060": "U+2060",
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
		if s == "" || len(s) > names.MaxRoom || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\x7f*{}") ||
			strings.Contains("/"+s+"/", "//") || strings.Contains("/"+s+"/", "/../") || strings.Contains("/"+s+"/", "/./") || strings.HasPrefix(s, "-/") {
			t.Errorf("%q passes", s)
		}
		if norm.NFC.String(s) != s || strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf) }) {
			t.Errorf("%q passes, and looks like %q", s, norm.NFC.String(s))
		}
	})
}

// Of the names that look alike one passes, whatever the encoding.
func TestOneNameOfThoseThatLookAlike(t *testing.T) {
	for _, name := range []string{"café", "Åse", "각", "ộ"} {
		passes := 0
		for _, form := range []string{norm.NFC.String(name), norm.NFD.String(name), norm.NFC.String(name) + "\u200b", "\u202a" + name + "\u202c"} {
			if names.CheckRoom(form) == nil {
				passes++
			}
		}
		if passes != 1 {
			t.Errorf("%d names pass that look like %q", passes, name)
		}
	}
}

// What a room's name costs each call of a client.
func BenchmarkCheckRoom(b *testing.B) {
	for _, name := range []string{"lobby", "orders/2026/november/customer-4711", "日本語/部屋"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := names.CheckRoom(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCheckRoomDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"lobby", "orders/2026/november/customer-4711", "日本語/部屋"} {
		if n := testing.AllocsPerRun(100, func() { _ = names.CheckRoom(name) }); n != 0 {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}
