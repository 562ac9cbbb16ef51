package token

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a JWK set.
const (
	maxSet       = 256 << 10 // bytes
	maxSetKeys   = 32
	fetchTimeout = 5 * time.Second // from the connection to the last byte
)

// CheckURL returns an error that says why a JWK set cannot be fetched from the URL, or nil. It is https, or
// http to this machine: localhost, or a loopback address.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case strings.ContainsAny(text, "{}"):
		return errors.New("jwks must not have placeholders")
	case err != nil:
		return errors.New("jwks is not a URL")
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("jwks must be a URL with a host, without user and fragment")
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("jwks must be an https URL; http is only allowed to this machine")
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// newClient returns a client that follows no redirects and keeps no connections.
func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// fetch fetches the set once. No error holds the URL, which may have a secret in its query.
func (r *remote) fetch(ctx context.Context) ([]*key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, errors.New("jwks is not a URL")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		if with, ok := errors.AsType[*url.Error](err); ok {
			err = with.Err // without the URL
		}
		return nil, fmt.Errorf("fetching the JWK set: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the JWK set: the answer has status %d, not 200 (redirects are not followed)", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxSet+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the JWK set: %w", err)
	case len(body) > maxSet:
		return nil, fmt.Errorf("the JWK set has more than %d KiB", maxSet>>10)
	}
	return r.parseSet(body)
}

// parseSet returns the keys of a set that may verify tokens. Others are left out (RFC 7517, section 5).
func (r *remote) parseSet(body []byte) ([]*key, error) {
	object, err := decodeObject(body)
	if err != nil {
		return nil, fmt.Errorf("the JWK set %w", err)
	}
	list, ok := object["keys"].([]any)
	switch {
	case !ok:
		return nil, errors.New("the JWK set has no keys")
	case len(list) > maxSetKeys:
		return nil, fmt.Errorf("the JWK set has %d keys, at most %d are allowed", len(list), maxSetKeys)
	}
	var all []*key
	for _, item := range list {
		if k := r.parseKey(item); k != nil {
			all = append(all, k)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the JWK set has no key that can verify tokens")
	}
	return all, nil
}

// parseKey returns a key of a set, nil if it cannot be used: it is private or shared (oct), for something
// else than verifying, of an unknown kind, or too weak.
func (r *remote) parseKey(item any) *key {
	members, _ := item.(map[string]any)
	if ops, is := members["key_ops"]; is {
		if list, _ := ops.([]any); !slices.Contains(list, any("verify")) {
			return nil
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil
	}
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(text) != nil || !jwk.IsPublic() || !jwk.Valid() || jwk.Use != "" && jwk.Use != "sig" {
		return nil
	}
	listed := r.listed
	if jwk.Algorithm != "" {
		if !slices.Contains(r.algorithms, jwk.Algorithm) {
			return nil
		}
		listed = []string{jwk.Algorithm}
	}
	algorithms, err := algorithmsOf(jwk.Key, listed)
	if err != nil {
		return nil
	}
	thumbprint, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil
	}
	return &key{material: jwk.Key, algorithms: algorithms, source: r.source, kid: jwk.KeyID, thumbprint: hex.EncodeToString(thumbprint)}
}
