package requests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Requests from a foreign page's images, links and fetch without CORS change nothing and
// have no user.
func TestForeignPagesChangeNothing(t *testing.T) {
	// The password is "secret".
	const options = "ui on\norigins https://app.example.com *\n"
	s := caddytest.Start(t, annOnly+"realtime {\n"+options+"rate 1/h 1\nroom * {\nrate off\n}\n}")
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
	for name, test := range map[string]struct {
		method, target string
		headers        []string
		status         int
	}{
		"page":        {"GET", "?state=1&presence=1&wait=5", nil, 200},
		"image":       {"GET", "?state=1", []string{"Accept: image/avif,image/webp,*/*;q=0.8"}, 200},
		"link":        {"GET", "?state=1", []string{caddytest.Browser}, 200},
		"members":     {"GET", "?members&state=1", nil, 200},
		"conditional": {"GET", "?state=1", []string{`If-None-Match: "x.1"`}, 200},
		"preference":  {"GET", "?state=1", []string{"Prefer: wait=5"}, 200},
		"HEAD":        {"HEAD", "", nil, 200},
		"log":         {"GET", "?log", []string{caddytest.Browser}, 403},
		"SSE":         {"GET", "?state=1", []string{"Accept: text/event-stream"}, 403},
		"NDJSON":      {"GET", "", []string{"Accept: application/x-ndjson"}, 403},
		"WebSocket":   {"GET", "?state=1", upgrade, 403},
		"session":     {"GET", "", append(upgrade, caddytest.Session), 403},
		"POST":        {"POST", "", nil, 403},
		"signal":      {"POST", "?ttl=0&event=typing", nil, 403},
		"form":        {"POST", "", []string{"Content-Type: application/x-www-form-urlencoded", caddytest.Browser}, 403},
	} {
		for _, site := range []string{"cross-site", "same-site", "something-new"} {
			t.Run(name+", "+site, func(t *testing.T) {
				room := strings.ReplaceAll(name, " ", "") + site
				resp := s.Do(test.method, "/rt/"+room+test.target, "text=hi", append(test.headers, ann, "Sec-Fetch-Site: "+site)...)
				if resp.StatusCode != test.status {
					t.Errorf("got %s, want %d", resp.Status, test.status)
				}
				if n := s.Do("HEAD", "/rt/"+room, "", ann).Header.Get("Realtime-Members"); n != "0" {
					t.Errorf("%s are members of the room", n)
				}
				if body := caddytest.ReadAll(t, s.Do("GET", "/rt/"+room, "", ann)); !strings.Contains(body, `"messages":[]`) {
					t.Errorf("the room holds %s", body)
				}
			})
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/?commands", `{"op":"join","room":"r"}`, ann, "Sec-Fetch-Site: cross-site"), 403, "Sec-Fetch-Site")
	// No room was made: the one that this address may make within an hour is the next.
	s.Post("new", "hi", ann)
	caddytest.Refused(t, s.Do("POST", "/rt/newer", "hi", ann), 429, "rate of new rooms")

	s.Reload(annOnly + "realtime {\n" + caddytest.Open + options + "}")
	wantServed(t, s)
}

// wantServed checks that the site's own pages, people, and listed pages, which say their
// origin, are served.
func wantServed(t *testing.T, s *caddytest.Site) {
	t.Helper()
	for name, headers := range map[string][]string{
		"same origin": {"Sec-Fetch-Site: same-origin"}, "typed": {"Sec-Fetch-Site: none"}, "no browser": nil,
		"listed": {"Sec-Fetch-Site: cross-site", "Origin: https://app.example.com"},
	} {
		room := strings.ReplaceAll(name, " ", "")
		if resp := s.Do("GET", "/rt/"+room+"?state=1", "", append(headers, ann)...); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, resp.Status)
		}
		if body := caddytest.ReadAll(t, s.Do("GET", "/rt/"+room+"?members", "", ann)); !strings.Contains(body, `"here":[{"id":"ann"`) {
			t.Errorf("%s: shown is %s", name, body)
		}
	}
}
