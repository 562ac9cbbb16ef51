// Package guest makes and checks what a browser keeps of a client without an account: an id
// that stays the same, and a name of one's own choice. It also says which names may be chosen, and
// which look like one another.
//
//	g := guest.New()
//	g.Name, err = guest.CleanName(chosen)
//	...
//	cookie := guest.Sign(key, g)
//	...
//	g, current, err := guest.Verify([][32]byte{key, old}, cookie)
package guest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// Guest is a client that the server knows again, and knows nothing else about.
type Guest struct {
	// ID is 128 random bits as base64url. On the wire it stands behind [WirePrefix].
	ID string
	// Name is what [CleanName] returned, or empty.
	Name string
}

// WirePrefix is what the ids of guests begin with where others see them.
const WirePrefix = "~g"

const (
	version   = "g1"
	purpose   = "realtime guest\x00" // what the code is for, so that no other code is one
	idSize    = 16                   // bytes
	maxCookie = 512                  // bytes; the longest name needs less
)

// ErrInvalid says that a cookie was not made by [Sign] with one of the keys.
var ErrInvalid = errors.New("invalid guest cookie")

// encoding has one text for each value.
var encoding = base64.RawURLEncoding.Strict()

// New returns a guest with a new id and without a name.
func New() Guest {
	var b [idSize]byte
	_, _ = rand.Read(b[:]) // never fails
	return Guest{ID: encoding.EncodeToString(b[:])}
}

// WireID returns the id as others see it.
func (g Guest) WireID() string { return WirePrefix + g.ID }

// Sign returns the value of a guest's cookie: g1.<id>.<name>.<mac>, with the name as base64url and an
// HMAC-SHA256 of the rest. It has only characters that RFC 6265, section 4.1.1, allows in a
// value.
func Sign(key [32]byte, g Guest) string {
	signed := version + "." + g.ID + "." + encoding.EncodeToString([]byte(g.Name))
	return signed + "." + encoding.EncodeToString(mac(key, signed))
}

// Verify returns the guest of a cookie's value. The first key is the present one, others are older
// ones that are still accepted; current is false if one of those signed the cookie, which should be
// signed anew then. A name that may not be chosen any more is left out. The error
// is [ErrInvalid].
func Verify(keys [][32]byte, cookie string) (g Guest, current bool, err error) {
	parts := strings.Split(cookie, ".")
	if len(cookie) > maxCookie || len(parts) != 4 || parts[0] != version {
		return Guest{}, false, ErrInvalid
	}
	id, idOK := decode(parts[1])
	name, nameOK := decode(parts[2])
	code, codeOK := decode(parts[3])
	if !idOK || !nameOK || !codeOK || len(id) != idSize {
		return Guest{}, false, ErrInvalid
	}
	signed := cookie[:strings.LastIndexByte(cookie, '.')]
	for i, key := range keys {
		if !hmac.Equal(code, mac(key, signed)) {
			continue
		}
		g = Guest{ID: parts[1], Name: string(name)}
		if clean, err := CleanName(g.Name); err != nil || clean != g.Name {
			g.Name = ""
		}
		return g, i == 0, nil
	}
	return Guest{}, false, ErrInvalid
}

func mac(key [32]byte, signed string) []byte {
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte(purpose + signed))
	return m.Sum(nil)
}

// decode decodes base64url. Decoders of base64 skip line ends, so these are refused first.
func decode(text string) ([]byte, bool) {
	b, err := encoding.DecodeString(text)
	return b, err == nil && !strings.ContainsAny(text, "\r\n")
}
