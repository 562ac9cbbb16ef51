package surroundings

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// sitesWithErrorRoutes is the Caddyfile of four sites on one server, whose error routes
// Caddy keeps in one list.
const sitesWithErrorRoutes = `{
	admin off
	persist_config off
	auto_https off
}
http://all.localhost:PORT {
	realtime {
		hub all
		origins https://friend.example
	}
	handle_errors {
		respond "custom {err.status_code}"
	}
}
http://none.localhost:PORT {
	realtime {
		hub none
	}
}
http://missing.localhost:PORT {
	realtime {
		hub missing
	}
	handle_errors 404 {
		respond "not here"
	}
	handle_errors 403 {
		redir https://login.example/
	}
}
http://broken.localhost:PORT {
	realtime {
		hub broken
	}
	handle_errors 4xx {
		rewrite * /nowhere.html
		file_server
	}
}
`

func TestErrorRoutesOfOneSiteLeaveTheProblemsOfOthers(t *testing.T) {
	s := caddytest.New(t)
	caddytest.StopAfter(t)
	caddytest.Load(t, strings.ReplaceAll(sitesWithErrorRoutes, "PORT", fmt.Sprint(s.Port)))
	const problem = "application/problem+json"
	for _, c := range []struct {
		host       string
		status     int // what realtime says
		body, kind string
		other      int // what the site says instead
	}{
		{host: "all", status: 400, body: "custom 400", kind: "text/plain; charset=utf-8"},
		{host: "all", status: 403, body: "custom 403", kind: "text/plain; charset=utf-8"},
		{host: "all", status: 404, body: "custom 404", kind: "text/plain; charset=utf-8"},
		{host: "none", status: 400, body: `"status":400`, kind: problem},
		{host: "none", status: 403, body: `"status":403`, kind: problem},
		{host: "none", status: 404, body: `"status":404`, kind: problem},
		{host: "missing", status: 400, body: `"status":400`, kind: problem},
		{host: "missing", status: 403, kind: "", other: http.StatusFound},
		{host: "missing", status: 404, body: "not here", kind: "text/plain; charset=utf-8"},
		{host: "broken", status: 400, body: `"status":400`, kind: problem},
		{host: "broken", status: 403, body: `"status":403`, kind: problem},
		{host: "broken", status: 404, body: `"status":404`, kind: problem},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			target, headers := "/rt/a//b", []string{"Host: " + c.host + ".localhost"}
			switch c.status {
			case http.StatusForbidden:
				target, headers = "/rt/lobby", append(headers, "Origin: https://stranger.example")
			case http.StatusNotFound:
				target = "/rt/-"
			}
			resp := s.Do(method, target, "", headers...)
			want := c.status
			if c.other != 0 {
				want = c.other
			}
			body := caddytest.ReadAll(t, resp)
			if resp.StatusCode != want || resp.Header.Get("Content-Type") != c.kind {
				t.Errorf("%s %s %d: %s, type %q, want %d and %q", method, c.host, c.status, resp.Status, resp.Header.Get("Content-Type"), want, c.kind)
			}
			if method == "GET" && !strings.Contains(body, c.body) || method == "HEAD" && body != "" {
				t.Errorf("%s %s %d: %q, want %q", method, c.host, c.status, body, c.body)
			}
		}
	}
}

// Error routes are a server's: those of one site, or of other statuses, leave the
// problem documents of all others alone.
func TestProblemsBesideErrorRoutes(t *testing.T) {
	s := caddytest.New(t)
	const names = "abcd"
	sites := map[byte]string{
		'a': "handle_errors {\nrespond \"custom {err.status_code}\"\n}",
		'b': "",
		'c': "handle_errors 404 {\nrespond \"not here\"\n}",
		'd': "handle_errors {\nroot * /nonexistent\nrewrite * /error.html\nfile_server\n}",
	}
	var all strings.Builder
	all.WriteString("{\nadmin off\npersist_config off\nauto_https off\n}\n")
	for _, name := range []byte(names) {
		fmt.Fprintf(&all, "http://%c.localhost:%d {\nrealtime {\nhub %c\n}\n@denied path /denied\nerror @denied 403\n%s\n}\n", name, s.Port, name, sites[name])
	}
	caddytest.Load(t, all.String())
	t.Cleanup(func() { _ = caddy.Stop() })
	for target, status := range map[string]int{"/rt/bad/": 400, "/rt/-/none.js": 404} {
		for _, name := range []byte(names) {
			for _, method := range []string{"GET", "POST", "HEAD"} {
				if method == "POST" && status == 404 {
					continue // is 405
				}
				resp := s.Do(method, target, "", fmt.Sprintf("Host: %c.localhost:%d", name, s.Port))
				body := caddytest.ReadAll(t, resp)
				custom := name == 'a' || name == 'c' && status == 404
				isProblem := resp.Header.Get("Content-Type") == "application/problem+json"
				if resp.StatusCode != status && !(custom && name == 'a') || isProblem == custom || (body == "") != (method == "HEAD") {
					t.Errorf("%s %s on %c: %s, %q, %q", method, target, name, resp.Status, resp.Header.Get("Content-Type"), body)
				}
			}
		}
	}
	// Errors of other handlers are not touched.
	if resp := s.Do("GET", "/denied", "", fmt.Sprintf("Host: b.localhost:%d", s.Port)); resp.StatusCode != 403 || caddytest.ReadAll(t, resp) != "" {
		t.Errorf("another handler's error: %s", resp.Status)
	}
	for range 3 { // a server has one such route
		caddytest.Load(t, all.String())
	}
	if resp := s.Do("GET", "/rt/bad/", "", fmt.Sprintf("Host: b.localhost:%d", s.Port)); resp.StatusCode != 400 || !slices.Contains(resp.Header["Content-Type"], "application/problem+json") {
		t.Errorf("after reloads: %s %v", resp.Status, resp.Header)
	}
}

// JSON knows error routes of a subroute, and routes that others invoke.
func TestProblemsPassErrorRoutesThatDoNotMatch(t *testing.T) {
	never := `{"match": [{"path": ["/never"]}], "handle": [{"handler": "static_response", "body": "custom"}]}`
	for name, config := range map[string]string{
		"of a subroute": `"routes": [{"handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "realtime"}]}], "errors": {"routes": [` + never + `]}}]}]`,
		"named": `"routes": [{"handle": [{"handler": "invoke", "name": "rooms"}]}], "named_routes": {"rooms": {"handle": [{"handler": "realtime"}]}},
			"errors": {"routes": [` + never + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := caddytest.New(t)
			caddytest.StopAfter(t)
			caddytest.LoadJSON(t, fmt.Sprintf(`{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:%d"], %s}}}}}`, s.Port, config))
			resp := s.Do("GET", "/rt/a//b", "")
			if body := caddytest.ReadAll(t, resp); resp.StatusCode != 400 || !strings.Contains(body, `"status":400`) {
				t.Errorf("%s %q", resp.Status, body)
			}
		})
	}
}

// Rooms in error routes are provisioned when the list of these already is.
func TestErrorRoutesThatHoldRoomsStillAnswer(t *testing.T) {
	const block = "error /x 410\nhandle_errors {\nrealtime\nrespond custom\n}"
	s := caddytest.Start(t, block)
	for _, more := range []string{"", "\nrealtime {\nhub b\n}"} {
		s.Reload(block + more)
		if got := caddytest.ReadAll(t, s.Do("GET", "/x", "")); got != "custom" {
			t.Errorf("%q: the error route says %q", more, got)
		}
	}
	if got := caddytest.ReadAll(t, s.Do("GET", "/rt/a//b", "")); !strings.Contains(got, `"status":400`) {
		t.Errorf("rooms for errors say %q", got)
	}
}

// A history that a restart ends is warned about, once for a hub.
func TestLongHistoryIsWarnedAbout(t *testing.T) {
	const message = "rooms are kept in memory, so a restart of Caddy empties them, whatever their history says; engine bolt keeps them"
	for block, want := range map[string]string{
		"realtime {\nhub long\nroom news/* {\nhistory 10 7d\n}\nroom all {\nhistory off off\n}\nroom day {\nhistory 10 24h\n}\nroom none {\nhistory 0 7d\n}\n}": "[news/* all]",
		"realtime {\nhub day\nroom * {\nhistory 10 24h\n}\n}": "",
	} {
		_, logged := caddytest.StartLogged(t, block)
		lines := logged(message)
		if want == "" {
			if len(lines) > 0 {
				t.Errorf("warned %v", lines)
			}
			continue
		}
		if len(lines) != 1 || fmt.Sprint(lines[0]["rooms"]) != want {
			t.Errorf("warned %v, want once, of %s", lines, want)
		}
	}
}
