package token

import (
	"crypto"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

func publicKeys(private any) []crypto.PublicKey {
	return []crypto.PublicKey{private.(crypto.Signer).Public()}
}

// FuzzVerify signs what it is given, so that hostile headers and claims come through to the end, and
// verifies it as it is, too.
func FuzzVerify(f *testing.F) {
	claims := string(must(json.Marshal(good(object{"realtime": object{"publish": []string{"chat/*"}}}))))
	f.Add(`{"alg":"HS256"}`, claims, "")
	f.Add(`{"alg":"none"}`, claims, "a.b.c")
	f.Add(`{"alg":"RS256","kid":"../../dev/null"}`, `{"sub":"a","sub":"b"}`, "..")
	f.Add(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{"exp":1e300,"iat":-1}`, "eyJhbGciOiJub25lIn0.e30.")
	v := newVerifier(f, Config{Secrets: [][]byte{[]byte(testSecret)}, Keys: publicKeys(rsaKey())})
	f.Fuzz(func(t *testing.T, header, payload, raw string) {
		if got, err := v.Verify(t.Context(), raw, nil); got != nil || !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is good without a secret: %v", raw, err)
		}
		got, err := v.Verify(t.Context(), signText(t, "HS256", []byte(testSecret), header, payload), nil)
		if err != nil {
			if got != nil || !errors.Is(err, ErrInvalid) || !utf8.ValidString(err.Error()) {
				t.Errorf("%v and %v", got, err)
			}
			return
		}
		if id, err := userID(got.User); id != got.User || err != nil {
			t.Errorf("bad user %q", got.User)
		}
		if !json.Valid([]byte(header)) || !json.Valid([]byte(payload)) {
			t.Errorf("%q and %q are good", header, payload)
		}
	})
}

// FuzzDecodeObject compares with encoding/json, which is less strict.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,{"b":null}],"c":"\ud800"}`, `{"a":1,"a":2}`, `{"a":1]`, `{"a":1}}`, `{"a" 1}`, `[1 2]`, `{"a":1,}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		object, err := decodeObject(b)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(b, &want); err != nil || len(object) != len(want) {
			t.Errorf("%q: %v and %v, %v", b, object, want, err)
		}
	})
}

// FuzzParseSet parses hostile JWK sets.
func FuzzParseSet(f *testing.F) {
	f.Add([]byte(setOf(jwkOf("a", rsaKey().Public(), nil))))
	f.Add([]byte(setOf(jwkOf("a", p256().Public(), object{"use": "enc"}), jwkOf("b", edKey().Public(), nil))))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	r := newVerifier(f, setConfig()).remote
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := r.parseSet(b)
		if (err == nil) != (len(keys) > 0) {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if _, secret := k.material.([]byte); secret || len(k.algorithms) == 0 || k.thumbprint == "" {
				t.Errorf("%+v", k)
			}
		}
	})
}
