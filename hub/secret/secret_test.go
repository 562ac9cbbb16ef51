package secret

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// store is a Store with one value. lost has another hub store its key before ours.
type store struct {
	value []byte
	lost  []byte
	err   error
}

func (s *store) Get(context.Context, string) ([]byte, uint64, error) {
	return s.value, uint64(len(s.value)), s.err
}

func (s *store) Set(_ context.Context, _ string, value []byte, version uint64, _ time.Duration) (uint64, error) {
	if s.lost != nil {
		s.value, s.lost = s.lost, nil
	}
	if version != uint64(len(s.value)) {
		return 0, errors.New("changed")
	}
	s.value = bytes.Clone(value)
	return uint64(len(value)), nil
}

func TestLoad(t *testing.T) {
	s := new(store)
	first, err := Load(s)
	if err != nil || first == (Key{}) {
		t.Fatalf("%v, %v", first, err)
	}
	if again, err := Load(s); err != nil || again != first {
		t.Errorf("another key is loaded: %v", err)
	}
	theirs := bytes.Repeat([]byte{7}, len(first))
	if k, err := Load(&store{lost: theirs}); err != nil || !bytes.Equal(k[:], theirs) {
		t.Errorf("another hub's key is not taken: %v", err)
	}
	ill := errors.New("ill")
	if _, err := Load(&store{err: ill}); !errors.Is(err, ill) {
		t.Errorf("a store that fails: %v", err)
	}
	if _, err := Load(&store{lost: []byte("short")}); err == nil {
		t.Error("what is no key is taken for one")
	}
}

func TestTag(t *testing.T) {
	k, other := Key{1}, Key{2}
	tag := k.Tag("conn", "a", 9)
	if len(tag) != 12 || tag != k.Tag("conn", "a", 9) {
		t.Errorf("%q", tag)
	}
	for what, another := range map[string]string{"text": k.Tag("conn", "b", 9), "purpose": k.Tag("member", "a", 9), "key": other.Tag("conn", "a", 9)} {
		if another == tag {
			t.Errorf("another %s gives the same code", what)
		}
	}
}
