package token

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// jwkOf returns a JWK of the key, with the members changed.
func jwkOf(kid string, key any, members object) object {
	var jwk object
	text := must(jose.JSONWebKey{Key: key, KeyID: kid}.MarshalJSON())
	if err := json.Unmarshal(text, &jwk); err != nil {
		panic(err)
	}
	maps.Copy(jwk, members)
	return jwk
}

func setOf(keys ...object) string { return string(must(json.Marshal(object{"keys": keys}))) }

func setConfig() Config {
	return Config{JWKS: "https://id.example/keys", Issuer: "https://id.example", Audience: []string{"chat"}}
}

// issuer answers fetches of a JWK set.
type issuer struct {
	mu      sync.Mutex
	fetches []time.Time
	answer  func(*http.Request) (*http.Response, error)
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches = append(i.fetches, time.Now())
	answer := i.answer
	i.mu.Unlock()
	return answer(r)
}

func (i *issuer) set(answer func(*http.Request) (*http.Response, error)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.fetches)
}

// gives answers with a body.
func gives(body string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// fails answers that nobody listens.
func fails(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// slowly takes a second for an answer.
func slowly(answer func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		time.Sleep(time.Second)
		return answer(r)
	}
}

// hangs does not answer.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// fetching runs a test with a verifier that fetches its keys from the issuer, in a bubble.
func fetching(t *testing.T, c Config, answer func(*http.Request) (*http.Response, error), test func(*testing.T, *Verifier, *issuer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{answer: answer}
		v, err := New(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		v.remote.client.Transport = i
		v.Start()
		defer v.Close()
		test(t, v, i)
	})
}

// issued returns a token of the issuer.
func issued(t *testing.T, alg string, key any, kid string) string {
	t.Helper()
	header := object{"kid": kid}
	if kid == "" {
		header = nil
	}
	return sign(t, alg, key, good(object{"iss": "https://id.example", "aud": "chat"}), header)
}

func wantUnavailable(t *testing.T, v *Verifier, raw string) {
	t.Helper()
	start := time.Now()
	_, err := v.Verify(t.Context(), raw, nil)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	if took := time.Since(start); took != patience {
		t.Errorf("waited %s", took)
	}
}

func wantGood(t *testing.T, v *Verifier, raw string) {
	t.Helper()
	start := time.Now()
	if _, err := v.Verify(t.Context(), raw, nil); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("waited %s", took)
	}
}

func TestKeyOfTheSetVerifies(t *testing.T) {
	answer := gives(setOf(jwkOf("a", rsaKey().Public(), nil), jwkOf("b", p256().Public(), nil), jwkOf("c", edKey().Public(), object{"use": "sig", "key_ops": []string{"verify"}})))
	fetching(t, setConfig(), answer, func(t *testing.T, v *Verifier, i *issuer) {
		wantGood(t, v, issued(t, "RS256", rsaKey(), "a"))
		wantGood(t, v, issued(t, "ES256", p256(), "b"))
		wantGood(t, v, issued(t, "EdDSA", edKey(), "c"))
		wantGood(t, v, issued(t, "RS256", rsaKey(), "")) // the only one that fits
		wantInvalid(t, v, issued(t, "RS256", otherRSA(), "a"), "signature")
		wantInvalid(t, v, issued(t, "ES256", p256(), "a"), "unknown")
		wantInvalid(t, v, issued(t, "PS256", rsaKey(), "a"), "unknown")
		wantInvalid(t, v, sign(t, "HS256", []byte(testSecret), good(object{"iss": "https://id.example", "aud": "chat"}), nil), "algorithm")
		if n := i.count(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestWithoutKidOnlyOneKeyMayFit(t *testing.T) {
	answer := gives(setOf(jwkOf("a", rsaKey().Public(), nil), jwkOf("b", otherRSA().Public(), nil)))
	fetching(t, setConfig(), answer, func(t *testing.T, v *Verifier, i *issuer) {
		wantInvalid(t, v, issued(t, "RS256", rsaKey(), ""), "no kid")
		wantGood(t, v, issued(t, "RS256", rsaKey(), "a"))
	})
	// Nor may two keys have one kid.
	answer = gives(setOf(jwkOf("a", rsaKey().Public(), nil), jwkOf("a", otherRSA().Public(), nil)))
	fetching(t, setConfig(), answer, func(t *testing.T, v *Verifier, i *issuer) {
		wantInvalid(t, v, issued(t, "RS256", rsaKey(), "a"), "unknown")
	})
}

func TestKeysThatAreLeftOut(t *testing.T) {
	good := jwkOf("good", p256().Public(), nil)
	for name, jwk := range map[string]any{
		"oct":                    object{"kty": "oct", "kid": "x", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "alg": "HS256"},
		"private":                jwkOf("x", rsaKey(), nil),
		"for encrypting":         jwkOf("x", rsaKey().Public(), object{"use": "enc"}),
		"for signing alone":      jwkOf("x", rsaKey().Public(), object{"key_ops": []string{"sign"}}),
		"operations not a list":  jwkOf("x", rsaKey().Public(), object{"key_ops": "verify"}),
		"another algorithm":      jwkOf("x", rsaKey().Public(), object{"alg": "RS512"}),
		"algorithm of secrets":   jwkOf("x", rsaKey().Public(), object{"alg": "HS256"}),
		"algorithm of a curve":   jwkOf("x", rsaKey().Public(), object{"alg": "ES256"}),
		"short":                  jwkOf("x", shortRSA(), nil),
		"kid is a number":        jwkOf("x", rsaKey().Public(), object{"kid": 7}),
		"unknown kind":           object{"kty": "AKP", "kid": "x"},
		"not an object":          "x",
		"curve point is not one": jwkOf("x", p256().Public(), object{"y": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
	} {
		t.Run(name, func(t *testing.T) {
			body := string(must(json.Marshal(object{"keys": []any{jwk, good}})))
			fetching(t, setConfig(), gives(body), func(t *testing.T, v *Verifier, i *issuer) {
				wantInvalid(t, v, issued(t, "RS256", rsaKey(), "x"), "unknown")
				wantGood(t, v, issued(t, "ES256", p256(), "good"))
			})
		})
	}
}

func TestAlgorithmsLimitTheSet(t *testing.T) {
	c := setConfig()
	c.Algorithms = []string{"RS512", "PS256"}
	answer := gives(setOf(jwkOf("a", rsaKey().Public(), nil), jwkOf("b", p256().Public(), nil), jwkOf("c", otherRSA().Public(), object{"alg": "PS256"})))
	fetching(t, c, answer, func(t *testing.T, v *Verifier, i *issuer) {
		wantGood(t, v, issued(t, "RS512", rsaKey(), "a"))
		wantGood(t, v, issued(t, "PS256", otherRSA(), "c"))
		wantInvalid(t, v, issued(t, "RS512", otherRSA(), "c"), "unknown")
		wantInvalid(t, v, issued(t, "RS256", rsaKey(), "a"), "algorithm")
		wantInvalid(t, v, issued(t, "ES256", p256(), "b"), "algorithm")
	})
}

func TestBadAnswersGiveNoKeys(t *testing.T) {
	key := jwkOf("a", rsaKey().Public(), nil)
	many := make([]object, 33)
	for i := range many {
		many[i] = key
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"refused":       fails,
		"hangs":         hangs,
		"panics":        func(*http.Request) (*http.Response, error) { panic("oops") },
		"not JSON":      gives("<html>"),
		"no keys":       gives("{}"),
		"empty":         gives(setOf()),
		"none usable":   gives(setOf(jwkOf("a", rsaKey().Public(), object{"use": "enc"}))),
		"33 keys":       gives(setOf(many...)),
		"repeated":      gives(`{"keys":[],` + setOf(key)[1:]),
		"above 256 KiB": gives(`{"x":"` + strings.Repeat("x", maxSet) + `",` + setOf(key)[1:]),
		"status": func(r *http.Request) (*http.Response, error) {
			resp, err := gives(setOf(key))(r)
			resp.StatusCode = http.StatusInternalServerError
			return resp, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fetching(t, setConfig(), answer, func(t *testing.T, v *Verifier, i *issuer) {
				wantUnavailable(t, v, issued(t, "RS256", rsaKey(), "a"))
				i.set(gives(setOf(key)))
				time.Sleep(10 * time.Second) // retries, soon
				wantGood(t, v, issued(t, "RS256", rsaKey(), "a"))
			})
		})
	}
}

func TestFirstSetIsTriedAgainAndAgain(t *testing.T) {
	fetching(t, setConfig(), fails, func(t *testing.T, v *Verifier, i *issuer) {
		time.Sleep(10 * time.Minute)
		i.mu.Lock()
		defer i.mu.Unlock()
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
		for n, seconds := range want {
			gap := i.fetches[n+1].Sub(i.fetches[n])
			if want := seconds * time.Second; gap < want*9/10 || gap > want*11/10 {
				t.Errorf("retry %d came after %s", n+1, gap)
			}
		}
	})
}

// Requests wait for the set, and go on as soon as it is there.
func TestRequestWaitsForTheFirstSet(t *testing.T) {
	answer := func(r *http.Request) (*http.Response, error) {
		time.Sleep(1500 * time.Millisecond)
		return gives(setOf(jwkOf("a", rsaKey().Public(), nil)))(r)
	}
	fetching(t, setConfig(), answer, func(t *testing.T, v *Verifier, i *issuer) {
		start := time.Now()
		_, err := v.Verify(t.Context(), issued(t, "RS256", rsaKey(), "a"), nil)
		if took := time.Since(start); err != nil || took != 1500*time.Millisecond {
			t.Errorf("%v after %s", err, took)
		}
	})
}

// Tokens that cannot be good wait for nothing, and fetch nothing.
func TestHopelessTokensDoNotWait(t *testing.T) {
	fetching(t, setConfig(), hangs, func(t *testing.T, v *Verifier, i *issuer) {
		start := time.Now()
		wantInvalid(t, v, sign(t, "RS256", rsaKey(), good(object{"aud": "chat"}), nil), "iss")
		wantInvalid(t, v, sign(t, "HS256", []byte(testSecret), good(nil), nil), "algorithm")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Verify(ctx, issued(t, "RS256", rsaKey(), "a"), nil); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %s", took)
		}
	})
}

func TestRotation(t *testing.T) {
	before, after := jwkOf("a", rsaKey().Public(), nil), jwkOf("b", otherRSA().Public(), nil)
	fetching(t, setConfig(), gives(setOf(before)), func(t *testing.T, v *Verifier, i *issuer) {
		first := issued(t, "RS256", rsaKey(), "a")
		wantGood(t, v, first)
		i.set(slowly(gives(setOf(before, after))))
		var done sync.WaitGroup
		for range 3 { // the first asks for the set, and all wait for it
			raw := sign(t, "RS256", otherRSA(), good(object{"iss": "https://id.example", "aud": "chat"}), object{"kid": "b"})
			done.Go(func() {
				if _, err := v.Verify(t.Context(), raw, nil); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
		// A key that the set has no more is good for nothing, also for tokens that are remembered.
		i.set(gives(setOf(after)))
		wantGood(t, v, first)
		time.Sleep(17 * time.Minute)
		wantInvalid(t, v, first, "unknown")
		// The same kid with another key is another key.
		i.set(gives(setOf(jwkOf("b", rsaKey().Public(), nil))))
		time.Sleep(17 * time.Minute)
		wantInvalid(t, v, issued(t, "RS256", otherRSA(), "b"), "signature")
	})
}

func TestRememberedTokenEndsWithItsKey(t *testing.T) {
	fetching(t, setConfig(), gives(setOf(jwkOf("a", rsaKey().Public(), nil))), func(t *testing.T, v *Verifier, i *issuer) {
		raw := issued(t, "RS256", rsaKey(), "a")
		wantGood(t, v, raw)
		i.set(gives(setOf(jwkOf("a", otherRSA().Public(), nil))))
		time.Sleep(17 * time.Minute)
		wantInvalid(t, v, raw, "signature")
	})
}

func TestUnknownKidsFetchOnceInFiveMinutes(t *testing.T) {
	fetching(t, setConfig(), gives(setOf(jwkOf("a", rsaKey().Public(), nil))), func(t *testing.T, v *Verifier, i *issuer) {
		wantGood(t, v, issued(t, "RS256", rsaKey(), "a"))
		i.set(slowly(gives(setOf(jwkOf("a", rsaKey().Public(), nil)))))
		flood := func() {
			var done sync.WaitGroup
			for n := range 100 {
				raw := issued(t, "RS256", otherRSA(), "unknown"+string(rune('a'+n%20)))
				done.Go(func() { wantInvalid(t, v, raw, "unknown") })
			}
			done.Wait()
		}
		start := time.Now()
		flood()
		if took := time.Since(start); took != time.Second {
			t.Errorf("the first flood took %s", took)
		}
		start = time.Now()
		for range 3 {
			flood()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the next floods took %s", took)
		}
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
		time.Sleep(unknownEvery)
		flood()
		if n := i.count(); n != 3 {
			t.Errorf("%d fetches after five minutes", n)
		}
	})
}

// Who needs a new key while the set is being fetched waits for that fetch.
func TestUnknownKidJoinsAFetch(t *testing.T) {
	fetching(t, setConfig(), gives(setOf(jwkOf("a", rsaKey().Public(), nil))), func(t *testing.T, v *Verifier, i *issuer) {
		synctest.Wait()
		i.set(slowly(gives(setOf(jwkOf("b", otherRSA().Public(), nil)))))
		for i.count() == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := v.Verify(t.Context(), issued(t, "RS256", otherRSA(), "b"), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if n := i.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

// A key that may be new, while the issuer does not answer, is not called bad.
func TestUnknownKidWaitsTwoSeconds(t *testing.T) {
	fetching(t, setConfig(), gives(setOf(jwkOf("a", rsaKey().Public(), nil))), func(t *testing.T, v *Verifier, i *issuer) {
		wantGood(t, v, issued(t, "RS256", rsaKey(), "a"))
		i.set(hangs)
		wantUnavailable(t, v, issued(t, "RS256", otherRSA(), "b"))
		wantGood(t, v, issued(t, "RS256", rsaKey(), "a")) // others do not wait
		time.Sleep(fetchTimeout)
		wantInvalid(t, v, issued(t, "RS256", otherRSA(), "b"), "unknown")
	})
}

func TestOldKeysAreGoodForADay(t *testing.T) {
	fetching(t, setConfig(), gives(setOf(jwkOf("a", rsaKey().Public(), nil))), func(t *testing.T, v *Verifier, i *issuer) {
		synctest.Wait()
		fetched := time.Now()
		i.set(fails)
		time.Sleep(goodFor - time.Minute)
		raw := issued(t, "RS256", rsaKey(), "a")
		wantGood(t, v, raw)
		time.Sleep(time.Until(fetched.Add(goodFor)))
		wantUnavailable(t, v, raw) // although it is remembered
		i.set(gives(setOf(jwkOf("a", rsaKey().Public(), nil))))
		time.Sleep(2 * time.Minute)
		wantGood(t, v, raw)
	})
}

func TestSecretVerifiesBesideASetThatIsNotThere(t *testing.T) {
	c := setConfig()
	c.Secrets = [][]byte{[]byte(testSecret)}
	c.Keys = []crypto.PublicKey{rsaKey().Public()}
	fetching(t, c, hangs, func(t *testing.T, v *Verifier, i *issuer) {
		wantGood(t, v, issued(t, "HS256", []byte(testSecret), "x"))
		wantGood(t, v, issued(t, "RS256", rsaKey(), "x"))
		wantInvalid(t, v, issued(t, "HS256", []byte("another"), "x"), "signature")
	})
}

func TestCloseEndsAFetch(t *testing.T) {
	fetching(t, setConfig(), hangs, func(t *testing.T, v *Verifier, i *issuer) {
		synctest.Wait()
		start := time.Now()
		v.Close()
		v.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
	newVerifier(t, setConfig()).Close() // never started
}
