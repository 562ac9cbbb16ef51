package hub

import (
	"net/netip"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
)

// Client is who a [Caller] is. It says nothing about rights, which are the hub's to know.
type Client struct {
	// ID names the connection: unguessable, made by [Hub.Connect] if empty.
	ID string
	// User is nil for an anonymous client.
	User *User
	// Address is what limits by address count; invalid: they don't.
	Address netip.Addr
	// Facts are what was found out about the client when it connected, for the
	// [Authorizer]; nil: nothing. Clients with the same facts share them.
	Facts *Facts
	// Credential is what speaks for the client; nil: nothing does that can expire, and only its
	// User can be revoked.
	Credential *Credential
	// Family is that of the [Verifier] whose tokens the client may show later.
	Family string
	// Scope lists the only rooms in which the client may do anything: those of a URL
	// that others have judged before the hub. nil: any room.
	Scope []string
	// Tell makes a notice of rights that have changed, or of a credential that is about to
	// expire; nil: the client is told nothing.
	Tell func(Change) []byte
	// Bound ends the session with [CauseForbidden] or [CauseNoRoom] when it loses one of its rooms.
	Bound bool
	// NoEcho leaves out messages that this session published itself. Signals of
	// its own it never gets.
	NoEcho bool
	// Presence is what the session gets of presence frames.
	Presence PresenceLevel
	// Observer leaves the session out of the number of members.
	Observer bool
	// Alone disables batching: each message is encoded for this session alone, and no
	// [Batch] is taken for it.
	Alone bool
}

// inScope returns ErrScope if the room is outside of the client's scope.
func (c *Client) inScope(room string) error {
	if c.Scope != nil && !slices.Contains(c.Scope, room) {
		return ErrScope
	}
	return nil
}

// firstRoom is where the client goes, for the log; empty: nobody knows.
func (c *Client) firstRoom() string {
	if len(c.Scope) == 0 {
		return ""
	}
	return c.Scope[0]
}

// isBackend reports whether the client is a server with a key.
func (c *Client) isBackend() bool { return c.User.Kind() == message.UserBackend }

// Expires returns when sessions of the client end, since its credential does; zero: never.
func (c *Client) Expires() time.Time {
	if c.Credential == nil {
		return time.Time{}
	}
	return c.Credential.Expires
}

// PresenceLevel is what a session gets of presence frames.
type PresenceLevel uint8

// The levels.
const (
	PresenceNothing PresenceLevel = iota
	PresenceSome                  // above [message.LargeRoom] members, only their number
	PresenceAll
)
