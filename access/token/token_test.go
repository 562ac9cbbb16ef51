package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "0123456789abcdef0123456789abcdef"

var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return must(k, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type object = map[string]any

// good returns claims that are good for an hour, with the changes.
func good(changes object) object {
	now := time.Now().Unix()
	claims := object{"sub": "ann", "iat": now, "exp": now + 3600}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// sign returns a token. Header may change and add members.
func sign(t testing.TB, alg string, key any, claims object, header object) string {
	t.Helper()
	all := object{"alg": alg, "typ": "JWT"}
	maps.Copy(all, header)
	return signText(t, alg, key, string(must(json.Marshal(all))), string(must(json.Marshal(claims))))
}

// signText returns a token whose header and payload are any text.
func signText(t testing.TB, alg string, key any, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := jwt.GetSigningMethod(alg).Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func newVerifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	v, err := New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func secretConfig() Config { return Config{Secrets: [][]byte{[]byte(testSecret)}} }

// wantInvalid expects a refusal whose reason has the text, and nothing of the token.
func wantInvalid(t *testing.T, v *Verifier, raw, reason string) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw, nil)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), reason) {
		t.Errorf("%v, want %q", err, reason)
	}
	if err == nil {
		return
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("%q has a part of the token", err)
		}
	}
}

func TestEveryKindOfKeyVerifies(t *testing.T) {
	for _, test := range []struct {
		alg  string
		key  any
		have Config
	}{
		{"HS256", []byte(testSecret), secretConfig()},
		{"RS256", rsaKey(), Config{Keys: []crypto.PublicKey{rsaKey().Public()}}},
		{"ES256", p256(), Config{Keys: []crypto.PublicKey{p256().Public()}}},
		{"ES384", p384(), Config{Keys: []crypto.PublicKey{p384().Public()}}},
		{"EdDSA", edKey(), Config{Keys: []crypto.PublicKey{edKey().Public()}}},
		{"PS256", rsaKey(), Config{Keys: []crypto.PublicKey{rsaKey().Public()}, Algorithms: []string{"PS256"}}},
		{"RS512", rsaKey(), Config{Keys: []crypto.PublicKey{rsaKey().Public()}, Algorithms: []string{"RS256", "RS512"}}},
	} {
		t.Run(test.alg, func(t *testing.T) {
			v := newVerifier(t, test.have)
			raw := sign(t, test.alg, test.key, good(object{"name": "Ann", "jti": "1", "iss": "me"}), object{"kid": "k"})
			for range 2 { // verified, then remembered
				got, err := v.Verify(t.Context(), raw, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got.User != "ann" || got.Name != "Ann" || got.ID != "1" || got.Issuer != "me" || got.Key != "k" || got.Source != v.Sources()[0] {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}

func TestForgedTokensAreRefused(t *testing.T) {
	v := newVerifier(t, Config{Secrets: [][]byte{[]byte(testSecret)}, Keys: []crypto.PublicKey{rsaKey().Public(), p256().Public()}})
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	hs := sign(t, "HS256", []byte(testSecret), good(nil), nil)
	dots := strings.Split(hs, ".")
	jwk := object{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(otherRSA().N.Bytes()), "e": "AQAB"}
	for name, test := range map[string]struct{ raw, reason string }{
		"none":                         {sign(t, "none", jwt.UnsafeAllowNoneSignatureType, good(nil), nil), "algorithm"},
		"None":                         {sign(t, "none", jwt.UnsafeAllowNoneSignatureType, good(nil), object{"alg": "None"}), "algorithm"},
		"no algorithm":                 {sign(t, "HS256", []byte(testSecret), good(nil), object{"alg": nil}), "algorithm"},
		"algorithm not listed":         {sign(t, "HS384", []byte(testSecret), good(nil), nil), "algorithm"},
		"letter case of the algorithm": {sign(t, "HS256", []byte(testSecret), good(nil), object{"alg": "hs256"}), "algorithm"},
		"signed with the public key":   {sign(t, "HS256", public, good(nil), nil), "signature"},
		"another secret":               {sign(t, "HS256", []byte("another"), good(nil), nil), "signature"},
		"another RSA key":              {sign(t, "RS256", otherRSA(), good(nil), nil), "signature"},
		"an RSA key of its own":        {sign(t, "RS256", otherRSA(), good(nil), object{"jwk": jwk}), "signature"},
		"a key elsewhere":              {sign(t, "RS256", otherRSA(), good(nil), object{"jku": "https://evil.example/", "x5u": "https://evil.example/"}), "signature"},
		"PS256 by an RS256 key":        {sign(t, "PS256", rsaKey(), good(nil), nil), "algorithm"},
		"critical extension":           {sign(t, "HS256", []byte(testSecret), good(nil), object{"crit": []string{"exp"}}), "critical"},
		"empty list of extensions":     {sign(t, "HS256", []byte(testSecret), good(nil), object{"crit": []string{}}), "critical"},
		"kid is a number":              {sign(t, "HS256", []byte(testSecret), good(nil), object{"kid": 7}), "kid"},
		"kid is long":                  {sign(t, "HS256", []byte(testSecret), good(nil), object{"kid": strings.Repeat("k", 256)}), "kid"},
		"no signature":                 {dots[0] + "." + dots[1] + ".", "signature"},
		"two parts":                    {dots[0] + "." + dots[1], "three parts"},
		"four parts":                   {hs + ".", "three parts"},
		"five parts":                   {hs + ".x.y", "three parts"},
		"padded":                       {hs + "=", "base64url"},
		"line end":                     {hs[:20] + "\n" + hs[20:], "base64url"},
		"space":                        {hs + " ", "base64url"},
		"empty":                        {"", "three parts"},
		"only dots":                    {"..", "header"},
		"large":                        {hs + strings.Repeat("A", MaxSize), "8 KiB"},
		"header is an array":           {signText(t, "HS256", []byte(testSecret), `["HS256"]`, `{}`), "header"},
		"alg twice":                    {signText(t, "HS256", []byte(testSecret), `{"alg":"none","alg":"HS256"}`, `{}`), "twice"},
		"ES256 of another curve":       {sign(t, "ES384", p384(), good(nil), object{"alg": "ES256"}), "signature"},
	} {
		t.Run(name, func(t *testing.T) { wantInvalid(t, v, test.raw, test.reason) })
	}
	t.Run("trailing bits", func(t *testing.T) {
		// 32 bytes are 43 letters, whose last has two bits that mean nothing.
		last := hs[len(hs)-1]
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		wantInvalid(t, v, hs[:len(hs)-1]+string(letters[strings.IndexByte(letters, last)|1]), "base64url")
	})
}

func TestTokenOfExactlyTheLimitIsGood(t *testing.T) {
	v := newVerifier(t, secretConfig())
	for size := 5000; ; size++ {
		raw := sign(t, "HS256", []byte(testSecret), good(object{"x": strings.Repeat("x", size)}), nil)
		if len(raw) < MaxSize-1 {
			continue
		}
		_, err := v.Verify(t.Context(), raw, nil)
		if (err == nil) != (len(raw) <= MaxSize) {
			t.Errorf("%d bytes: %v", len(raw), err)
		}
		if len(raw) > MaxSize {
			return
		}
	}
}

func TestClaims(t *testing.T) {
	c := Config{Secrets: [][]byte{[]byte(testSecret)}, Issuer: "https://id.example", Audience: []string{"chat", "rooms"}}
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix() // when bubbles begin
	for name, test := range map[string]struct {
		changes object
		reason  string // empty: the token is good
	}{
		"good":                           {nil, ""},
		"one of several audiences":       {object{"aud": []string{"other", "rooms"}}, ""},
		"no exp":                         {object{"exp": nil}, "has no exp"},
		"exp is a string":                {object{"exp": "2000000000"}, "exp is not a date"},
		"exp is null":                    {object{"exp": json.RawMessage("null")}, "exp is not a date"},
		"exp is huge":                    {object{"exp": json.RawMessage("1e300")}, "exp is not a date"},
		"exp is beyond floats":           {object{"exp": json.RawMessage("1e999")}, "exp is not a date"},
		"exp is negative":                {object{"exp": -1}, "exp is not a date"},
		"expired within the leeway":      {object{"iat": now - 100, "exp": now - 29}, ""},
		"expired":                        {object{"iat": now - 100, "exp": now - 30}, "expired"},
		"no iat":                         {object{"iat": nil}, "has no iat"},
		"iat is a string":                {object{"iat": "1"}, "iat is not a date"},
		"iat within the leeway":          {object{"iat": now + 30}, ""},
		"iat in the future":              {object{"iat": now + 31}, "iat is in the future"},
		"iat in ten years":               {object{"iat": now + 10*365*86400, "exp": now + 10*365*86400 + 60}, "iat is in the future"},
		"exp before iat":                 {object{"iat": now + 10, "exp": now + 5}, "exp is not after"},
		"a whole day":                    {object{"exp": now + 86400}, ""},
		"longer than a day":              {object{"exp": now + 86401}, "longer than 24h"},
		"long, and nearly over":          {object{"iat": now - 10*86400, "exp": now + 60}, "longer than 24h"},
		"nbf within the leeway":          {object{"nbf": now + 30}, ""},
		"nbf":                            {object{"nbf": now + 31}, "not valid yet"},
		"nbf is a string":                {object{"nbf": "1"}, "nbf is not a date"},
		"issuer":                         {object{"iss": "https://evil.example"}, "another issuer"},
		"beginning of the issuer":        {object{"iss": "https://id.example/"}, "another issuer"},
		"no issuer":                      {object{"iss": nil}, "iss or aud"},
		"issuer is a list":               {object{"iss": []string{"https://id.example"}}, "iss or aud"},
		"audience":                       {object{"aud": "mail"}, "another audience"},
		"no audience":                    {object{"aud": nil}, "iss or aud"},
		"empty audience":                 {object{"aud": []string{}}, "iss or aud"},
		"audience is a list with others": {object{"aud": []any{"chat", 7}}, "iss or aud"},
		"jti is a number":                {object{"jti": 7}, "jti"},
		"no name":                        {object{"name": 7}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, c)
				changes := object{"iss": "https://id.example", "aud": "chat"}
				maps.Copy(changes, test.changes)
				raw := sign(t, "HS256", []byte(testSecret), good(changes), nil)
				if test.reason != "" {
					wantInvalid(t, v, raw, test.reason)
				} else if _, err := v.Verify(t.Context(), raw, nil); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRepeatedClaimsAreRefused(t *testing.T) {
	v := newVerifier(t, secretConfig())
	now := time.Now().Unix()
	for _, test := range []struct{ claims, reason string }{
		{`"sub":"ann","sub":"ben"`, "twice"},
		{`"sub":"ann","\u0073ub":"ben"`, "twice"},
		{`"sub":"ann","a":{"b":1,"b":2}`, "twice"},
		{`"sub":"ann","a":[{"b":1,"b":2}]`, "twice"},
		{`"Sub":"ann"`, "names no user"},
		{`"sub":"ann","a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20), "too deep"},
		{"\"sub\":\"a\xff\"", "not a JSON object"},
		{`"sub":"ann"} {`, "not a JSON object"},
		{`"sub":"ann",`, "not a JSON object"},
		{`"sub":"ann" "a":1`, "not a JSON object"},
	} {
		payload := fmt.Sprintf(`{"iat":%d,"exp":%d,%s}`, now, now+60, test.claims)
		wantInvalid(t, v, signText(t, "HS256", []byte(testSecret), `{"alg":"HS256"}`, payload), test.reason)
	}
}

func TestUserIDs(t *testing.T) {
	v := newVerifier(t, secretConfig())
	for id, fine := range map[any]bool{
		"ann": true, "a/b%*": true, "Ångström": true, "日本": true, strings.Repeat("x", 128): true, "a~": true, " ": true,
		"": false, nil: false, 7: false, true: false, strings.Repeat("x", 129): false, "~gann": false,
		"a\x00": false, "a\n": false, "a\u0085": false, "a\u200d": false, "a\u202e": false, "\ufeffa": false,
		"A\u030angstro\u0308m": false, "a\ufffd": false,
	} {
		got, err := v.Verify(t.Context(), sign(t, "HS256", []byte(testSecret), good(object{"sub": id}), nil), nil)
		if (err == nil) != fine {
			t.Errorf("%q: %v", id, err)
		}
		if err == nil && got.User != id {
			t.Errorf("%q became %q", id, got.User)
		}
	}
}

func TestUserAndNameCanBeOtherClaims(t *testing.T) {
	c := secretConfig()
	c.UserClaim, c.NameClaim = "https://example.com/user", "nick"
	v := newVerifier(t, c)
	got, err := v.Verify(t.Context(), sign(t, "HS256", []byte(testSecret), good(object{"https://example.com/user": "ben", "nick": "Ben"}), nil), nil)
	if err != nil || got.User != "ben" || got.Name != "Ben" {
		t.Errorf("%+v, %v", got, err)
	}
	wantInvalid(t, v, sign(t, "HS256", []byte(testSecret), good(nil), nil), "names no user")
}

func TestClaimRealtime(t *testing.T) {
	v := newVerifier(t, secretConfig())
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprint("room", i)
	}
	for _, test := range []struct {
		claim any
		want  string // empty: the token is invalid
	}{
		{nil, "map[]"},
		{object{}, "map[]"},
		{object{"publish": []string{"chat/*", "a"}, "subscribe": []string{"*"}, "all": []string{"dm/{user}/*"}}, "map[all:[dm/{user}/*] publish:[chat/* a] subscribe:[*]]"},
		{object{"publish": many[:32], "show": many[:32]}, fmt.Sprint(map[string][]string{"publish": many[:32], "show": many[:32]})},
		{object{"publish": many}, ""},
		{object{"publish": many[:33], "show": many[:32]}, ""},
		{json.RawMessage("null"), ""},
		{"publish", ""},
		{[]string{"publish"}, ""},
		{object{"publish": "chat"}, ""},
		{object{"publish": []any{7}}, ""},
		{object{"publish": []any{"a", nil}}, ""},
		{object{"publish": []string{""}}, ""},
		{object{"publish": []string{"*/a"}}, ""},
		{object{"publish": []string{"-/audit"}}, ""},
		{object{"Publish": []string{"a"}}, ""},
		{object{"fly": []string{"a"}}, ""},
	} {
		got, err := v.Verify(t.Context(), sign(t, "HS256", []byte(testSecret), good(object{"realtime": test.claim}), nil), nil)
		if test.want == "" && !errors.Is(err, ErrInvalid) || test.want != "" && (err != nil || fmt.Sprint(got.Realtime) != test.want) {
			t.Errorf("%v: %v, %v", test.claim, got, err)
		}
	}
}

func TestClaim(t *testing.T) {
	v := newVerifier(t, secretConfig())
	got, err := v.Verify(t.Context(), sign(t, "HS256", []byte(testSecret), good(object{
		"role": "staff", "level": 7, "admin": true, "groups": []any{"a", 8, false, []string{"nested"}},
		"realm": object{"roles": []string{"x"}, "a.b": object{"c": "deep"}}, "https://x.example/roles": "y", "a.b": "flat", "a": object{"b": "nested"},
	}), nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, values string
		want         bool
	}{
		{"role", "staff", true},
		{"role", "guest,staff", true},
		{"role", "Staff", false},
		{"Role", "staff", false},
		{"role", "", false},
		{"level", "7", true},
		{"level", "7.0", false},
		{"admin", "true", true},
		{"admin", "false", false},
		{"groups", "a", true},
		{"groups", "8", true},
		{"groups", "false", true},
		{"groups", "nested", false},
		{"realm.roles", "x", true},
		{"realm.a.b.c", "deep", true},
		{"realm", "x", false},
		{"realm.none", "x", false},
		{"realm.roles.x", "x", false},
		{"https://x.example/roles", "y", true},
		{"a.b", "flat", true},
		{"a.b", "nested", false},
		{"", "x", false},
		{"..", "x", false},
	} {
		if got.Claim(test.path, strings.Split(test.values, ",")...) != test.want {
			t.Errorf("%s %s: not %t", test.path, test.values, test.want)
		}
	}
	if got.Claim("role") {
		t.Error("no value is one of the claim's")
	}
}
