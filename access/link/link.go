// Package link signs links, and verifies them: whoever has one may use some verbs in a room,
// or in the rooms of a pattern, until it expires.
//
//	key, err := link.NewKey(secret)
//	...
//	text, err := key.Sign(link.Link{Host: "example.com", Room: "board", Verbs: []string{"subscribe"}, Expires: in7days}, now)
//	...
//	l, err := link.Keys{key}.Verify(text, now)
//
// A link is the text v1.<kid>.<payload>.<mac>: the id of the key, a JSON object and an
// HMAC-SHA256 (RFC 2104) with the key over everything before the last dot, as it is sent. The payload
// and the mac are base64url without padding (RFC 4648, section 5).
package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// MaxLength is how many bytes a link's text may have.
	MaxLength = 2048

	// MaxLife is for how long a link may be good.
	MaxLife = 365 * 24 * time.Hour

	// MinKey is how many bytes a key must have at least.
	MinKey = 32

	version = "v1"
	skew    = time.Minute // by which the clocks of those who sign and verify may differ
)

// Errors of links. None of them holds the text of a link.
var (
	// ErrMalformed says that a text is not a link, or that the link says what no link may.
	ErrMalformed = errors.New("malformed link")

	// ErrAltered says that a link was not signed with the key it names, or was changed later.
	ErrAltered = errors.New("altered link")

	// ErrUnknownKey says that a link names a key that is not accepted, perhaps not any more.
	ErrUnknownKey = errors.New("link signed with a key that is not accepted")

	// ErrExpired says that a link was good once.
	ErrExpired = errors.New("expired link")
)

// encoding has one text for each value, so that another text is another link.
var encoding = base64.RawURLEncoding.Strict()

// Key signs links and verifies them.
type Key struct {
	id     string
	secret string
}

// NewKey returns the key with a secret of at least [MinKey] bytes.
func NewKey(secret string) (Key, error) {
	if len(secret) < MinKey {
		return Key{}, fmt.Errorf("a key for links must have at least %d bytes", MinKey)
	}
	sum := sha256.Sum256([]byte("realtime link key\x00" + secret))
	return Key{id: encoding.EncodeToString(sum[:6]), secret: secret}, nil
}

// ID returns the id of the key, which its links name. It is made of the secret, so it need not
// be configured.
func (k Key) ID() string { return k.id }

// String returns the key's id, so that printing a key does not print its secret.
func (k Key) String() string { return "link key " + k.id }

// GoString does the same for %#v.
func (k Key) GoString() string { return k.String() }

func (k Key) mac(signed string) []byte {
	m := hmac.New(sha256.New, []byte(k.secret))
	m.Write([]byte(signed))
	return m.Sum(nil)
}

// NewID returns an id for a link: 96 random bits as 16 characters of base64url.
func NewID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return encoding.EncodeToString(b[:])
}

// Sign returns the text of a link. A link without an id gets a random one. An error says which
// field is wrong.
func (k Key) Sign(l Link, now time.Time) (string, error) {
	if k.id == "" {
		return "", errors.New("the key is empty")
	}
	if l.ID == "" {
		l.ID = NewID()
	}
	if err := l.check(now); err != nil {
		return "", err
	}
	if !now.Before(l.Expires) {
		return "", errors.New("it has expired already")
	}
	payload, err := l.encode()
	if err != nil {
		return "", err
	}
	signed := version + "." + k.id + "." + encoding.EncodeToString(payload)
	text := signed + "." + encoding.EncodeToString(k.mac(signed))
	if len(text) > MaxLength {
		return "", fmt.Errorf("the link has %d bytes, at most %d are allowed", len(text), MaxLength)
	}
	return text, nil
}

// Keys are the keys that are accepted: usually one, or the new one and the old one. A link
// is good only as long as its key is among them.
type Keys []Key

// Verify returns what a link says. An error wraps [ErrMalformed], [ErrAltered],
// [ErrUnknownKey] or [ErrExpired].
func (ks Keys) Verify(text string, now time.Time) (Link, error) {
	if len(text) > MaxLength || strings.Count(text, ".") != 3 {
		return Link{}, ErrMalformed
	}
	dot := strings.LastIndexByte(text, '.')
	signed, code := text[:dot], text[dot+1:]
	parts := strings.Split(signed, ".")
	if parts[0] != version {
		return Link{}, ErrMalformed
	}
	mac, err := decode(code)
	if err != nil {
		return Link{}, err
	}
	k, ok := ks.find(parts[1])
	switch {
	case !ok:
		return Link{}, ErrUnknownKey
	case !hmac.Equal(mac, k.mac(signed)):
		return Link{}, ErrAltered
	}
	payload, err := decode(parts[2])
	if err != nil {
		return Link{}, err
	}
	l, err := parsePayload(payload, now)
	if err != nil {
		return Link{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !now.Before(l.Expires) {
		return Link{}, ErrExpired
	}
	l.KeyID = k.id
	return l, nil
}

func (ks Keys) find(id string) (Key, bool) {
	for _, k := range ks {
		if k.id == id {
			return k, true
		}
	}
	return Key{}, false
}

// decode decodes base64url. Decoders of base64 skip line ends, so these are refused first.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	b, err := encoding.DecodeString(text)
	if err != nil {
		return nil, ErrMalformed
	}
	return b, nil
}
