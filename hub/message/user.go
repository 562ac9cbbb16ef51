package message

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxUserID bounds the id and the name of a user, in bytes.
const MaxUserID = 128

// ErrUser is wrapped with what is wrong with a user.
var ErrUser = errors.New("bad user")

// User is an identity that has been verified. It is never set from a message's body.
//
// The ids of different kinds of users never meet: those of people who have signed in do not
// begin with "~", and those of all others do, see [KindOf].
type User struct {
	ID   string
	Name string // what to show; empty if unknown
}

// UserKind says how a user is known.
type UserKind uint8

// The kinds of users.
const (
	UserSignedIn  UserKind = iota // by a password, a token, or what stands before the server
	UserGuest                     // by a cookie of this server alone
	UserLink                      // by a signed link
	UserBackend                   // by a key, or by where it comes from
	UserAnonymous                 // not at all: the id belongs to one connection
)

// Prefixes of the ids of users that have not signed in.
const (
	guestPrefix     = "~g"
	linkPrefix      = "~l"
	backendPrefix   = "~b"
	anonymousPrefix = "~a"
)

// GuestID returns the id under which others see a guest.
func GuestID(id string) string { return guestPrefix + id }

// LinkID returns the id under which others see whoever has a link.
func LinkID(id string) string { return linkPrefix + id }

// BackendID returns the id under which others see a backend.
func BackendID(name string) string { return backendPrefix + name }

// AnonymousID returns the id under which others see an anonymous member.
func AnonymousID(id string) string { return anonymousPrefix + id }

// KindOf returns the kind of the user with an id. An id that begins with "~" and has no kind
// is nobody's.
func KindOf(id string) UserKind {
	switch {
	case !strings.HasPrefix(id, "~"):
		return UserSignedIn
	case strings.HasPrefix(id, guestPrefix):
		return UserGuest
	case strings.HasPrefix(id, linkPrefix):
		return UserLink
	case strings.HasPrefix(id, backendPrefix):
		return UserBackend
	default:
		return UserAnonymous
	}
}

// Kind returns how the user is known; a nil User is anonymous.
func (u *User) Kind() UserKind {
	if u == nil {
		return UserAnonymous
	}
	return KindOf(u.ID)
}

// Check returns an error that wraps [ErrUser], or nil.
func (u *User) Check() error {
	switch {
	case u == nil:
		return nil
	case u.ID == "" || len(u.ID) > MaxUserID:
		return fmt.Errorf("%w: the id has %d bytes, 1 to %d are allowed", ErrUser, len(u.ID), MaxUserID)
	case len(u.Name) > MaxUserID:
		return fmt.Errorf("%w: the name has %d bytes, at most %d are allowed", ErrUser, len(u.Name), MaxUserID)
	case !utf8.ValidString(u.ID) || !utf8.ValidString(u.Name):
		return fmt.Errorf("%w: the id or the name is not UTF-8", ErrUser)
	default:
		return nil
	}
}
