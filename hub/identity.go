package hub

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/secret"
)

// The part of the hub that names connections and members.

// NewConn returns a new id for a connection of the user: 128 random bits, and a
// tag that binds them to the user. A client that has it can speak for that connection,
// see [Hub.Owns].
func (h *Hub) NewConn(u *User) string {
	id := secret.NewID()
	return id + h.secret.Tag("conn", id+userID(u), 16)
}

// Subkey returns a key for a purpose, made of the hub's secret. Hubs that share an engine have the
// same (RFC 5869).
func (h *Hub) Subkey(purpose string) (key [32]byte) {
	made, err := hkdf.Key(sha256.New, h.secret[:], nil, purpose, len(key))
	if err != nil {
		panic(err) // its length is allowed
	}
	return [32]byte(made)
}

// Owns reports whether the hub has made the id of a connection for this user.
func (h *Hub) Owns(conn string, u *User) bool {
	const random = 22 // 16 bytes in base64
	if len(conn) <= random {
		return false
	}
	return hmac.Equal([]byte(conn), []byte(conn[:random]+h.secret.Tag("conn", conn[:random]+userID(u), 16)))
}

// tagOf returns a code that stands for a connection, and lets nobody speak for it.
func (h *Hub) tagOf(conn string) string { return h.secret.Tag("publisher", conn, 9) }

// userID returns the user's id, or "" for nobody.
func userID(u *User) string {
	if u == nil {
		return ""
	}
	return u.ID
}

// userName returns the user's name, or "" for nobody.
func userName(u *User) string {
	if u == nil {
		return ""
	}
	return u.Name
}

// memberID returns the id of a client in a room: the user's id, or a code for the
// anonymous connection that does not reveal its conn.
func (h *Hub) memberID(c *Client) string {
	if c.User != nil {
		return strings.Clone(c.User.ID)
	}
	return message.AnonymousID(h.secret.Tag("member", c.ID, 9))
}
