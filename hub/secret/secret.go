// Package secret makes ids that cannot be guessed, and codes that cannot be made without
// the key.
package secret

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

// Key is what codes are made with.
type Key [32]byte

// Store keeps the key, so that all hubs that share it have the same one.
type Store interface {
	Get(ctx context.Context, name string) (value []byte, version uint64, err error)
	Set(ctx context.Context, name string, value []byte, version uint64, ttl time.Duration) (uint64, error)
}

const (
	name = "secret"         // of the key in its store
	most = 10 * time.Second // that the store may take
)

// Load returns the key that is stored, and stores a new one if there is none.
func Load(from Store) (k Key, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	version, err := k.read(ctx, from)
	if err != nil || k != (Key{}) {
		return k, err
	}
	var fresh Key
	_, _ = rand.Read(fresh[:]) // never fails
	if _, err = from.Set(ctx, name, fresh[:], version, 0); err == nil {
		return fresh, nil
	}
	// Perhaps another hub was faster.
	if _, again := k.read(ctx, from); again == nil && k != (Key{}) {
		return k, nil
	}
	return k, err
}

// read reads the stored key. It leaves k as it is if there is none.
func (k *Key) read(ctx context.Context, from Store) (version uint64, err error) {
	stored, version, err := from.Get(ctx, name)
	if err == nil && len(stored) == len(k) {
		copy(k[:], stored)
	}
	return version, err
}

// Tag returns a code of n bytes for the text, as text that fits into a URL. The purpose
// keeps the codes of one use from counting for another.
func (k *Key) Tag(purpose, text string, n int) string {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:n])
}

// NewID returns 128 random bits as text that fits into a URL.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
