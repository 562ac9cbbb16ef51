package ws_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/ws"
)

const (
	agreed       = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
	agreedWindow = agreed + "; server_max_window_bits=15"
)

// offers are values of Sec-WebSocket-Extensions, one for each header, and what
// is answered.
var offers = []struct {
	name   string
	offer  []string
	answer string
}{
	{"nothing", nil, ""},
	{"empty", []string{""}, ""},
	// RFC 7692, section 7.1.3.
	{"simplest", []string{"permessage-deflate"}, agreed},
	{"one window for each side", []string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10"}, ""},
	{"falling back", []string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits"}, agreed},
	// Section 7.1.1.
	{"no contexts", []string{"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, agreed},
	{"server_no_context_takeover with a value", []string{"permessage-deflate; server_no_context_takeover=1"}, ""},
	{"client_no_context_takeover with a value", []string{"permessage-deflate; client_no_context_takeover=true"}, ""},
	{"an empty quoted value", []string{`permessage-deflate; client_no_context_takeover=""`}, ""},
	// Section 7.1.2.1.
	{"server_max_window_bits=15", []string{"permessage-deflate; server_max_window_bits=15"}, agreedWindow},
	{"quoted", []string{`permessage-deflate; server_max_window_bits="15"`}, agreedWindow},
	{"quoted and escaped", []string{`permessage-deflate; server_max_window_bits="\1\5"`}, agreedWindow},
	{"server_max_window_bits without a value", []string{"permessage-deflate; server_max_window_bits"}, ""},
	{"server_max_window_bits=8", []string{"permessage-deflate; server_max_window_bits=8"}, ""},
	{"server_max_window_bits=14", []string{"permessage-deflate; server_max_window_bits=14"}, ""},
	{"server_max_window_bits=16", []string{"permessage-deflate; server_max_window_bits=16"}, ""},
	{"server_max_window_bits=015", []string{"permessage-deflate; server_max_window_bits=015"}, ""},
	{"server_max_window_bits=+15", []string{"permessage-deflate; server_max_window_bits=+15"}, ""},
	// Section 7.1.2.2.
	{"client_max_window_bits", []string{"permessage-deflate; client_max_window_bits"}, agreed},
	{"client_max_window_bits=8", []string{"permessage-deflate; client_max_window_bits=8"}, agreed},
	{"client_max_window_bits=10", []string{`permessage-deflate; client_max_window_bits="10"`}, agreed},
	{"client_max_window_bits=15", []string{"permessage-deflate; client_max_window_bits=15"}, agreed},
	{"client_max_window_bits=abc", []string{"permessage-deflate; client_max_window_bits=abc"}, ""},
	{"client_max_window_bits=7", []string{"permessage-deflate; client_max_window_bits=7"}, ""},
	{"client_max_window_bits=16", []string{"permessage-deflate; client_max_window_bits=16"}, ""},
	{"client_max_window_bits=08", []string{"permessage-deflate; client_max_window_bits=08"}, ""},
	{"client_max_window_bits=1e1", []string{"permessage-deflate; client_max_window_bits=1e1"}, ""},
	{"client_max_window_bits=-8", []string{"permessage-deflate; client_max_window_bits=-8"}, ""},
	{"client_max_window_bits=", []string{"permessage-deflate; client_max_window_bits="}, ""},
	{`client_max_window_bits=""`, []string{`permessage-deflate; client_max_window_bits=""`}, ""},
	{"a value that is no token", []string{`permessage-deflate; client_max_window_bits=" 10"`}, ""},
	{"an open quote", []string{`permessage-deflate; client_max_window_bits="10`}, ""},
	{"an open escape", []string{`permessage-deflate; client_max_window_bits="10\`}, ""},
	// Section 7: each parameter is known, and there once.
	{"twice the same", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, ""},
	{"twice, with other values", []string{"permessage-deflate; server_max_window_bits=15; server_max_window_bits=15"}, ""},
	{"no context, twice", []string{"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, ""},
	{"unknown", []string{"permessage-deflate; mem_level=8"}, ""},
	{"unknown without a value", []string{"permessage-deflate; client_no_context_takeover; fast"}, ""},
	{"all", []string{"permessage-deflate; client_max_window_bits=12; server_max_window_bits=15; client_no_context_takeover; server_no_context_takeover"}, agreedWindow},
	// RFC 6455, section 9.1.
	{"without spaces", []string{"permessage-deflate;client_max_window_bits;server_max_window_bits=15"}, agreedWindow},
	{"many spaces", []string{" \tpermessage-deflate \t; \tclient_max_window_bits \t= \t9 \t, foo"}, agreed},
	{"several headers", []string{"permessage-deflate; client_max_window_bits=7", "permessage-deflate; server_max_window_bits=15"}, agreedWindow},
	{"the first good one", []string{"permessage-deflate; server_max_window_bits=15, permessage-deflate"}, agreedWindow},
	{"others before", []string{`foo, bar; baz=2; qux="a, permessage-deflate; b", permessage-deflate`}, agreed},
	{"others alone", []string{"x-webkit-deflate-frame, permessage-bzip2; foo"}, ""},
	{"within another's value", []string{`foo; bar="a, permessage-deflate, b"`}, ""},
	{"behind an escaped quote", []string{`foo; bar="\", permessage-deflate, "`}, ""},
	{"behind an open quote", []string{`foo; bar=", permessage-deflate`}, ""},
	{"empty elements", []string{" ,, permessage-deflate,,"}, agreed},
	{"a semicolon too many", []string{"permessage-deflate;"}, ""},
	{"no name of a parameter", []string{"permessage-deflate; =8"}, ""},
	{"no name", []string{"; client_max_window_bits"}, ""},
	{"rubbish behind", []string{"permessage-deflate client_max_window_bits"}, ""},
	{"rubbish behind a value", []string{`permessage-deflate; client_max_window_bits="9"9`}, ""},
	{"after one that cannot be read", []string{`permessage-deflate; @, permessage-deflate`}, agreed},
	{"another name", []string{"permessage-deflate2, xpermessage-deflate, PERMESSAGE-DEFLATE"}, ""},
}

// answerTo returns the headers of the answer to a handshake with the offers.
func (s *server) answerTo(t *testing.T, offers []string) http.Header {
	t.Helper()
	r := handshake()
	r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", s.addr
	r.Header[http.CanonicalHeaderKey("Sec-WebSocket-Extensions")] = offers
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer.Status)
	}
	return answer.Header
}

func TestOffers(t *testing.T) {
	on, off := listen(t, configured(), compressing), listen(t, configured())
	for _, test := range offers {
		t.Run(test.name, func(t *testing.T) {
			if got := on.answerTo(t, test.offer).Get("Sec-WebSocket-Extensions"); got != test.answer {
				t.Errorf("%q is answered with %q, want %q", test.offer, got, test.answer)
			}
			if got := off.answerTo(t, test.offer).Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("without compression %q is answered with %q", test.offer, got)
			}
		})
	}
}

// Compression is used if it was negotiated, and only then: otherwise a compressed frame
// ends the connection.
func TestWhatIsAgreedOnIsDone(t *testing.T) {
	for _, test := range offers {
		if len(test.offer) != 1 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			s := listen(t, configured(), compressing)
			c := s.dialWith(t, "Sec-WebSocket-Extensions: "+test.offer[0])
			c.send(masked(fin|rsv1|text, "\xf2\x48\xcd\xc9\xc9\x07\x00")) // RFC 7692, section 7.2.3.1
			if test.answer == "" {
				c.expect("close:1002:*", "end")
				s.ended(t, hub.CauseProtocol)
				return
			}
			c.expect("text:Hello")
		})
	}
}

// stripping takes the extension out of the answer, as a site's `header` may.
type stripping struct{ http.ResponseWriter }

func (s stripping) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s stripping) WriteHeader(status int) {
	s.Header().Del("Sec-WebSocket-Extensions")
	s.ResponseWriter.WriteHeader(status)
}

// An answer that never reached the client binds neither side.
func TestStrippedAnswer(t *testing.T) {
	s := newServer(t, configured(), compressing)
	s.wrap = func(w http.ResponseWriter) http.ResponseWriter { return stripping{w} }
	s.serve(t, false)
	c := s.dialWith(t, "Sec-WebSocket-Extensions: permessage-deflate")
	long := strings.Repeat("long ", 1000)
	publish(t, s.hub, message.Text, long)
	c.expect("text:" + long)
}

func FuzzOffers(f *testing.F) {
	for _, test := range offers {
		f.Add(strings.Join(test.offer, ", "), "permessage-deflate")
	}
	const (
		space = `[ \t]*`
		bits  = `(8|9|1[0-5])`
	)
	// With quotes and escapes removed a good offer looks like this.
	good := regexp.MustCompile(`(^|,)` + space + `permessage-deflate(` + space + `;` + space +
		`(server_no_context_takeover|client_no_context_takeover|client_max_window_bits(` + space + `=` + space + bits + `)?` +
		`|server_max_window_bits` + space + `=` + space + `15))*` + space + `(,|$)`)
	f.Fuzz(func(t *testing.T, first, second string) {
		one, two := ws.AgreeOnDeflate([]string{first}), ws.AgreeOnDeflate([]string{second})
		both := ws.AgreeOnDeflate([]string{first, second})
		if one != "" && both != one || one == "" && both != two {
			t.Errorf("%q: %q; %q: %q; both: %q", first, one, second, two, both)
		}
		if one != "" && one != agreed && one != agreedWindow {
			t.Errorf("%q: %q", first, one)
		}
		if one != "" && !good.MatchString(strings.NewReplacer(`"`, "", `\`, "").Replace(first)) {
			t.Errorf("%q was accepted", first)
		}
		if ws.AgreeOnDeflate([]string{first, "permessage-deflate"}) == "" {
			t.Errorf("%q hides a good offer in another header", first)
		}
	})
}
