package token

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, secretConfig())
		raw := sign(t, "HS256", []byte(testSecret), good(nil), nil)
		got, err := v.Verify(t.Context(), raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Now().Truncate(time.Second).Add(time.Hour + 30*time.Second); !got.Expires.Equal(want) {
			t.Errorf("expires at %s, not %s", got.Expires, want)
		}
		time.Sleep(time.Until(got.Expires) - 1)
		if again, err := v.Verify(t.Context(), raw, nil); again != got {
			t.Errorf("not remembered: %v", err)
		}
		time.Sleep(time.Nanosecond)
		wantInvalid(t, v, raw, "expired")
		if n := len(v.cache.known); n != 0 {
			t.Errorf("%d are remembered", n)
		}
	})
}

func TestNoLeeway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := secretConfig()
		c.Leeway = NoLeeway
		v := newVerifier(t, c)
		raw := sign(t, "HS256", []byte(testSecret), good(nil), nil)
		time.Sleep(time.Hour - 1)
		if _, err := v.Verify(t.Context(), raw, nil); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		wantInvalid(t, v, raw, "expired")
	})
}

func TestLeastUsedTokenIsForgotten(t *testing.T) {
	var c cache
	now := time.Now()
	d := func(i int) (d digest) {
		binary.BigEndian.PutUint32(d[:], uint32(i))
		return d
	}
	v := &verified{token: &Token{Expires: now.Add(time.Hour)}}
	for i := range maxCached {
		c.add(d(i), v)
	}
	c.get(d(0), now) // so 1 is the least used
	c.add(d(maxCached), v)
	c.add(d(maxCached), v)
	if c.get(d(0), now) == nil || c.get(d(1), now) != nil || c.get(d(2), now) == nil || c.get(d(maxCached), now) == nil {
		t.Error("another one was forgotten")
	}
	if len(c.known) != maxCached || c.used.Len() != maxCached {
		t.Errorf("%d and %d", len(c.known), c.used.Len())
	}
}

func TestBadTokensAreNotRemembered(t *testing.T) {
	v := newVerifier(t, secretConfig())
	for range 3 {
		wantInvalid(t, v, sign(t, "HS256", []byte("another"), good(nil), nil), "signature")
	}
	if len(v.cache.known) != 0 {
		t.Error("it is remembered")
	}
}

func TestVerifyConcurrently(t *testing.T) {
	v := newVerifier(t, secretConfig())
	var done sync.WaitGroup
	for i := range 8 {
		raw := sign(t, "HS256", []byte(testSecret), good(object{"sub": fmt.Sprint("user", i%4)}), nil)
		done.Go(func() {
			for range 100 {
				got, err := v.Verify(t.Context(), raw, nil)
				if err != nil || got.User != fmt.Sprint("user", i%4) || !got.Claim("sub", got.User) {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	done.Wait()
}

func BenchmarkVerify(b *testing.B) {
	for alg, key := range map[string]any{"HS256": []byte(testSecret), "RS256": rsaKey(), "ES256": p256()} {
		c := secretConfig()
		if alg != "HS256" {
			c = Config{Keys: publicKeys(key)}
		}
		v := newVerifier(b, c)
		raw := sign(b, alg, key, good(object{"name": "Ann", "iss": "https://id.example.com", "realtime": object{"publish": []string{"chat/*"}}}), nil)
		for _, kind := range []string{"cached", "uncached"} {
			b.Run(alg+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if kind == "uncached" {
						v.cache = cache{}
					}
					if _, err := v.Verify(b.Context(), raw, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
