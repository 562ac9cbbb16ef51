package values

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What is stored is there again after a restart, for as long as it was to last, and no
// version is given twice.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := make(map[string]Stored)
		var newest uint64
		v := New(func(s Stored) error {
			newest = s.Version
			s.Bytes = bytes.Clone(s.Bytes)
			file[s.Name] = s
			return nil
		})
		set := func(v *Values, name, value string, version uint64, ttl time.Duration) uint64 {
			t.Helper()
			version, err := v.Set(t.Context(), name, []byte(value), version, ttl)
			if err != nil {
				t.Fatal(err)
			}
			return version
		}
		stays := set(v, "stays", "1", 0, 0)
		set(v, "minute", "2", 0, time.Minute)
		set(v, "second", "3", 0, time.Second)
		gone := set(v, "gone", "4", 0, 0)
		set(v, "gone", "", gone, 0)
		v.Close()
		time.Sleep(2 * time.Second)

		again := New(nil)
		defer again.Close()
		var all []Stored
		for _, s := range file {
			if len(s.Bytes) > 0 {
				all = append(all, s)
			}
		}
		again.Restore(newest, all...)
		for name, want := range map[string]string{"stays": "1", "minute": "2", "second": "", "gone": ""} {
			if b, _, err := again.Get(t.Context(), name); string(b) != want || err != nil {
				t.Errorf("%s is %q, %v; want %q", name, b, err, want)
			}
		}
		if version := set(again, "gone", "5", 0, 0); version <= gone+1 {
			t.Errorf("version %d is given again: removing %d had one, too", version, gone)
		}
		set(again, "stays", "6", stays, 0)
		time.Sleep(time.Minute)
		if b, _, _ := again.Get(t.Context(), "minute"); b != nil {
			t.Errorf("%q lasts longer than it was to", b)
		}
	})
}

// A change that cannot be stored is not made.
func TestStoreFails(t *testing.T) {
	full := errors.New("full")
	var err error
	v := New(func(Stored) error { return err })
	version, _ := v.Set(t.Context(), "a", []byte("1"), 0, 0)
	err = full
	for name, version := range map[string]uint64{"a": version, "b": 0} {
		if _, err := v.Set(t.Context(), name, []byte("2"), version, 0); !errors.Is(err, full) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, again, _ := v.Get(t.Context(), "a"); string(b) != "1" || again != version {
		t.Errorf("a is %q of version %d", b, again)
	}
	if b, _, _ := v.Get(t.Context(), "b"); b != nil {
		t.Errorf("b is %q", b)
	}
}
