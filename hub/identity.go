package hub

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// The part of the hub that names connections and members.

// secret is the key of the tags that bind ids to users.
type secret [32]byte

// secretName is where the secret is stored, so that all hubs on the engine have the same.
const secretName = "secret"

// stateTime is how long the engine's state may take to be read.
const stateTime = 10 * time.Second

// loadSecret returns the stored secret. The first hub on the engine makes it.
func loadSecret(state Store) (s secret, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), stateTime)
	defer cancel()
	for {
		stored, version, err := state.Get(ctx, secretName)
		if err != nil {
			return s, err
		}
		if len(stored) == len(s) {
			copy(s[:], stored)
			return s, nil
		}
		_, _ = rand.Read(s[:]) // never fails
		if _, err = state.Set(ctx, secretName, s[:], version, 0); !errors.Is(err, ErrVersion) {
			return s, err
		}
	}
}

// tag is what only the hub can know of the text, as so many bytes.
func (s *secret) tag(purpose, text string, n int) string {
	mac := hmac.New(sha256.New, s[:])
	mac.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:n])
}

// NewID returns 128 random bits as text that fits into a URL.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewConn returns a new id for a connection of the user: 128 random bits, and a
// tag that binds them to the user. A client that has it can speak for that connection,
// see [Hub.Owns].
func (h *Hub) NewConn(u *User) string {
	id := NewID()
	return id + h.secret.tag("conn", id+userID(u), 12)
}

// Owns reports whether the hub has made the id of a connection for this user.
func (h *Hub) Owns(conn string, u *User) bool {
	const random = 22 // 16 bytes in base64
	if len(conn) <= random {
		return false
	}
	return hmac.Equal([]byte(conn), []byte(conn[:random]+h.secret.tag("conn", conn[:random]+userID(u), 12)))
}

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

// memberID returns what a client is known by in a room: the user's id, or one
// that stands for the anonymous connection without giving it away.
func (h *Hub) memberID(c *Client) string {
	if c.User != nil {
		return strings.Clone(c.User.ID)
	}
	return "~" + h.secret.tag("member", c.ID, 9)
}
