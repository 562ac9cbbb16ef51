package backend_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access/backend"
)

func TestKeyIsFoundByKeyOrHash(t *testing.T) {
	plain, _ := backend.Generate()
	hashed, hash := backend.Generate()
	stranger, _ := backend.Generate()
	var s backend.Set
	for name, configured := range map[string]string{"shop": plain, "ci": hash} {
		if _, err := s.Add(name, configured); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{plain: "shop", hashed: "ci"} {
		name, id, err := s.Find(key)
		if name != want || err != nil || id != key[4:12] {
			t.Errorf("%q, %q, %v; want %s", name, id, err, want)
		}
	}
	if name, id, err := s.Find(stranger); name != "" || !errors.Is(err, backend.ErrUnknown) || id != stranger[4:12] {
		t.Errorf("a stranger: %q, %q, %v", name, id, err)
	}
	if _, _, err := (*backend.Set)(nil).Find(plain); !errors.Is(err, backend.ErrUnknown) {
		t.Errorf("no set: %v", err)
	}
	if _, _, err := s.Find(hash); !errors.Is(err, backend.ErrMalformed) {
		t.Errorf("the hash is taken for the key: %v", err)
	}
}

// The id can be told from the hash, and the hash from the key by other tools.
func TestIDIsTheBeginningOfTheHash(t *testing.T) {
	key, hash := backend.Generate()
	k, err := backend.Parse(key)
	if err != nil || k.Hash() != hash {
		t.Fatalf("%v, %v", k, err)
	}
	h, err := backend.ParseHash(strings.Replace(hash, hash[7:], strings.ToUpper(hash[7:]), 1))
	if err != nil || h != k {
		t.Errorf("%v, %v; want %v", h, err, k)
	}
	sum := sha256.Sum256([]byte(key[13:]))
	if hash != "sha256:"+hex.EncodeToString(sum[:]) || k.ID != hash[7:15] {
		t.Errorf("hash %s, id %s", hash, k.ID)
	}
}

func TestMalformedKeys(t *testing.T) {
	key, hash := backend.Generate()
	other, _ := backend.Generate()
	for what, text := range map[string]string{
		"empty": "", "no prefix": key[4:], "cut": key[:len(key)-1], "longer": key + "A", "another id": other[:13] + key[13:],
		"other letters": strings.ToUpper(key), "a space": key + " ", "a line end": key[:len(key)-1] + "\n", "the hash": hash,
	} {
		_, err := backend.Parse(text)
		if !errors.Is(err, backend.ErrMalformed) || strings.Contains(err.Error(), key[13:20]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, text := range map[string]string{"empty": "", "cut": hash[:len(hash)-1], "no digits": "sha256:" + strings.Repeat("x", 64), "another algorithm": "md5" + hash[6:]} {
		if _, err := backend.ParseHash(text); !errors.Is(err, backend.ErrMalformed) {
			t.Errorf("hash, %s: %v", what, err)
		}
	}
}

func TestTwoKeysOfAName(t *testing.T) {
	var s backend.Set
	var keys []string
	for range 3 {
		key, _ := backend.Generate()
		keys = append(keys, key)
	}
	for i, key := range keys {
		if _, err := s.Add("shop", key); (err != nil) != (i == 2) {
			t.Errorf("key %d: %v", i+1, err)
		}
	}
	for i, key := range keys {
		if _, _, err := s.Find(key); (err != nil) != (i == 2) {
			t.Errorf("key %d: %v", i+1, err)
		}
	}
	k, _ := backend.Parse(keys[0])
	if _, err := s.Add("ci", k.Hash()); err == nil {
		t.Error("one key has two names")
	}
}

// What parses is the one form of its key.
func FuzzParse(f *testing.F) {
	key, hash := backend.Generate()
	for _, s := range []string{key, hash, key[:20], "", "rtk_", "rtk__", "rtk_00000000_" + strings.Repeat("A", 43), strings.Repeat("_", 56)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := backend.Parse(text); err == nil {
			again, err := backend.ParseHash(k.Hash())
			if err != nil || again != k || !strings.HasPrefix(text, "rtk_"+k.ID+"_") || len(text) != len(key) {
				t.Errorf("%q: %v, %v", text, again, err)
			}
		}
		if k, err := backend.ParseHash(text); err == nil && !strings.EqualFold(k.Hash(), text) {
			t.Errorf("%q became %s", text, k.Hash())
		}
	})
}
