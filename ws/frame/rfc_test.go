package frame_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/ws/frame"
)

// rfc is one case: what a client sends and then ends, and what is read.
type rfc struct {
	name string
	send []byte
	want []string // the last one is the outcome
}

const limit = 65536

// The cases follow RFC 6455, sections 5 to 8, in the order of the Autobahn
// testsuite.
func TestRFC6455(t *testing.T) {
	var cases []rfc
	for _, more := range [][]rfc{framing(), pings(), reserved(), fragments(), texts(), closings(), halves()} {
		cases = append(cases, more...)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			check := func(how string, s *source) {
				t.Helper()
				if got := run(t, new(frame.Reader), s, limit); !slices.Equal(got, c.want) {
					t.Fatalf("%s: got %.200q, want %.200q", how, got, c.want)
				}
			}
			check("whole", &source{pieces: [][]byte{bytes.Clone(c.send)}})
			for _, n := range []int{1, 2, 3, 7, 4095, 4096, 4097} {
				if len(c.send) < 10_000 || n > 7 {
					check(fmt.Sprint("in pieces of ", n), every(c.send, n))
				}
			}
			// Everywhere, but in a long one at its ends and here and there.
			for i := 0; i < len(c.send); i++ {
				check(fmt.Sprint("cut at ", i), cutAt(c.send, i))
				if i == 140 && len(c.send) > 500 || i == 20 && len(c.send) > 10_000 {
					i = len(c.send) - 20
				}
			}
			r := new(frame.Reader)
			r.Feed(c.send[:len(c.send)/2])
			r.Feed(c.send[len(c.send)/2:])
			if got := run(t, r, new(source), limit); !slices.Equal(got, c.want) {
				t.Fatalf("early: got %.200q, want %.200q", got, c.want)
			}
		})
	}
}

func framing() (cases []rfc) {
	for _, n := range []int{0, 1, 125, 126, 127, 128, 4088, 4096, 65535, 65536} {
		p := strings.Repeat("*", n)
		cases = append(cases,
			rfc{name: fmt.Sprintf("text of %d bytes", n), send: masked(fin|text, p), want: []string{"text:" + p, "eof"}},
			rfc{name: fmt.Sprintf("binary of %d bytes", n), send: masked(fin|bin, p), want: []string{"binary:" + p, "eof"}})
	}
	return append(
		cases,
		rfc{
			name: "three messages in one segment",
			send: frames(masked(fin|text, "a"), masked(fin|bin, "\xff"), masked(fin|text, "c")),
			want: []string{"text:a", "binary:\xff", "text:c", "eof"},
		},
		rfc{name: "unmasked", send: append(header(fin|text, 0, 2), "hi"...), want: []string{"protocol"}},
		rfc{name: "unmasked ping", send: header(fin|ping, 0, 0), want: []string{"protocol"}},
		rfc{name: "negative length", send: header(fin|bin, 0x80, 1<<63), want: []string{"protocol"}},
		rfc{name: "negative length of a ping", send: header(fin|ping, 0x80, 1<<63), want: []string{"protocol"}},
		rfc{name: "125 in two bytes", send: append([]byte{fin | text, 0xfe, 0, 125}, make([]byte, 129)...), want: []string{"protocol"}},
		rfc{name: "65535 in eight bytes", send: []byte{fin | text, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, want: []string{"protocol"}},
		rfc{name: "too large in one frame", send: masked(fin|bin, strings.Repeat("*", limit+1)), want: []string{"large"}},
		rfc{name: "too large over fragments", send: frames(masked(bin, strings.Repeat("*", limit)), masked(cont, "*")), want: []string{"large"}},
		rfc{name: "too large is announced", send: header(fin|bin, 0x80, limit+1), want: []string{"large"}},
		rfc{name: "2^62 bytes announced", send: header(fin|bin, 0x80, 1<<62), want: []string{"large"}},
		rfc{name: "2^63-1 bytes more announced", send: frames(masked(bin, "*"), header(cont, 0x80, 1<<63-1)), want: []string{"large"}},
	)
}

func pings() []rfc {
	long := strings.Repeat("p", 125)
	var ten []byte
	var want []string
	for i := range 10 {
		ten = append(ten, masked(fin|ping, fmt.Sprint(i))...)
		want = append(want, fmt.Sprint("ping:", i))
	}
	return []rfc{
		{"ping", masked(fin|ping, ""), []string{"ping:", "eof"}},
		{"ping with payload", masked(fin|ping, "\x00\xff\xfe"), []string{"ping:\x00\xff\xfe", "eof"}},
		{"ping of 125 bytes", masked(fin|ping, long), []string{"ping:" + long, "eof"}},
		{"ping of 126 bytes", masked(fin|ping, long+"p"), []string{"protocol"}},
		{"ten pings", ten, append(want, "eof")},
		{"pongs", frames(masked(fin|pong, "x"), masked(fin|pong, ""), masked(fin|ping, "y")), []string{"pong:x", "pong:", "ping:y", "eof"}},
		{"pong of 126 bytes", masked(fin|pong, long+"p"), []string{"protocol"}},
		{"fragmented ping", masked(ping, "x"), []string{"protocol"}},
		{"fragmented pong", masked(pong, "x"), []string{"protocol"}},
		{"fragmented close", masked(closes, closing(1000, "")), []string{"protocol"}},
	}
}

func reserved() (cases []rfc) {
	for _, bits := range []byte{0x40, 0x20, 0x10, 0x70} {
		for name, op := range map[string]byte{"text": text, "binary": bin, "close": closes, "ping": ping, "pong": pong} {
			cases = append(cases, rfc{
				fmt.Sprintf("reserved bits %#x of %s", bits, name), frames(masked(fin|text, "a"), masked(fin|bits|op, "")),
				[]string{"text:a", "protocol"},
			})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(cases,
			rfc{fmt.Sprint("reserved opcode ", op), masked(fin|op, "x"), []string{"protocol"}},
			rfc{
				fmt.Sprint("reserved opcode within a message ", op),
				frames(masked(text, "a"), masked(fin|op, ""), masked(fin|cont, "b")),
				[]string{"protocol"},
			})
	}
	return append(cases, rfc{"reserved bit of a continuation", frames(masked(text, "a"), masked(fin|rsv1|cont, "b")), []string{"protocol"}})
}

func fragments() []rfc {
	many, whole := masked(text, ""), strings.Repeat("ab", 1000)
	for range 1000 {
		many = append(many, masked(cont, "ab")...)
	}
	many = append(many, masked(fin|cont, "")...)
	return []rfc{
		{"two fragments", frames(masked(text, "fra"), masked(fin|cont, "gment")), []string{"text:fragment", "eof"}},
		{"binary fragments", frames(masked(bin, "\xff"), masked(fin|cont, "\xfe")), []string{"binary:\xff\xfe", "eof"}},
		{"a thousand fragments", many, []string{"text:" + whole, "eof"}},
		{"empty fragments", frames(masked(text, ""), masked(cont, ""), masked(fin|cont, "")), []string{"text:", "eof"}},
		{
			"pings between fragments",
			frames(masked(text, "a"), masked(fin|ping, "1"), masked(cont, "b"), masked(fin|ping, "2"), masked(fin|cont, "c")),
			[]string{"ping:1", "ping:2", "text:abc", "eof"},
		},
		{"pong between fragments", frames(masked(text, "a"), masked(fin|pong, "x"), masked(fin|cont, "b")), []string{"pong:x", "text:ab", "eof"}},
		{"close between fragments", frames(masked(text, "a"), masked(fin|closes, closing(1000, "x"))), []string{"close:1000:x", "eof"}},
		{"continuation of nothing", masked(cont, "a"), []string{"protocol"}},
		{"last continuation of nothing", masked(fin|cont, "a"), []string{"protocol"}},
		{"continuation after a message", frames(masked(fin|text, "a"), masked(fin|cont, "a")), []string{"text:a", "protocol"}},
		{"message within a message", frames(masked(text, "a"), masked(fin|text, "b")), []string{"protocol"}},
		{"fragment within a message", frames(masked(text, "a"), masked(bin, "b")), []string{"protocol"}},
	}
}

func texts() (cases []rfc) {
	const greek = "Hello-µ@ßöäüàá-UTF-8!! κόσμε \U0001f44b\u2028\ufffe\x00\U0010ffff"
	single := masked(text, "")
	for i := range len(greek) {
		single = append(single, masked(cont, greek[i:i+1])...)
	}
	single = append(single, masked(fin|cont, "")...)
	cases = []rfc{
		{"UTF-8", masked(fin|text, greek), []string{"text:" + greek, "eof"}},
		{"UTF-8 in fragments of a byte", single, []string{"text:" + greek, "eof"}},
		{"binary that is not UTF-8", masked(fin|bin, "\xc0\xaf\xed\xa0\x80"), []string{"binary:\xc0\xaf\xed\xa0\x80", "eof"}},
		{"a rune that is never completed", frames(masked(text, "\xf0\x9f\x91"), masked(cont, ""), masked(fin|cont, "")), []string{"text"}},
		// As soon as it is known, with the rest of the frame and message still to come.
		{"not UTF-8, at once", append(header(text, 0x80, 60000), "\x00\x00\x00\x00a\xed\xa0"...), []string{"text"}},
	}
	for name, p := range map[string]string{
		"lone continuation": "a\x80b", "lone start": "\xc3(", "overlong slash": "\xc0\xaf", "overlong NUL": "\xe0\x80\x80",
		"overlong of four bytes": "\xf0\x82\x82\xac", "surrogate": "\xed\xa0\x80", "surrogate pair": "\xed\xa0\x80\xed\xb0\x80",
		"above U+10FFFF": "\xf4\x90\x80\x80", "five bytes": "\xf8\x88\x80\x80\x80", "FE": "\xfe", "FF": "\xff", "truncated": "κ\xce",
		"truncated emoji": "\xf0\x9f\x91",
	} {
		cases = append(cases,
			rfc{"not UTF-8: " + name, masked(fin|text, p), []string{"text"}},
			rfc{"not UTF-8 after much: " + name, masked(fin|text, strings.Repeat("κόσμε ", 900)+p), []string{"text"}},
			rfc{"not UTF-8 in fragments: " + name, frames(masked(text, p[:1]), masked(fin|cont, p[1:])), []string{"text"}})
	}
	return cases
}

func closings() (cases []rfc) {
	long := strings.Repeat("r", 123)
	cases = []rfc{
		{"close with a reason", masked(fin|closes, closing(1000, "bye")), []string{"close:1000:bye", "eof"}},
		{"close with a long reason", masked(fin|closes, closing(1000, long)), []string{"close:1000:" + long, "eof"}},
		{"close of 126 bytes", masked(fin|closes, closing(1000, long+"r")), []string{"protocol"}},
		{"empty close", masked(fin|closes, ""), []string{"close:1005:", "eof"}},
		{"close of one byte", masked(fin|closes, "\x03"), []string{"protocol"}},
		{"reason that is not UTF-8", masked(fin|closes, closing(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")), []string{"text"}},
		{
			"close twice, ping and text after it",
			frames(masked(fin|closes, closing(1000, "")), masked(fin|closes, closing(1001, "")), masked(fin|ping, ""), masked(fin|text, "late")),
			[]string{"close:1000:", "eof"},
		},
		{"ping, then close", frames(masked(fin|ping, "x"), masked(fin|closes, "")), []string{"ping:x", "close:1005:", "eof"}},
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, rfc{fmt.Sprint("close ", code), masked(fin|closes, closing(code, "x")), []string{fmt.Sprintf("close:%d:x", code), "eof"}})
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, rfc{fmt.Sprint("close ", code), masked(fin|closes, closing(code, "")), []string{"protocol"}})
	}
	return cases
}

// halves end within something.
func halves() (cases []rfc) {
	message := masked(fin|text, "half")
	for i := 1; i < len(message); i++ {
		cases = append(cases, rfc{fmt.Sprint("cut after ", i), message[:i], []string{"cut"}})
	}
	return append(cases,
		rfc{"cut between fragments", masked(text, "half"), []string{"cut"}},
		rfc{"cut within a ping", masked(fin|ping, "half")[:8], []string{"cut"}},
		rfc{"cut within a large frame", masked(fin|bin, strings.Repeat("*", 60000))[:50000], []string{"cut"}})
}
