package message_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub/message"
)

func TestParsePosition(t *testing.T) {
	for text, want := range map[string]message.Position{
		"k3f9.1042":                     {Epoch: "k3f9", Offset: 1042},
		"a.0":                           {Epoch: "a"},
		"A-z_9.18446744073709551615":    {Epoch: "A-z_9", Offset: 1<<64 - 1},
		strings.Repeat("e", 32) + ".10": {Epoch: strings.Repeat("e", 32), Offset: 10},
	} {
		if got, err := message.ParsePosition(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if want.String() != text || want.IsZero() {
			t.Errorf("%+v is written %q, want %q", want, want, text)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "no dot": "k3f9", "no epoch": ".1", "no offset": "k3f9.", "sign": "k3f9.+1", "minus": "k3f9.-1",
		"leading zero": "k3f9.01", "two zeros": "k3f9.00", "underscore": "k3f9.1_0", "hex": "k3f9.0x1", "space": "k3f9. 1",
		"space after": "k3f9.1 ", "two dots": "k3f9.1.2", "overflow": "k3f9.18446744073709551616", "epoch of 33": strings.Repeat("e", 33) + ".1",
		"epoch with a space": "k 9.1", "not ASCII": "é.1", "separators of vectors": "a=b.1", "newline": "a\n.1", "NUL": "\x00.1",
	} {
		if got, err := message.ParsePosition(text); !errors.Is(err, message.ErrPosition) || !got.IsZero() {
			t.Errorf("%s: %q gives %+v, %v", name, text, got, err)
		}
	}
	if zero := (message.Position{}); zero.String() != "" || !zero.IsZero() {
		t.Errorf("no place is written %q", zero)
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"k3f9.1042", "a.0", "a.00", ".1", "a.", "a.+1", "a.18446744073709551616", "-_.7", "é.1", "a.1.2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := message.ParsePosition(s)
		if err != nil {
			if !errors.Is(err, message.ErrPosition) || p != (message.Position{}) {
				t.Errorf("%q: %+v, %v", s, p, err)
			}
			return
		}
		if p.String() != s || p.IsZero() {
			t.Errorf("%q is written %q", s, p)
		}
	})
}
