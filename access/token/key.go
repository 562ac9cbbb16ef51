package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// key verifies tokens.
type key struct {
	material   any      // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	algorithms []string // that it is used for, all of one kind
	source     string   // see Token.Source

	// Of keys of a JWK set:
	kid        string // may be empty
	thumbprint string // by RFC 7638; empty: the key was configured
}

// Sizes of RSA keys, in bits. Signatures of larger keys take long to verify.
const minRSA, maxRSA = 2048, 8192

// Algorithms by what verifies them. The first is the default.
var (
	hmacAlgorithms = []string{"HS256", "HS384", "HS512"}
	rsaAlgorithms  = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	ecAlgorithms   = map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}
	keyAlgorithms  = slices.Concat(rsaAlgorithms, []string{"ES256", "ES384", "ES512", "EdDSA"})
)

// minSecret is how many bytes a secret needs: as many as the hash (RFC 7518, section 3.2).
var minSecret = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

// ParseKey reads a public key in PEM: PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE, of which only the key
// counts. Nothing else may stand before or after it. No error holds any of the text.
func ParseKey(text []byte) (crypto.PublicKey, error) {
	text = bytes.TrimSpace(text)
	block, rest := pem.Decode(text)
	switch {
	case block == nil || !bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return nil, errors.New("it is not PEM")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the key; give each key separately")
	}
	var k crypto.PublicKey
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		k, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		k, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			k = c.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("it is a private key; only the public key is needed")
	default:
		return nil, errors.New("it is PEM, but neither PUBLIC KEY, RSA PUBLIC KEY nor CERTIFICATE")
	}
	if err != nil {
		return nil, errors.New("it is PEM, but holds no key that can be read")
	}
	return k, nil
}

// possible returns the algorithms that the material can verify, the default first.
func possible(material any) ([]string, error) {
	switch k := material.(type) {
	case []byte:
		return hmacAlgorithms, nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("it is an RSA key of %d bits: must be %d to %d", bits, minRSA, maxRSA)
		}
		return rsaAlgorithms, nil
	case *ecdsa.PublicKey:
		if algorithm, ok := ecAlgorithms[k.Curve]; ok {
			return []string{algorithm}, nil
		}
		return nil, errors.New("it is an ECDSA key on another curve than P-256, P-384 or P-521")
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	default:
		return nil, errors.New("it is neither RSA, ECDSA nor Ed25519")
	}
}

// algorithmsOf returns the algorithms that the material is used for: of those that it can verify the
// listed ones, or the default if none is listed.
func algorithmsOf(material any, listed []string) ([]string, error) {
	can, err := possible(material)
	if err != nil {
		return nil, err
	}
	if len(listed) == 0 {
		return can[:1], nil
	}
	var both []string
	for _, a := range can {
		if slices.Contains(listed, a) {
			both = append(both, a)
		}
	}
	if len(both) == 0 {
		return nil, fmt.Errorf("it can only be used for %s, which the algorithms lack", strings.Join(can, ", "))
	}
	return both, nil
}

// keys returns the keys that are configured.
func (c *Config) keys() ([]*key, error) {
	for _, a := range c.Algorithms {
		if !slices.Contains(hmacAlgorithms, a) && !slices.Contains(keyAlgorithms, a) {
			return nil, fmt.Errorf("unknown algorithm %q: must be one of %s, %s", a, strings.Join(hmacAlgorithms, ", "), strings.Join(keyAlgorithms, ", "))
		}
	}
	if n := len(c.Secrets) + len(c.Keys); n > MaxKeys {
		return nil, fmt.Errorf("%d secrets and keys: at most %d are allowed", n, MaxKeys)
	}
	var all []*key
	for i, s := range c.Secrets {
		k, err := newSecret(s, c.Algorithms)
		if err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		all = append(all, k)
	}
	for i, public := range c.Keys {
		k, err := newKey(public, c.Algorithms)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		all = append(all, k)
	}
	for i, k := range all {
		if slices.ContainsFunc(all[:i], func(o *key) bool { return o.source == k.source }) {
			return nil, errors.New("a secret or key is given twice")
		}
	}
	return all, nil
}

func newSecret(secret []byte, listed []string) (*key, error) {
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		return nil, errors.New("it is PEM, so it is not a secret; use key")
	}
	algorithms, err := algorithmsOf(secret, listed)
	if err != nil {
		return nil, err
	}
	for _, a := range algorithms {
		if len(secret) < minSecret[a] {
			return nil, fmt.Errorf("it has %d bytes; %s needs at least %d", len(secret), a, minSecret[a])
		}
	}
	source, err := sourceOf("secret", secret)
	return &key{material: slices.Clone(secret), algorithms: algorithms, source: source}, err
}

func newKey(public crypto.PublicKey, listed []string) (*key, error) {
	if _, secret := public.([]byte); secret {
		return nil, errors.New("it is a secret, not a public key")
	}
	algorithms, err := algorithmsOf(public, listed)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, errors.New("it is not a good public key")
	}
	source, err := sourceOf("key", der)
	return &key{material: public, algorithms: algorithms, source: source}, err
}

// sourceOf returns a Token.Source: a hash for this purpose alone, so that it can be stored.
func sourceOf(kind string, material []byte) (string, error) {
	hash, err := hkdf.Key(sha256.New, material, nil, "realtime token source: "+kind, 16)
	return hex.EncodeToString(hash), err
}
