package ws_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/ws"
)

// rfc is one case: what a client sends, and all that must come back. A raw
// room gives back what is published in it.
type rfc struct {
	name  string
	send  []byte
	want  []string // if the last frame is not a close, the connection must go on
	cause hub.Cause
}

// The cases follow RFC 6455, sections 5 to 8, in the order of the Autobahn
// testsuite.
func TestRFC6455(t *testing.T) {
	var cases []rfc
	for _, more := range [][]rfc{framing(), pings(), reserved(), fragments(), texts(), closings()} {
		cases = append(cases, more...)
	}
	for _, way := range []struct {
		name   string
		change func(*ws.Options)
		secure bool
	}{
		{"parked", plain, false},
		{"goroutines", func(o *ws.Options) { o.Poller.Goroutines = true }, false},
		{"parked, TLS", plain, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			s := newServer(t, configured(), way.change)
			s.serve(t, way.secure)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) { s.run(t, c, false) })
				if len(c.send) < 100 {
					t.Run(c.name+", byte by byte", func(t *testing.T) { s.run(t, c, true) })
				}
			}
		})
	}
}

func (s *server) run(t *testing.T, test rfc, slowly bool) {
	s = &server{hub: s.hub, options: s.options, addr: s.addr, secure: s.secure}
	before := s.hub.Stats().Endings[test.cause]
	c := s.dial(t)
	if slowly {
		for _, b := range test.send {
			if _, err := c.nc.Write([]byte{b}); err != nil {
				break // the case may be decided
			}
		}
	} else {
		c.send(test.send)
	}
	c.expect(test.want...)
	if last := test.want; len(last) == 0 || !strings.HasPrefix(last[len(last)-1], "close") {
		c.send(masked(fin|closes, closing(1000, "")))
		c.expect("close:1000:")
		test.cause = 0
	}
	c.expect("end")
	if test.cause != 0 {
		eventually(t, "the session has its cause", func() bool { return s.hub.Stats().Endings[test.cause] > before })
	}
	eventually(t, "the session ends", func() bool { return s.hub.Stats().Sessions == 0 })
}

func framing() (cases []rfc) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		p := strings.Repeat("*", n)
		cases = append(cases,
			rfc{name: fmt.Sprintf("text of %d bytes", n), send: masked(fin|text, p), want: []string{"text:" + p}},
			rfc{name: fmt.Sprintf("binary of %d bytes", n), send: masked(fin|bin, p), want: []string{"binary:" + p}})
	}
	return append(
		cases,
		rfc{
			name: "three messages in one segment",
			send: frames(masked(fin|text, "a"), masked(fin|bin, "\xff"), masked(fin|text, "c")),
			want: []string{"text:a", "binary:\xff", "text:c"},
		},
		rfc{
			name: "close right after a text", send: frames(masked(fin|text, "last"), masked(fin|closes, closing(1000, "bye"))),
			want: []string{"text:last", "close:1000:bye"}, cause: hub.CauseLeft,
		},
		rfc{name: "2^62 bytes announced and none sent", send: append(header(fin|bin, 0x80, 1<<62), 1, 2, 3, 4), want: []string{"close:1009:message too large"}, cause: hub.CauseTooLarge},
		rfc{name: "unmasked", send: unmasked(fin|text, "hi"), want: []string{"close:1002:protocol error"}, cause: hub.CauseProtocol},
		rfc{name: "unmasked ping", send: unmasked(fin|ping, ""), want: []string{"close:1002:protocol error"}, cause: hub.CauseProtocol},
		rfc{name: "negative length", send: header(fin|bin, 0x80, 1<<63), want: []string{"close:1002:protocol error"}, cause: hub.CauseProtocol},
		rfc{name: "negative length of a ping", send: header(fin|ping, 0x80, 1<<63), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		rfc{
			name: "too large in one frame", send: masked(fin|bin, strings.Repeat("*", 65537)),
			want: []string{"close:1009:message too large"}, cause: hub.CauseTooLarge,
		},
		rfc{
			name: "too large over fragments",
			send: frames(masked(bin, strings.Repeat("*", 65536)), masked(cont, "*")),
			want: []string{"close:1009:message too large"}, cause: hub.CauseTooLarge,
		},
		rfc{
			name: "2^62 bytes announced", send: append(header(fin|bin, 0x80, 1<<62), make([]byte, 4+70_000)...),
			want: []string{"close:1009:message too large"}, cause: hub.CauseTooLarge,
		},
	)
}

func pings() []rfc {
	long := strings.Repeat("p", 125)
	var ten []byte
	var pongs []string
	for i := range 10 {
		ten = append(ten, masked(fin|ping, fmt.Sprint(i))...)
		pongs = append(pongs, fmt.Sprint("pong:", i))
	}
	return []rfc{
		{name: "ping", send: masked(fin|ping, ""), want: []string{"pong:"}},
		{name: "ping with payload", send: masked(fin|ping, "\x00\xff\xfe"), want: []string{"pong:\x00\xff\xfe"}},
		{name: "ping of 125 bytes", send: masked(fin|ping, long), want: []string{"pong:" + long}},
		{name: "ping of 126 bytes", send: masked(fin|ping, long+"p"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "ten pings", send: ten, want: pongs},
		{name: "pong that nobody asked for", send: frames(masked(fin|pong, "x"), masked(fin|pong, ""), masked(fin|ping, "y")), want: []string{"pong:y"}},
		{name: "pong of 126 bytes", send: masked(fin|pong, long+"p"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "fragmented ping", send: masked(ping, "x"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "fragmented pong", send: masked(pong, "x"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "fragmented close", send: masked(closes, closing(1000, "")), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
	}
}

func reserved() (cases []rfc) {
	for _, bits := range []byte{rsv1, rsv2, rsv3, rsv1 | rsv2 | rsv3} {
		for name, op := range map[string]byte{"text": text, "binary": bin, "close": closes, "ping": ping, "pong": pong} {
			cases = append(cases, rfc{
				name: fmt.Sprintf("reserved bits %#x of %s", bits, name),
				send: masked(fin|bits|op, ""), want: []string{"close:1002:*"}, cause: hub.CauseProtocol,
			})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(cases,
			rfc{name: fmt.Sprint("reserved opcode ", op), send: masked(fin|op, "x"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
			rfc{
				name: fmt.Sprint("reserved opcode within a message ", op),
				send: frames(masked(text, "a"), masked(fin|op, ""), masked(fin|cont, "b")),
				want: []string{"close:1002:*"}, cause: hub.CauseProtocol,
			})
	}
	return append(cases, rfc{
		name: "reserved bit of a continuation", send: frames(masked(text, "a"), masked(fin|rsv1|cont, "b")),
		want: []string{"close:1002:*"}, cause: hub.CauseProtocol,
	})
}

func fragments() []rfc {
	many, whole := masked(text, ""), strings.Repeat("ab", 1000)
	for range 1000 {
		many = append(many, masked(cont, "ab")...)
	}
	many = append(many, masked(fin|cont, "")...)
	return []rfc{
		{name: "two fragments", send: frames(masked(text, "fra"), masked(fin|cont, "gment")), want: []string{"text:fragment"}},
		{name: "binary fragments", send: frames(masked(bin, "\xff"), masked(fin|cont, "\xfe")), want: []string{"binary:\xff\xfe"}},
		{name: "a thousand fragments", send: many, want: []string{"text:" + whole}},
		{name: "empty fragments", send: frames(masked(text, ""), masked(cont, ""), masked(fin|cont, "")), want: []string{"text:"}},
		{
			name: "pings between fragments",
			send: frames(masked(text, "a"), masked(fin|ping, "1"), masked(cont, "b"), masked(fin|ping, "2"), masked(fin|cont, "c")),
			want: []string{"pong:1", "pong:2", "text:abc"},
		},
		{name: "pong between fragments", send: frames(masked(text, "a"), masked(fin|pong, "x"), masked(fin|cont, "b")), want: []string{"text:ab"}},
		{name: "close between fragments", send: frames(masked(text, "a"), masked(fin|closes, closing(1000, "x"))), want: []string{"close:1000:x"}, cause: hub.CauseLeft},
		{name: "continuation of nothing", send: masked(cont, "a"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "last continuation of nothing", send: masked(fin|cont, "a"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "message within a message", send: frames(masked(text, "a"), masked(fin|text, "b")), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "fragment within a message", send: frames(masked(text, "a"), masked(bin, "b")), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
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
		{name: "UTF-8", send: masked(fin|text, greek), want: []string{"text:" + greek}},
		{name: "UTF-8 in fragments of a byte", send: single, want: []string{"text:" + greek}},
		{name: "binary that is not UTF-8", send: masked(fin|bin, "\xc0\xaf\xed\xa0\x80"), want: []string{"binary:\xc0\xaf\xed\xa0\x80"}},
	}
	for name, p := range map[string]string{
		"lone continuation": "a\x80b", "lone start": "\xc3(", "overlong slash": "\xc0\xaf", "overlong NUL": "\xe0\x80\x80",
		"overlong of four bytes": "\xf0\x82\x82\xac", "surrogate": "\xed\xa0\x80", "surrogate pair": "\xed\xa0\x80\xed\xb0\x80",
		"above U+10FFFF": "\xf4\x90\x80\x80", "five bytes": "\xf8\x88\x80\x80\x80", "FE": "\xfe", "FF": "\xff", "truncated": "κ\xce",
		"truncated emoji": "\xf0\x9f\x91",
	} {
		cases = append(cases,
			rfc{name: "not UTF-8: " + name, send: masked(fin|text, p), want: []string{"close:1007:text that is not UTF-8"}, cause: hub.CauseInvalid},
			rfc{
				name: "not UTF-8 in fragments: " + name, send: frames(masked(text, p[:1]), masked(fin|cont, p[1:])),
				want: []string{"close:1007:text that is not UTF-8"}, cause: hub.CauseInvalid,
			})
	}
	return cases
}

func closings() (cases []rfc) {
	long := strings.Repeat("r", 123)
	cases = []rfc{
		{name: "close with a reason", send: masked(fin|closes, closing(1000, "bye")), want: []string{"close:1000:bye"}, cause: hub.CauseLeft},
		{name: "close with a long reason", send: masked(fin|closes, closing(1000, long)), want: []string{"close:1000:" + long}, cause: hub.CauseLeft},
		{name: "close of 126 bytes", send: masked(fin|closes, closing(1000, long+"r")), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{name: "empty close", send: masked(fin|closes, ""), want: []string{"close"}, cause: hub.CauseLeft},
		{name: "close of one byte", send: masked(fin|closes, "\x03"), want: []string{"close:1002:*"}, cause: hub.CauseProtocol},
		{
			name: "reason that is not UTF-8", send: masked(fin|closes, closing(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80")),
			want: []string{"close:1007:*"}, cause: hub.CauseInvalid,
		},
		{
			name: "close twice, ping and text after it", want: []string{"close:1000:"}, cause: hub.CauseLeft,
			send: frames(masked(fin|closes, closing(1000, "")), masked(fin|closes, closing(1001, "")), masked(fin|ping, ""), masked(fin|text, "late")),
		},
		{name: "ping, then close", send: frames(masked(fin|ping, "x"), masked(fin|closes, "")), want: []string{"pong:x", "close"}, cause: hub.CauseLeft},
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, rfc{
			name: fmt.Sprint("close ", code), send: masked(fin|closes, closing(code, "x")),
			want: []string{fmt.Sprintf("close:%d:x", code)}, cause: hub.CauseLeft,
		})
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, rfc{
			name: fmt.Sprint("close ", code), send: masked(fin|closes, closing(code, "")),
			want: []string{"close:1002:*"}, cause: hub.CauseProtocol,
		})
	}
	return cases
}
