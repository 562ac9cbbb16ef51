// Package backend makes and checks the keys that servers identify themselves with.
//
//	key, hash := backend.Generate() // the server keeps key, the configuration hash
//	...
//	var s backend.Set
//	_, err := s.Add("shop", hash)
//	...
//	name, id, err := s.Find(key) // "shop"
package backend

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// Prefix is what every key begins with. A credential that begins with it is meant to be
	// a key, and nothing else.
	Prefix = "rtk_"

	// MaxKeys is how many keys one name may have: the new one, and the old one until every
	// server has the new one.
	MaxKeys = 2

	hashPrefix = "sha256:"
	idLength   = 8  // hexadecimal digits
	secretSize = 32 // bytes
)

// Errors of keys. None of them holds a key, or a part of it.
var (
	// ErrMalformed says that a text does not have the form of a key or a hash, or that a key
	// was mistyped or cut.
	ErrMalformed = errors.New("malformed backend key")

	// ErrUnknown says that a key has the right form, and that no name has it.
	ErrUnknown = errors.New("unknown backend key")
)

// Key is a key as a configuration knows it. It does not hold the secret, so that it cannot
// get out by accident.
type Key struct {
	// ID names the key in logs: the first 8 digits of its hash. It is no secret, and it is
	// the same whether the configuration has the key or the hash.
	ID string

	sum [sha256.Size]byte // of the secret, as text
}

// Generate returns a new key, rtk_<id>_<secret>, and its hash, sha256:<hex>. The secret
// is 256 random bits as base64url, the hash is that of the secret's text.
//
// The id is the beginning of the hash. So one who has only the hash knows the id, too: a
// key can be found by its id and compared by its hash, whatever is configured. What the id
// says about the hash is nothing about 256 random bits.
func Generate() (key, hash string) {
	var b [secretSize]byte
	_, _ = rand.Read(b[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(b[:])
	k := keyOf(secret)
	return Prefix + k.ID + "_" + secret, k.Hash()
}

// Hash returns the hash of the key: sha256:<hex>.
func (k Key) Hash() string { return hashPrefix + hex.EncodeToString(k.sum[:]) }

// keyOf returns the key with a secret.
func keyOf(secret string) Key {
	k := Key{sum: sha256.Sum256([]byte(secret))}
	k.ID = hex.EncodeToString(k.sum[:])[:idLength]
	return k
}

// Parse parses a key. An error is [ErrMalformed], also if the id is not that of the secret.
func Parse(text string) (Key, error) {
	rest, ok := strings.CutPrefix(text, Prefix)
	id, secret, found := strings.Cut(rest, "_")
	if !ok || !found || len(id) != idLength || len(secret) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return Key{}, ErrMalformed
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(secret); err != nil || strings.ContainsAny(secret, "\r\n") {
		return Key{}, ErrMalformed
	}
	k := keyOf(secret)
	if subtle.ConstantTimeCompare([]byte(k.ID), []byte(id)) == 0 {
		return Key{}, ErrMalformed
	}
	return k, nil
}

// ParseHash parses the hash of a key. An error is [ErrMalformed].
func ParseHash(text string) (Key, error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	var k Key
	if !ok || len(digits) != hex.EncodedLen(len(k.sum)) {
		return Key{}, ErrMalformed
	}
	if _, err := hex.Decode(k.sum[:], []byte(digits)); err != nil {
		return Key{}, ErrMalformed
	}
	k.ID = hex.EncodeToString(k.sum[:])[:idLength]
	return k, nil
}

// IsKey reports whether a text is meant to be a key.
func IsKey(text string) bool { return strings.HasPrefix(text, Prefix) }

// IsHash reports whether a configured text is meant to be a hash, and not a key itself.
func IsHash(text string) bool { return strings.HasPrefix(text, hashPrefix) }

// Set holds the keys that are accepted. The zero Set is empty, and so is a nil one for
// [Set.Find]. It must not change any more once it is used concurrently.
type Set struct {
	byID map[string]entry
}

// entry is an accepted key, and whose it is.
type entry struct {
	Key
	name string
}

// Add accepts a key of the name, given as it is configured: the key itself, or its hash. It
// returns an error for a text that is neither, for a key that is in the set already, and
// for more than [MaxKeys] of one name.
func (s *Set) Add(name, configured string) (Key, error) {
	parse := Parse
	if IsHash(configured) {
		parse = ParseHash
	}
	k, err := parse(configured)
	if err != nil {
		return Key{}, err
	}
	if _, again := s.byID[k.ID]; again {
		return Key{}, fmt.Errorf("the key %s is already specified", k.ID)
	}
	of := 0
	for _, e := range s.byID {
		if e.name == name {
			of++
		}
	}
	if of >= MaxKeys {
		return Key{}, fmt.Errorf("%s has more than %d keys", name, MaxKeys)
	}
	if s.byID == nil {
		s.byID = make(map[string]entry)
	}
	s.byID[k.ID] = entry{k, name}
	return k, nil
}

// Find returns the name that a key belongs to, and the key's id. It finds the key by its id, and
// compares hashes in constant time. An error is [ErrMalformed], or [ErrUnknown] with
// the id of the unknown key.
func (s *Set) Find(key string) (name, id string, err error) {
	k, err := Parse(key)
	if err != nil {
		return "", "", err
	}
	if s == nil {
		return "", k.ID, ErrUnknown
	}
	e, ok := s.byID[k.ID]
	if !ok || subtle.ConstantTimeCompare(e.sum[:], k.sum[:]) == 0 {
		return "", k.ID, ErrUnknown
	}
	return e.name, e.ID, nil
}
