package message

import (
	"cmp"
	"strings"

	"github.com/caddy-realtime/realtime/hub/names"
)

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

// Check returns an error that wraps [names.ErrUser] and says what is wrong with the id or the
// name, or nil.
func (u *User) Check() error {
	if u == nil {
		return nil
	}
	id := u.ID
	switch u.Kind() {
	case UserGuest, UserLink, UserBackend:
		id = id[len(guestPrefix):] // all prefixes are as long
	default: // no other may begin with ~
	}
	return cmp.Or(names.CheckUserID(id), names.CheckUserName(u.Name))
}
