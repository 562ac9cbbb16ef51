package hub

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what clients may name, in bytes.
const (
	MaxRoomName  = 200
	MaxEventName = 64
	MaxKey       = 255
)

// Errors of bad names. They are wrapped with the rule that was broken.
var (
	ErrRoomName  = errors.New("bad room name")
	ErrEventName = errors.New("bad event name")
	ErrKey       = errors.New("bad idempotency key")
)

// CheckRoomName returns an error that wraps [ErrRoomName] and names the broken
// rule, or nil: a room's name is 1 to 200 bytes of UTF-8 without control
// characters; it may hold "/", but no empty, "." or ".." segment, and it does
// not begin with "-/".
func CheckRoomName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrRoomName)
	case len(name) > MaxRoomName:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrRoomName, len(name), MaxRoomName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: it is not UTF-8", ErrRoomName)
	case strings.HasPrefix(name, "-/"):
		return fmt.Errorf("%w: names that begin with -/ are reserved", ErrRoomName)
	}
	for _, r := range name {
		// C0, DEL and C1.
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return fmt.Errorf("%w: it has the control character %U", ErrRoomName, r)
		}
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: it has an empty segment (a slash at an end, or two in a row)", ErrRoomName)
		case ".", "..":
			return fmt.Errorf("%w: it has the segment %q", ErrRoomName, segment)
		}
	}
	return nil
}

// reservedEvents are the names that control events and operations have on the
// wire.
var reservedEvents = map[string]bool{
	"open": true, "error": true, "ok": true, "ready": true, "left": true, "state": true, "gap": true,
	"presence": true, "signal": true, "edit": true, "retract": true, "bye": true,
}

// CheckEventName returns an error that wraps [ErrEventName] and names the
// broken rule, or nil: an event's name is 1 to 64 of A-Z a-z 0-9 _ . : - and
// none of the names that the protocol keeps for itself. "" stands for the
// default event and passes.
func CheckEventName(name string) error {
	if len(name) > MaxEventName {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrEventName, len(name), MaxEventName)
	}
	for _, c := range []byte(name) {
		if !isEpochByte(c) && c != '.' && c != ':' {
			return fmt.Errorf("%w: %q has other characters than A-Z a-z 0-9 _ . : -", ErrEventName, name)
		}
	}
	if reservedEvents[name] {
		return fmt.Errorf("%w: %q is reserved", ErrEventName, name)
	}
	return nil
}
