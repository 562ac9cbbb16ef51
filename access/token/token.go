// Package token verifies JSON Web Tokens (RFC 7519): with secrets, with public keys, and with
// the keys of an issuer's JWK set (RFC 7517), which it fetches.
//
//	v, err := token.New(token.Config{JWKS: "https://id.example.com/keys", Issuer: "https://id.example.com", Audience: []string{"chat"}}, log)
//	v.Start()
//	defer v.Close()
//	t, err := v.Verify(ctx, raw) // t.User is who it is
//
// A token has an exp and an iat and does not live longer than allowed. What is ambiguous is refused:
// repeated members in its JSON, critical extensions, bytes outside of base64url. Keys that a token
// brings along or points to (jwk, jku, x5c, x5u) are ignored. It follows RFC 8725.
package token

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxSize is how large a token may be, in bytes as it is sent.
const MaxSize = 8 << 10

// RetryAfter is when to try again after [ErrUnavailable].
const RetryAfter = 5 * time.Second

// Errors of [Verifier.Verify].
var (
	// ErrInvalid is wrapped with a reason that the client may read. It holds nothing of the token.
	ErrInvalid = errors.New("invalid token")
	// ErrUnavailable says that there are no keys to verify the token with yet, or that it takes
	// too long to ask for a new one. The token may be good.
	ErrUnavailable = errors.New("the keys that verify tokens are not available")
)

// Bounds of a [Config].
const (
	DefaultMaxLifetime = 24 * time.Hour
	MaxMaxLifetime     = 365 * 24 * time.Hour
	DefaultLeeway      = 30 * time.Second
	MaxLeeway          = 2 * time.Minute
	NoLeeway           = -1 // as Config.Leeway
	MaxKeys            = 16 // secrets and keys together
)

// Config says which tokens are good. It needs at least one of Secrets, Keys and JWKS.
type Config struct {
	// Secrets for HMAC: each has as many bytes as its algorithm's hash at least, so 32 for HS256.
	Secrets [][]byte
	// Keys are public keys: RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, Ed25519. See
	// [ParseKey]. Secrets and keys have no key id: each that fits a token's algorithm is tried.
	Keys []crypto.PublicKey
	// JWKS is the URL of a JWK set: https, or http to this machine. It requires Issuer, and Audience
	// or AnyAudience. Of its keys the one with a token's kid verifies it, and without a kid
	// the only one that fits the algorithm.
	JWKS string
	// Algorithms that tokens may be signed with: HS, RS, PS or ES with 256, 384 or 512, or EdDSA. Each key
	// takes those of its own kind. Default: HS256 for secrets; RS256, EdDSA, and ES256, ES384
	// or ES512 by the curve for keys; for a key of a JWK set the one it names.
	Algorithms []string
	// Issuer that tokens must have as iss. Default: iss is not looked at.
	Issuer string
	// Audience is a list of names, one of which tokens must have in aud. Default: aud is not looked at.
	Audience []string
	// AnyAudience says that aud is not to be looked at although there is a JWKS.
	AnyAudience bool
	// MaxLifetime is the most that may be between iat and exp. Default: 24 hours; at most a year.
	MaxLifetime time.Duration
	// Leeway is how far the clocks of the issuer and of this machine may be apart. Default: 30 seconds;
	// [NoLeeway] for none; at most 2 minutes.
	Leeway time.Duration
	// UserClaim is the claim with the user's id. Default: sub.
	UserClaim string
	// NameClaim is the claim with the user's name. Default: name.
	NameClaim string
}

// Verifier verifies tokens. Verify and Sources may be called concurrently.
type Verifier struct {
	keys       []*key  // configured
	remote     *remote // of the JWK set; nil: there is none
	algorithms []string
	claims     claimRules
	cache      cache
}

// New checks the configuration and returns its verifier. Nothing runs before [Verifier.Start].
// No error holds a secret.
func New(c Config, log *slog.Logger) (*Verifier, error) {
	v := new(Verifier)
	var err error
	if v.claims, err = c.claimRules(); err != nil {
		return nil, err
	}
	if v.keys, err = c.keys(); err != nil {
		return nil, err
	}
	if c.JWKS == "" && len(v.keys) == 0 {
		return nil, errors.New("no key: set a secret, a key or a jwks")
	}
	if c.JWKS != "" {
		if v.remote, err = c.remote(log); err != nil {
			return nil, err
		}
	}
	for _, k := range v.keys {
		v.algorithms = append(v.algorithms, k.algorithms...)
	}
	if v.remote != nil {
		v.algorithms = append(v.algorithms, v.remote.algorithms...)
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(v.algorithms, a) {
			return nil, fmt.Errorf("algorithm %s fits none of the keys", a)
		}
	}
	return v, nil
}

// Start begins to fetch the JWK set, in a goroutine of its own. It is called at most once.
func (v *Verifier) Start() {
	if v.remote != nil {
		v.remote.start()
	}
}

// Close ends the fetching, and waits for its goroutine. It may be called without Start, and again.
func (v *Verifier) Close() {
	if v.remote != nil {
		v.remote.close()
	}
}

// Sources returns the [Token.Source] of every key that tokens may be verified with.
func (v *Verifier) Sources() []string {
	var all []string
	for _, k := range v.keys {
		all = append(all, k.source)
	}
	if v.remote != nil {
		all = append(all, v.remote.source)
	}
	return all
}

// Verify returns what a token says, if it is good now. Its errors wrap [ErrInvalid] or [ErrUnavailable].
// A token with a key that is not in the JWK set may make it wait, for 2 seconds at most, until
// the set has been fetched. Good tokens are remembered until they expire, 10,000 of them.
//
// attempt, which may be nil, is asked before any signature is checked, and told of bad ones: a token that was
// good before, and one that cannot be good whoever signed it, cost little.
func (v *Verifier) Verify(ctx context.Context, raw string, attempt Attempt) (*Token, error) {
	if len(raw) > MaxSize {
		return nil, invalid("it has more than 8 KiB")
	}
	digest := sha256.Sum256([]byte(raw))
	if known := v.cache.get(digest, time.Now()); known != nil && v.honours(known.key) {
		return known.token, nil
	}
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(v.algorithms, p.algorithm) {
		return nil, invalid("its algorithm is not accepted")
	}
	// The claims first: for a token that cannot be good, nothing is fetched.
	t, err := v.claims.token(p.claims, time.Now())
	if err != nil {
		return nil, err
	}
	if attempt != nil {
		if err := attempt.May(); err != nil {
			return nil, err
		}
	}
	k, err := v.keyOf(ctx, p)
	if err != nil {
		if attempt != nil && errors.Is(err, ErrInvalid) {
			attempt.Failed()
		}
		return nil, err
	}
	t.Source, t.Key = k.source, p.kid
	v.cache.add(digest, &verified{token: t, key: k})
	return t, nil
}

// keyOf returns the key that has signed the token.
func (v *Verifier) keyOf(ctx context.Context, p *parsed) (*key, error) {
	for _, k := range v.keys {
		if slices.Contains(k.algorithms, p.algorithm) && p.signedWith(k) {
			return k, nil
		}
	}
	if v.remote == nil || !slices.Contains(v.remote.algorithms, p.algorithm) {
		return nil, invalid("its signature is wrong")
	}
	k, err := v.remote.find(ctx, p.kid, p.algorithm)
	if err != nil {
		return nil, err
	}
	if !p.signedWith(k) {
		return nil, invalid("its signature is wrong")
	}
	return k, nil
}

// honours reports whether what the key has verified is still good.
func (v *Verifier) honours(k *key) bool {
	return k.thumbprint == "" || v.remote.has(k)
}

// parsed is a token whose signature has not been looked at.
type parsed struct {
	algorithm string
	kid       string // may be empty
	claims    map[string]any
	signed    string // header and payload, as they were sent
	signature []byte
}

// parse decodes a token in the compact form of RFC 7515, section 3.1.
func parse(raw string) (*parsed, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, invalid("it has not three parts")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		// The decoder would skip line ends.
		if decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, invalid("it is not base64url")
		}
	}
	header, err := decodeObject(decoded[0])
	if err != nil {
		return nil, invalid("its header " + err.Error())
	}
	p := &parsed{signed: raw[:strings.LastIndexByte(raw, '.')], signature: decoded[2]}
	if p.claims, err = decodeObject(decoded[1]); err != nil {
		return nil, invalid("its payload " + err.Error())
	}
	return p, p.readHeader(header)
}

func (p *parsed) readHeader(header map[string]any) error {
	if _, is := header["crit"]; is {
		return invalid("it has critical extensions, and none is supported")
	}
	p.algorithm, _ = header["alg"].(string) // an empty one is not accepted
	if kid, is := header["kid"]; is {
		p.kid, is = kid.(string)
		if !is || len(p.kid) > maxName {
			return invalid("its kid is not a string of at most 255 bytes")
		}
	}
	return nil
}

func (p *parsed) signedWith(k *key) bool {
	method := jwt.GetSigningMethod(p.algorithm)
	return method != nil && method.Verify(p.signed, p.signature, k.material) == nil
}

// Attempt bounds how often somebody may have signatures checked.
type Attempt interface {
	// May returns the error of Verify if no more may be checked now.
	May() error
	// Failed says that a signature was bad.
	Failed()
}

func invalid(reason string) error { return fmt.Errorf("%w: %s", ErrInvalid, reason) }
