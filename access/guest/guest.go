// Package guest makes and checks the cookie by which a server knows a browser again, and nothing
// else about it.
//
//	id := guest.NewID()
//	cookie := guest.Sign(key, id)
//	...
//	id, err := guest.Verify(key, cookie)
package guest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

const (
	version   = "g1"
	purpose   = "realtime guest\x00" // what the code is for, so that no other code is one
	idSize    = 16                   // bytes
	maxCookie = 128                  // bytes
)

// ErrInvalid says that a cookie was not made by [Sign] with the key.
var ErrInvalid = errors.New("invalid guest cookie")

// encoding has one text for each value.
var encoding = base64.RawURLEncoding.Strict()

// NewID returns the id of a new guest: 128 random bits as base64url.
func NewID() string {
	var b [idSize]byte
	_, _ = rand.Read(b[:]) // never fails
	return encoding.EncodeToString(b[:])
}

// Sign returns the value of a guest's cookie: g1.<id>.<mac>, with an HMAC-SHA256 of the rest. It has
// only characters that RFC 6265, section 4.1.1, allows in a value.
func Sign(key [32]byte, id string) string {
	signed := version + "." + id
	return signed + "." + encoding.EncodeToString(mac(key, signed))
}

// Verify returns the id of the guest of a cookie's value. The error is [ErrInvalid].
func Verify(key [32]byte, cookie string) (id string, err error) {
	parts := strings.Split(cookie, ".")
	if len(cookie) > maxCookie || len(parts) != 3 || parts[0] != version {
		return "", ErrInvalid
	}
	random, idOK := decode(parts[1])
	code, codeOK := decode(parts[2])
	if !idOK || !codeOK || len(random) != idSize {
		return "", ErrInvalid
	}
	signed := cookie[:strings.LastIndexByte(cookie, '.')]
	if !hmac.Equal(code, mac(key, signed)) {
		return "", ErrInvalid
	}
	return parts[1], nil
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
