package guest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxName is how many characters a chosen name may have.
const MaxName = 40

// CleanName returns a chosen name in Unicode's form NFC (UAX 15), without spaces at its ends. It
// returns an error that says what is wrong if the name is empty or has more than [MaxName]
// characters, if it has control, format or other invisible characters, or if it mixes
// scripts. Japanese, Korean and Chinese with Bopomofo count as one script each, as in UTS 39,
// section 5.1.
func CleanName(chosen string) (string, error) {
	if len(chosen) > 4*utf8.UTFMax*MaxName { // enough for what becomes shorter by NFC
		return "", errTooLong
	}
	if !utf8.ValidString(chosen) {
		return "", errors.New("the name is not UTF-8")
	}
	name := strings.TrimFunc(norm.NFC.String(chosen), unicode.IsSpace)
	if utf8.RuneCountInString(name) > MaxName {
		return "", errTooLong
	}
	seen := false
	var scripts []string
	for _, r := range name {
		if isHidden(r) {
			return "", fmt.Errorf("the name has the character %U, which is not allowed", r)
		}
		seen = seen || !unicode.IsSpace(r) && !unicode.Is(unicode.Mn, r)
		if s := scriptOf(r); s != "" && !slices.Contains(scripts, s) {
			scripts = append(scripts, s)
		}
	}
	switch {
	case !seen:
		return "", errors.New("the name is empty")
	case !areOne(scripts):
		slices.Sort(scripts)
		return "", fmt.Errorf("the name mixes scripts: %s", strings.Join(scripts, ", "))
	}
	return name, nil
}

var errTooLong = fmt.Errorf("the name has more than %d characters", MaxName)

// isHidden reports whether a character is not seen, or not known: a name with it looks like
// another one.
func isHidden(r rune) bool {
	const blankBraille = '\u2800'
	return r == blankBraille || !unicode.IsGraphic(r) || isIgnorable(r)
}

// isIgnorable reports whether a character has no glyph of its own.
func isIgnorable(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point) || unicode.Is(unicode.Variation_Selector, r) && r != emoji
}

// emoji is the variation selector that asks for a coloured glyph.
const emoji = '\ufe0f'

// scriptOf returns the script that a character belongs to alone; "" for those of many.
func scriptOf(r rune) string {
	if r < utf8.RuneSelf {
		if unicode.IsLetter(r) {
			return "Latin"
		}
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			if name == "Common" || name == "Inherited" {
				return ""
			}
			return name
		}
	}
	return "unknown"
}

// writing are the scripts that are written together.
var writing = [][]string{
	{"Han", "Hiragana", "Katakana"},
	{"Han", "Hangul"},
	{"Bopomofo", "Han"},
}

// areOne reports whether scripts may stand in one name.
func areOne(scripts []string) bool {
	return len(scripts) <= 1 || slices.ContainsFunc(writing, func(together []string) bool {
		return !slices.ContainsFunc(scripts, func(s string) bool { return !slices.Contains(together, s) })
	})
}
