package link_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access/link"
)

const canary = "canary-0123456789-0123456789-0123456789"

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func key(t testing.TB, secret string) link.Key {
	t.Helper()
	k, err := link.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// example is a good link.
func example() link.Link {
	return link.Link{Hub: "main", Host: "example.com", Room: "board/1", Verbs: []string{"subscribe", "publish"}, Name: "Ann <a>", Expires: now.Add(time.Hour), ID: "j1", Uses: 3}
}

// forge signs a payload as it stands.
func forge(k link.Key, payload string) string {
	signed := "v1." + k.ID() + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	m := hmac.New(sha256.New, []byte(canary))
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func TestVerifiedLinkSaysWhatWasSigned(t *testing.T) {
	k := key(t, canary)
	for _, change := range []func(*link.Link){
		func(*link.Link) {},
		func(l *link.Link) { l.Room, l.Pattern = "", "board/*" },
		func(l *link.Link) { l.Room, l.Pattern = "", "*" },
		func(l *link.Link) { l.Hub, l.Name, l.Uses = "", "", 0 },
		func(l *link.Link) { l.Room, l.Name = "日本/語", strings.Repeat("語", 40) },
		func(l *link.Link) { l.Expires = now.Add(link.MaxLife) },
	} {
		want := example()
		change(&want)
		text, err := k.Sign(want, now)
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		got, err := link.Keys{key(t, strings.Repeat("o", 32)), k}.Verify(text, now)
		want.KeyID, want.Expires = k.ID(), want.Expires.Local()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
}

func TestLinkWithoutIDGetsOne(t *testing.T) {
	k, seen := key(t, canary), make(map[string]bool)
	for range 2 {
		l := example()
		l.ID = ""
		text, err := k.Sign(l, now)
		if err != nil {
			t.Fatal(err)
		}
		l, err = link.Keys{k}.Verify(text, now)
		if err != nil || len(l.ID) != 16 || seen[l.ID] {
			t.Errorf("%q, %v", l.ID, err)
		}
		seen[l.ID] = true
	}
}

func TestLinkEndsWhenItExpires(t *testing.T) {
	k := key(t, canary)
	text, err := k.Sign(example(), now)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]error{0: nil, time.Hour - time.Nanosecond: nil, time.Hour: link.ErrExpired, 9999 * time.Hour: link.ErrExpired} {
		if _, err := (link.Keys{k}).Verify(text, now.Add(after)); !errors.Is(err, want) {
			t.Errorf("after %v: %v, want %v", after, err, want)
		}
	}
}

func TestLinkEndsWithItsKey(t *testing.T) {
	k := key(t, canary)
	text, _ := k.Sign(example(), now)
	for _, keys := range []link.Keys{nil, {key(t, strings.Repeat("o", 32))}} {
		if _, err := keys.Verify(text, now); !errors.Is(err, link.ErrUnknownKey) {
			t.Errorf("%v: %v", keys, err)
		}
	}
}

// No byte of a link can be changed, and no text but the signed one is the link.
func TestAlteredLinkIsRefused(t *testing.T) {
	k := key(t, canary)
	text, _ := k.Sign(example(), now)
	for i := range text {
		for _, c := range []byte("A.B_-z=\n~") {
			altered := text[:i] + string(c) + text[i+1:]
			if _, err := (link.Keys{k}).Verify(altered, now); err == nil && altered != text {
				t.Fatalf("byte %d may be %q", i, c)
			}
		}
	}
	for _, altered := range []string{"", text + "=", text + "\n", text[:len(text)-1], " " + text, text + ".", "v2" + text[2:], strings.Replace(text, ".", "..", 1)} {
		if _, err := (link.Keys{k}).Verify(altered, now); err == nil {
			t.Errorf("%q is taken", altered)
		}
	}
	dot := strings.LastIndex(text, ".")
	payload := strings.Split(text, ".")[2]
	other := base64.RawURLEncoding.EncodeToString([]byte(`{"host":"example.com","room":"staff","verbs":["publish"],"exp":9999999999,"jti":"j1"}`))
	for _, altered := range []string{strings.Replace(text, payload, other, 1), text[:dot+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 32)), text[:dot+1]} {
		if _, err := (link.Keys{k}).Verify(altered, now); !errors.Is(err, link.ErrAltered) {
			t.Errorf("%q: %v", altered, err)
		}
	}
}

// Even one who has the key cannot make a link that is more than a link may be.
func TestSignedPayloadIsChecked(t *testing.T) {
	k := key(t, canary)
	in := func(format string, a ...any) string {
		return fmt.Sprintf(`{"host":"h",`+format+`,"verbs":["publish"],"exp":%d,"jti":"j"}`, append(a, now.Unix()+60)...)
	}
	good := in(`"room":"a"`)
	if _, err := (link.Keys{k}).Verify(forge(k, good), now); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for what, payload := range map[string]string{
		"neither room nor pattern": in(`"name":"x"`),
		"room and pattern":         in(`"room":"a","pattern":"a*"`),
		"a room that is none":      in(`"room":"a//b"`),
		"a reserved room":          in(`"room":"-/audit"`),
		"a reserved pattern":       in(`"pattern":"-/*"`),
		"a star in a room":         in(`"room":"a*"`),
		"no star in a pattern":     in(`"pattern":"a"`),
		"two stars":                in(`"pattern":"a*b*"`),
		"a user's segment":         in(`"pattern":"dm/{user}/*"`),
		"an unknown field":         in(`"room":"a","ip":"192.0.2.1"`),
		"a long name":              in(`"room":"a","name":"%s"`, strings.Repeat("é", 41)),
		"a control character":      in(`"room":"a","name":"a\u0007"`),
		"a hub that is none":       in(`"room":"a","hub":"a b"`),
		"negative uses":            in(`"room":"a","uses":-1`),
		"uses that are text":       in(`"room":"a","uses":"9"`),
		"no host":                  strings.Replace(good, `"h"`, `""`, 1),
		"a host with port":         strings.Replace(good, `"h"`, `"h:80"`, 1),
		"no verbs":                 strings.Replace(good, `["publish"]`, `[]`, 1),
		"a verb that is none":      strings.Replace(good, `publish`, `pub lish`, 1),
		"no exp":                   strings.Replace(good, `"exp"`, `"uses":0,"e"`, 1),
		"exp zero":                 `{"host":"h","room":"a","verbs":["publish"],"exp":0,"jti":"j"}`,
		"exp that overflows":       `{"host":"h","room":"a","verbs":["publish"],"exp":9223372036854775807,"jti":"j"}`,
		"no jti":                   strings.Replace(good, `"jti":"j"`, `"jti":""`, 1),
		"a jti that is none":       strings.Replace(good, `"jti":"j"`, `"jti":"~j"`, 1),
		"two objects":              good + good,
		"an array":                 "[" + good + "]",
		"nothing":                  "",
		"two years":                `{"host":"h","room":"a","verbs":["publish"],"exp":` + fmt.Sprint(now.AddDate(2, 0, 0).Unix()) + `,"jti":"j"}`,
	} {
		if l, err := (link.Keys{k}).Verify(forge(k, payload), now); !errors.Is(err, link.ErrMalformed) {
			t.Errorf("%s: %+v, %v", what, l, err)
		}
	}
}

func TestSignRefusesWhatVerifyWould(t *testing.T) {
	k := key(t, canary)
	for what, change := range map[string]func(*link.Link){
		"no room":        func(l *link.Link) { l.Room = "" },
		"no verbs":       func(l *link.Link) { l.Verbs = nil },
		"expired":        func(l *link.Link) { l.Expires = now },
		"no expiry":      func(l *link.Link) { l.Expires = time.Time{} },
		"over a year":    func(l *link.Link) { l.Expires = now.Add(link.MaxLife + time.Hour) },
		"a host in caps": func(l *link.Link) { l.Host = "Example.com" },
		"not UTF-8":      func(l *link.Link) { l.Name = "\xff" },
	} {
		l := example()
		change(&l)
		if text, err := k.Sign(l, now); err == nil {
			t.Errorf("%s: %q", what, text)
		}
	}
	if _, err := new(link.Key).Sign(example(), now); err == nil {
		t.Error("the empty key signs")
	}
	if _, err := link.NewKey(canary[:31]); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a short key: %v", err)
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	k := key(t, canary)
	if text := fmt.Sprintf("%v %+v %#v %s %v", k, k, k, k, link.Keys{k}); strings.Contains(text, "canary") {
		t.Error(text)
	}
	if other := key(t, canary+"x"); other.ID() == k.ID() {
		t.Error("two keys have one id")
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		room, pattern, name string
		want                bool
	}{
		{"a", "", "a", true},
		{"a", "", "a/b", false},
		{"a", "", "A", false},
		{"", "a/*", "a/b/c", true},
		{"", "a/*", "a", false},
		{"", "*", "a", true},
		{"", "*", "-/audit", false},
		{"", "-*", "-/audit", false},
		{"", "", "", false},
		{"", "", "a", false},
	} {
		l := link.Link{Room: test.room, Pattern: test.pattern}
		if got := l.Match(test.name); got != test.want {
			t.Errorf("%q %q and %q: %v", test.room, test.pattern, test.name, got)
		}
	}
}

func TestHost(t *testing.T) {
	for header, want := range map[string]string{
		"Example.COM": "example.com", "example.com:8443": "example.com", "example.com.": "example.com", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "[2001:DB8::1]": "2001:db8::1",
		"192.0.2.1:80": "192.0.2.1", "": "", "a b": "", "a/b": "", "[::1": "", "ä.example": "", strings.Repeat("a", 254): "", "a@b": "",
	} {
		if got := link.Host(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestUsesOfALink(t *testing.T) {
	var u link.Uses
	l := example()
	for i := range 5 {
		if got := u.Use(&l, now); got != (i < 3) {
			t.Errorf("use %d: %v", i+1, got)
		}
	}
	other, free := example(), example()
	other.ID, free.Uses = "j2", 0
	if !u.Use(&other, now) || !u.Use(&free, now) {
		t.Error("another link cannot be used")
	}
	if u.Use(&l, l.Expires) || u.Len() != 0 {
		t.Errorf("%d are counted after the end", u.Len())
	}
}

func TestUsesAreBounded(t *testing.T) {
	var u link.Uses
	l := example()
	for i := range link.MaxCounted {
		l.ID, l.Expires = fmt.Sprint(i), now.Add(time.Duration(i+1)*time.Minute)
		if !u.Use(&l, now) {
			t.Fatalf("link %d is refused", i)
		}
	}
	last := l
	l.ID = "more"
	if u.Use(&l, now) || u.Len() != link.MaxCounted {
		t.Error("there are more than are counted")
	}
	if !u.Use(&last, now) {
		t.Error("one that is counted is refused")
	}
	if !u.Use(&l, now.Add(time.Minute)) || u.Len() != link.MaxCounted {
		t.Error("none has made room")
	}
}

// Verify takes no text that Sign has not made, and does not panic.
func FuzzVerify(f *testing.F) {
	k := key(f, canary)
	text, _ := k.Sign(example(), now)
	f.Add(text)
	f.Add("v1...")
	f.Add(text[:20])
	f.Add(forge(k, `{"host":"h","room":"a","verbs":["publish"],"exp":1,"jti":"j"}`))
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := (link.Keys{k}).Verify(s, now); err == nil && s != text {
			t.Errorf("%q is taken", s)
		}
	})
}

// What a key has signed either is a link that could be signed anew, or malformed.
func FuzzPayload(f *testing.F) {
	k := key(f, canary)
	f.Add(`{"host":"h","room":"a","verbs":["publish"],"exp":1796040060,"jti":"j"}`)
	f.Add(`{"host":"h","pattern":"a/*","verbs":["publish"],"exp":1796040060,"jti":"j","uses":2,"name":"x","hub":"y"}`)
	f.Add(`{"host":"h","Room":"a","room":"","verbs":["publish"],"exp":1796040060.5,"jti":"j"}`)
	f.Fuzz(func(t *testing.T, s string) {
		l, err := link.Keys{k}.Verify(forge(k, s), now)
		if err != nil {
			return
		}
		if _, err := k.Sign(l, now); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if l.Match("-/audit") || l.Match("") || (l.Room == "") == (l.Pattern == "") {
			t.Errorf("%q: %+v", s, l)
		}
	})
}
