// Package names says which names clients may give to rooms and events, and to publications,
// and which ids and names users may have.
package names

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of what clients may name, in bytes.
const (
	MaxRoom  = 200
	MaxEvent = 64
	MaxKey   = 255 // an idempotency key
	MaxType  = 255 // a media type
	MaxUser  = 128 // the id of a user, and the name
)

// Errors of bad names. They are wrapped with the rule that was broken.
var (
	ErrRoom  = errors.New("bad room name")
	ErrEvent = errors.New("bad event name")
	ErrKey   = errors.New("bad idempotency key")
	ErrType  = errors.New("bad media type")
	ErrUser  = errors.New("bad user")
)

// CheckRoom returns an error that wraps [ErrRoom] and names the broken
// rule, or nil: a room's name is 1 to 200 bytes that pass [CheckCharacters]; it may hold
// "/", but no empty, "." or ".." segment; it has no "*", "{" or "}", which patterns have, and
// it does not begin with "-/". Names are compared by their bytes.
func CheckRoom(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrRoom)
	case len(name) > MaxRoom:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrRoom, len(name), MaxRoom)
	case strings.HasPrefix(name, "-/"):
		return fmt.Errorf("%w: names that begin with -/ are reserved", ErrRoom)
	}
	if !isPlain(name) {
		if err := CheckCharacters(name); err != nil {
			return fmt.Errorf("%w: %w", ErrRoom, err)
		}
		if i := strings.IndexAny(name, "*{}"); i >= 0 {
			return fmt.Errorf("%w: it has a %q, which only patterns may have", ErrRoom, name[i:i+1])
		}
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: it has an empty segment (a slash at an end, or two in a row)", ErrRoom)
		case ".", "..":
			return fmt.Errorf("%w: it has the segment %q", ErrRoom, segment)
		}
	}
	return nil
}

// CheckCharacters returns an error that says what is wrong with a text that must not
// differ from another one in what nobody can see, or nil: it is UTF-8 in Unicode's normalization form C
// (Unicode Standard Annex #15), without control characters (Cc) and without the invisible
// format characters (Cf), such as joiners, soft hyphens and marks of direction.
func CheckCharacters(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it is not UTF-8")
	}
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Cc, r):
			return fmt.Errorf("it has the control character %U", r)
		case unicode.Is(unicode.Cf, r):
			return fmt.Errorf("it has the invisible format character %U", r)
		}
	}
	// QuickSpan decides nearly always, and does not allocate.
	if norm.NFC.QuickSpanString(text) < len(text) && !norm.NFC.IsNormalString(text) {
		return errors.New("it is not in Unicode's normalization form C (NFC)")
	}
	return nil
}

// isPlain reports whether a name has only printable ASCII characters up to z without "*",
// as most do: these need no closer look.
func isPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == '*' || c > 'z' {
			return false
		}
	}
	return true
}

// CheckPattern returns an error that says what is wrong with a pattern of rooms: the name of
// one, or the beginning of names followed by one "*". The segment {user}, which patterns of
// rights may have, is not for it: its caller puts a name in its place.
func CheckPattern(pattern string) error {
	name, star := strings.CutSuffix(pattern, "*")
	if strings.Contains(name, "*") {
		return errors.New("only one * is allowed, at the end")
	}
	if strings.ContainsAny(name, "{}") {
		return errors.New("braces are only allowed in {user}, which must be a whole segment")
	}
	if star {
		name += "x" // stands for what the star matches
	}
	return CheckRoom(name)
}

// reservedEvents are the names that control events and operations have on the
// wire.
var reservedEvents = map[string]bool{
	"open": true, "error": true, "ok": true, "ready": true, "left": true, "state": true, "gap": true,
	"presence": true, "signal": true, "edit": true, "retract": true, "bye": true,
	"auth": true, "can": true, "clear": true, "held": true, "lock": true,
}

// CheckEvent returns an error that wraps [ErrEvent] and names the
// broken rule, or nil: an event's name is 1 to 64 of A-Z a-z 0-9 _ . : - and
// none of the names that the protocol keeps for itself. "" stands for the
// default event and passes.
func CheckEvent(name string) error {
	if len(name) > MaxEvent {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrEvent, len(name), MaxEvent)
	}
	for _, c := range []byte(name) {
		if !isWordByte(c) && c != '.' && c != ':' {
			return fmt.Errorf("%w: %q has other characters than A-Z a-z 0-9 _ . : -", ErrEvent, name)
		}
	}
	if reservedEvents[name] {
		return fmt.Errorf("%w: %q is reserved", ErrEvent, name)
	}
	return nil
}

func isWordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

// CheckKey returns an error that wraps [ErrKey], or nil, if an idempotency key is UTF-8
// of at most [MaxKey] bytes.
func CheckKey(key string) error { return checkText(key, MaxKey, ErrKey) }

// CheckType returns an error that wraps [ErrType], or nil, if a media type is UTF-8 of
// at most [MaxType] bytes.
func CheckType(media string) error { return checkText(media, MaxType, ErrType) }

// CheckUserID returns an error that wraps [ErrUser] and names the broken rule, or nil: the id
// of a user is 1 to 128 bytes that pass [CheckCharacters], and does not begin with "~", as the
// ids of all who are not users do.
func CheckUserID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the id is empty", ErrUser)
	case strings.HasPrefix(id, "~"):
		return fmt.Errorf("%w: the id begins with ~, which is reserved", ErrUser)
	}
	return checkUserText("id", id)
}

// CheckUserName returns an error that wraps [ErrUser], or nil, if the name that others see of a user
// is at most 128 bytes that pass [CheckCharacters]. It may begin with "~", since nobody takes a
// name for an id, and it may have the joiner and the non-joiner with which some languages are
// written.
func CheckUserName(name string) error { return checkUserText("name", joiners.Replace(name)) }

// joiners removes U+200C and U+200D.
var joiners = strings.NewReplacer("\u200c", "", "\u200d", "")

func checkUserText(what, text string) error {
	if len(text) > MaxUser {
		return fmt.Errorf("%w: the %s has %d bytes, at most %d are allowed", ErrUser, what, len(text), MaxUser)
	}
	if err := CheckCharacters(text); err != nil {
		return fmt.Errorf("%w: the %s is invalid: %w", ErrUser, what, err)
	}
	return nil
}

func checkText(text string, most int, bad error) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", bad, len(text), most)
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: it is not UTF-8", bad)
	default:
		return nil
	}
}
