package guest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/access/guest"
)

var (
	key = [32]byte{1}
	old = [32]byte{2}
)

func TestGuestIsKnownAgain(t *testing.T) {
	for _, name := range []string{"", "Ann", "日本語", strings.Repeat("😀", guest.MaxName)} {
		g := guest.New()
		g.Name = name
		for k, current := range map[[32]byte]bool{key: true, old: false} {
			got, is, err := guest.Verify([][32]byte{key, old}, guest.Sign(k, g))
			if got != g || is != current || err != nil {
				t.Errorf("%q: %+v, %v, %v", name, got, is, err)
			}
		}
		if c := (&http.Cookie{Name: "x", Value: guest.Sign(key, g)}); c.Valid() != nil || strings.Contains(c.String(), `"`) {
			t.Errorf("%s is no cookie: %v", c, c.Valid())
		}
	}
	if a, b := guest.New(), guest.New(); a == b || len(a.WireID()) != 24 || !strings.HasPrefix(a.WireID(), "~g") {
		t.Errorf("%q and %q", a.WireID(), b.WireID())
	}
}

func TestAlteredCookieIsNoGuest(t *testing.T) {
	g := guest.New()
	g.Name = "Ann"
	text := guest.Sign(key, g)
	for i := range text {
		for _, c := range []byte("Aa0._-=\n") {
			altered := text[:i] + string(c) + text[i+1:]
			if got, _, err := guest.Verify([][32]byte{key}, altered); altered != text && !errors.Is(err, guest.ErrInvalid) {
				t.Fatalf("byte %d may be %q: %+v, %v", i, c, got, err)
			}
		}
	}
	for what, altered := range map[string]string{"empty": "", "longer": text + "A", "cut": text[:len(text)-1], "another key": guest.Sign([32]byte{3}, g), "dots": "g1...", "a short id": guest.Sign(key, guest.Guest{ID: "AAAA"})} {
		if _, _, err := guest.Verify([][32]byte{key, old}, altered); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := guest.Verify(nil, text); !errors.Is(err, guest.ErrInvalid) {
		t.Errorf("no keys: %v", err)
	}
}

// A name that may not be chosen any more does not cost the guest its id.
func TestNameOfACookieIsChecked(t *testing.T) {
	g := guest.New()
	g.Name = "admin\u202e"
	got, _, err := guest.Verify([][32]byte{key}, guest.Sign(key, g))
	if err != nil || got.ID != g.ID || got.Name != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestChosenNames(t *testing.T) {
	for chosen, want := range map[string]string{
		"Ann": "Ann", "  Ann B. ": "Ann B.", "Jose\u0301": "José", "Zoë 2": "Zoë 2", "O’Neil-Smith": "O’Neil-Smith", "山田たろう": "山田たろう", "김철수 金": "김철수 金",
		"Иван": "Иван", "Νίκη": "Νίκη", "محمد": "محمد", "अनिल": "अनिल", "Ann 😀": "Ann 😀", "❤️": "❤️", "42": "42", strings.Repeat("é", 40): strings.Repeat("é", 40), strings.Repeat("e\u0301", 40): strings.Repeat("é", 40),
	} {
		if got, err := guest.CleanName(chosen); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", chosen, got, err, want)
		}
	}
	for chosen, say := range map[string]string{
		"": "empty", " \u3000 ": "empty", "\u0301": "empty", strings.Repeat("a", 41): "40 characters", strings.Repeat("a", 4000): "40 characters", "\xff": "UTF-8",
		"a\x00": "U+0000", "a\nb": "U+000A", "a\u0085b": "U+0085", "\u202eAnn": "U+202E", "An\u200dn": "U+200D", "Ann\u200b": "U+200B", "\ufeffAnn": "U+FEFF", "A\u00adnn": "U+00AD",
		"Ann\u3164": "U+3164", "A\u034fnn": "U+034F", "\u2800": "U+2800", "A\u2028": "", "Ann\ufe00": "U+FE00", "\ue000": "U+E000", "\U000e0041": "U+E0041", "a\u0378": "U+0378",
		"аdmin": "Cyrillic, Latin", "Αnn": "Greek, Latin", "たろう김": "Hangul, Hiragana", "Ann山": "Han, Latin", "Ꭺnn": "Cherokee, Latin",
	} {
		if got, err := guest.CleanName(chosen); say != "" && (err == nil || !strings.Contains(err.Error(), say)) {
			t.Errorf("%q: %q, %v; want an error about %s", chosen, got, err, say)
		}
	}
}

func TestNamesThatLookAlike(t *testing.T) {
	for _, names := range [][]string{
		{"admin", "Admin", "ADMIN", "аdmin", "аdmіn", "ａｄｍｉｎ", "𝐚𝐝𝐦𝐢𝐧", "adm1n", "admln", "ad min", "ádmin", "adrnin", "admin\u200b", "ᴀdmin", "ａdmin", "a\u0323dmin"},
		{"Ivan", "IVAN", "lvan", "Іvan", "Ινan"},
		{"scope", "ѕсоре"},       // Cyrillic alone
		{"KATE", "ΚΑΤΕ", "КАТЕ"}, // Greek alone, Cyrillic alone
		{"νικη", "ΝΙΚΗ", "Νίκη"},
		{"NIKH", "ΝΙΚΗ"},
		{"viki", "νικι"},
		{"Иван", "ИВАН", "иван"},
		{"MARY", "ᎷᎪᎡᎩ", "ꓟꓮꓣꓬ"},
		{"bob", "b0b", "BOB", "bоb", "Ьob"},
		{"Straße", "STRASSE"},
		{"Øyvind", "oyvind"},
	} {
		for _, other := range names[1:] {
			if !guest.Alike(names[0], other) || !guest.Alike(other, names[0]) {
				t.Errorf("%q and %q: %q, %q", names[0], other, guest.Skeletons(names[0]), guest.Skeletons(other))
			}
		}
	}
	for _, names := range [][2]string{{"Ann", "Anna"}, {"Ann", "Ben"}, {"Иван", "Ivan"}, {"山田", "山口"}, {"", ""}, {" ", "Ann"}, {"Nora", "Mora"}} {
		if guest.Alike(names[0], names[1]) {
			t.Errorf("%q and %q look alike", names[0], names[1])
		}
	}
}

func FuzzVerify(f *testing.F) {
	text := guest.Sign(key, guest.Guest{ID: strings.Repeat("A", 22), Name: "Ann"})
	f.Add(text)
	f.Add("g1.AAAAAAAAAAAAAAAAAAAAAA..")
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, err := guest.Verify([][32]byte{key, old}, s); (err == nil) != (s == text) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// A clean name stays clean, is short, survives a cookie, and looks like itself.
func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"Ann", "аdmin", "e\u0301", "\u202e", "日本", "\xff", "ﷺ", "ΐ", "İ", strings.Repeat("\u0344", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		skeletons := guest.Skeletons(s)
		for _, one := range skeletons {
			if strings.ContainsAny(one, " \t\n\u00a0") {
				t.Errorf("%q has the skeleton %q", s, one)
			}
		}
		name, err := guest.CleanName(s)
		if err != nil {
			return
		}
		if again, err := guest.CleanName(name); again != name || err != nil || utf8.RuneCountInString(name) > guest.MaxName {
			t.Errorf("%q became %q, then %q, %v", s, name, again, err)
		}
		g := guest.New()
		g.Name = name
		if got, _, err := guest.Verify([][32]byte{key}, guest.Sign(key, g)); got != g || err != nil {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
		for _, form := range []string{strings.ToUpper(name), strings.ToLower(name)} {
			if len(guest.Skeletons(name)) > 0 && !guest.Alike(name, form) {
				t.Errorf("%q does not look like %q", name, form)
			}
		}
	})
}
