package requests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// What internal/serve allows, and its bounds.
const (
	preflightHeaders  = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Realtime-Conn, Realtime-Event, TTL"
	maxRefusedOrigins = 32
	maxLoggedOrigin   = 256
)

const originRefused = "refused a page from another origin"

// transports are the headers that ask for each way of reading and writing.
var transports = []struct {
	name, method string
	headers      []string
}{
	{"page", "GET", nil},
	{"long poll", "GET", []string{"Prefer: wait=20"}},
	{"server-sent events", "GET", []string{"Accept: text/event-stream"}},
	{"NDJSON", "GET", []string{"Accept: application/x-ndjson"}},
	{"WebSocket", "GET", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}},
	{"HEAD", "HEAD", nil},
	{"POST", "POST", nil},
	{"form", "POST", []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html"}},
}

// A page that is refused can read why, for every kind of request, and nothing else.
func TestRefusalsCanBeRead(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"origins https://app.example.com\nui on\n}")
	for _, from := range []string{"https://evil.example", "null", "file://", "https://app.example.com:8443", "nonsense"} {
		for _, transport := range transports {
			t.Run(from+", "+transport.name, func(t *testing.T) {
				resp := s.Do(transport.method, "/rt/lobby", "text=evil", append(transport.headers, "Origin: "+from)...)
				if transport.method == "HEAD" {
					if resp.StatusCode != http.StatusForbidden {
						t.Errorf("got %s", resp.Status)
					}
				} else if p := caddytest.Refused(t, resp, 403, "origin refused"); !strings.Contains(p.Detail, from) {
					t.Errorf("%q does not name the origin", p.Detail)
				}
				if got := resp.Header.Get("Access-Control-Allow-Origin"); got != from {
					t.Errorf("allowed is %q: the page cannot read it", got)
				}
				if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "" {
					t.Error("with credentials")
				}
			})
		}
		warnings := slices.DeleteFunc(logged(originRefused), func(line map[string]any) bool { return line["origin"] != from })
		if len(warnings) != 1 {
			t.Fatalf("%s: %d warnings, want one", from, len(warnings))
		}
		if w := warnings[0]; w["level"] != "warn" || w["host"] != strings.TrimPrefix(s.URL, "http://") || w["remedy"] == "" {
			t.Errorf("warned by %v", w)
		}
	}
	if got := s.Page("lobby").Texts(); len(got) != 0 {
		t.Errorf("the room holds %q", got)
	}
}

// A preflight of a refused origin lets its page ask, and be refused in words.
func TestPreflightsOfRefusedOrigins(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"}")
	const foreign = "Origin: https://evil.example"
	resp := s.Do("OPTIONS", "/rt/lobby", "", foreign, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-requested-with")
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "https://evil.example" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if got := resp.Header.Get("Access-Control-Allow-Headers"); !strings.Contains(got, "x-requested-with") {
		t.Errorf("allowed are %q", got)
	}
	if resp.Header.Get("Access-Control-Allow-Credentials") != "" || resp.Header.Get("Access-Control-Max-Age") != "0" {
		t.Errorf("with credentials, or for long: %v", resp.Header)
	}
	if n := len(logged(originRefused)); n != 1 {
		t.Errorf("%d warnings", n)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "evil", foreign, "Content-Type: application/json", "X-Requested-With: x"), 403, "origin refused")
	caddytest.Refused(t, s.Do("OPTIONS", "/rt/lobby", "", foreign), 403, "origin refused")
	caddytest.Refused(t, s.Do("POST", "/rt/", `{"op":"publish","room":"lobby","data":1}`, foreign, "Content-Type: application/x-ndjson"), 403, "origin refused")
	if got := s.Page("lobby").Texts(); len(got) != 0 {
		t.Errorf("the room holds %q", got)
	}
}

// Strangers cannot fill the log, nor the memory of what was logged.
func TestRefusedOriginsAreLoggedInBounds(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"}")
	for i := range maxRefusedOrigins + 10 {
		s.Do("GET", "/rt/lobby", "", fmt.Sprintf("Origin: https://evil%d.example", i))
	}
	if n := len(logged(originRefused)); n != maxRefusedOrigins {
		t.Errorf("%d warnings, want %d", n, maxRefusedOrigins)
	}
	if n := len(logged("no further refused origins are logged until the configuration changes")); n != 1 {
		t.Errorf("the end of the warnings is told %d times", n)
	}
}

func TestLongOriginsAreCut(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"}")
	resp := s.Do("GET", "/rt/lobby", "", "Origin: https://"+strings.Repeat("a", 10_000))
	if resp.Header.Get("Access-Control-Allow-Origin") != "" || len(caddytest.ReadAll(t, resp)) > 1000 {
		t.Errorf("%v, want a short answer", resp.Header)
	}
	lines := logged(originRefused)
	if len(lines) != 1 || len(lines[0]["origin"].(string)) > maxLoggedOrigin+len("…") {
		t.Errorf("logged %v", lines)
	}
}

func TestPreflightsAllowWhatIsAskedFor(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"origins https://app.example.com\n}")
	preflight := func(asked ...string) http.Header {
		headers := []string{"Origin: https://app.example.com", "Access-Control-Request-Method: POST"}
		for _, a := range asked {
			headers = append(headers, "Access-Control-Request-Headers: "+a)
		}
		resp := s.Do("OPTIONS", "/rt/lobby", "", headers...)
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("%q: %s", asked, resp.Status)
		}
		return resp.Header
	}
	for _, asked := range []string{"sentry-trace,baggage", "traceparent, tracestate", "hx-current-url,HX-Request", "cache-control", "ttl,x-a", "x-a,,x-b"} {
		header := preflight(asked)
		allowed := strings.Split(strings.ToLower(header.Get("Access-Control-Allow-Headers")), ", ")
		for name := range strings.SplitSeq(asked, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !slices.Contains(allowed, name) {
				t.Errorf("%s: allowed are %q", asked, allowed)
			}
		}
		if !slices.Contains(allowed, "idempotency-key") || len(slices.Compact(slices.Sorted(slices.Values(allowed)))) != len(allowed) {
			t.Errorf("%s: allowed are %q", asked, allowed)
		}
		if !strings.Contains(strings.Join(header.Values("Vary"), ", "), "Access-Control-Request-Headers") {
			t.Errorf("it varies by %q", header.Values("Vary"))
		}
	}
	if got := preflight("x-a", "x-b").Get("Access-Control-Allow-Headers"); !strings.Contains(got, "x-a, x-b") {
		t.Errorf("in two lines: %q", got)
	}
	// Invalid names, and more than the limit, are not allowed.
	for _, asked := range []string{"*", "a b", `x"y`, "x:y", "(x)", strings.Repeat("x-long,", 1000)} {
		got := preflight(asked).Get("Access-Control-Allow-Headers")
		if got != preflightHeaders && asked != "*" || strings.Contains(got, asked+",") {
			t.Errorf("%.20s: allowed are %.200q", asked, got)
		}
	}
}

// A page without an origin is anonymous, like any other whose origin proves nothing.
func TestNullIsListed(t *testing.T) {
	s := caddytest.Start(t, annOnly+"realtime {\n"+caddytest.Open+"origins null\n}")
	for _, from := range []string{"null", "file://"} {
		resp := s.Do("POST", "/rt/lobby", from, ann, "Origin: "+from)
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %s %v", from, resp.Status, resp.Header)
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "x", ann, "Origin: https://evil.example"), 403, "origin refused")
	form := []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html", ann, "Origin: null"}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "text=sandboxed", append(form, "Sec-Fetch-Site: cross-site")...), 403, "another site")
	messages := s.Page("lobby", ann).Messages
	if len(messages) != 2 || len(messages[0].From) != 0 || len(messages[1].From) != 0 {
		t.Errorf("the room holds %+v, want two messages of nobody", messages)
	}
}

// A form on a page that hides where it is has the origin null, and is the site's
// own all the same.
func TestFormOfAPageThatHidesItsOrigin(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	form := []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html", "Origin: null"}
	if resp := s.Do("POST", "/rt/lobby", "text=own", append(form, "Sec-Fetch-Site: same-origin")...); resp.StatusCode != http.StatusNoContent {
		t.Errorf("got %s", resp.Status)
	}
	for _, site := range []string{"cross-site", "same-site", "none"} {
		caddytest.Refused(t, s.Do("POST", "/rt/lobby", "text=evil", append(form, "Sec-Fetch-Site: "+site)...), 403, "origin refused")
	}
}
