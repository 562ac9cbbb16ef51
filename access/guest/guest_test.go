package guest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access/guest"
)

var key = [32]byte{1}

func TestGuestIsKnownAgain(t *testing.T) {
	id := guest.NewID()
	if got, err := guest.Verify(key, guest.Sign(key, id)); got != id || err != nil {
		t.Errorf("%q: %q, %v", id, got, err)
	}
	if c := (&http.Cookie{Name: "x", Value: guest.Sign(key, id)}); c.Valid() != nil || strings.Contains(c.String(), `"`) {
		t.Errorf("%s is no cookie: %v", c, c.Valid())
	}
	if other := guest.NewID(); other == id || len(id) != 22 {
		t.Errorf("%q and %q", id, other)
	}
}

func TestAlteredCookieIsNoGuest(t *testing.T) {
	text := guest.Sign(key, guest.NewID())
	for i := range text {
		for _, c := range []byte("Aa0._-=\n") {
			altered := text[:i] + string(c) + text[i+1:]
			if got, err := guest.Verify(key, altered); altered != text && !errors.Is(err, guest.ErrInvalid) {
				t.Fatalf("byte %d may be %q: %q, %v", i, c, got, err)
			}
		}
	}
	for what, altered := range map[string]string{
		"empty": "", "longer": text + "A", "cut": text[:len(text)-1], "another key": guest.Sign([32]byte{3}, guest.NewID()),
		"dots": "g1..", "a short id": guest.Sign(key, "AAAA"),
	} {
		if _, err := guest.Verify(key, altered); !errors.Is(err, guest.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	text := guest.Sign(key, strings.Repeat("A", 22))
	f.Add(text)
	f.Add("g1..")
	f.Fuzz(func(t *testing.T, cookie string) {
		id, err := guest.Verify(key, cookie)
		if err == nil && guest.Sign(key, id) != cookie {
			t.Errorf("%q is another text for %q", cookie, id)
		}
	})
}
