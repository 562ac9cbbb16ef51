package requests

import (
	"net/http"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The access log names the user of every request whom the module knows, however it knows them,
// and nobody else.
func TestAccessLogNamesTheUser(t *testing.T) {
	const remote = "user {header.Remote-User} trusted\n"
	const template = "user {header.Remote-User}@{header.Remote-Realm} trusted\n"
	for _, test := range []struct {
		name, before, options string
		headers               []string
		user                  string
	}{
		{"basic_auth", annOnly, "", []string{ann}, "ann"},
		{"a header", "", remote, []string{"Remote-User: ben"}, "ben"},
		{"a template", "", template, []string{"Remote-User: ben", "Remote-Realm: example.com"}, "ben@example.com"},
		{"a template before basic_auth", annOnly, remote, []string{ann, "Remote-User: ben"}, "ben"},
		{"half a template", "", template, []string{"Remote-User: ben"}, ""},
		{"nobody", "", "", []string{"Remote-User: ben"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, logged := caddytest.StartLogged(t, "log\n"+test.before+"realtime {\n"+caddytest.Open+test.options+"}")
			ways := map[string]func(){
				"WebSocket": func() { _ = s.Dial("websocket", test.headers...).CloseNow() },
				"SSE":       func() { stream(t, s, "sse", "text/event-stream", test.headers) },
				"NDJSON":    func() { stream(t, s, "ndjson", "application/x-ndjson", test.headers) },
				"POST":      func() { s.Post("post", "hi", test.headers...) },
				"GET":       func() { s.Page("page", test.headers...) },
				"commands":  func() { caddytest.ReadAll(t, s.Do("POST", "/rt/?commands", "", test.headers...)) },
				"HEAD":      func() { s.Do("HEAD", "/rt/", "", test.headers...) },
			}
			for _, use := range ways {
				use()
			}
			const line = "handled request"
			caddytest.Eventually(t, "every request is logged", func() bool { return len(logged(line)) == len(ways) })
			for _, l := range logged(line) {
				request := l["request"].(map[string]any)
				if user := l["user_id"]; user != test.user {
					t.Errorf("%s %s, status %v: the user is %q, want %q", request["method"], request["uri"], l["status"], user, test.user)
				}
			}
		})
	}
}

// stream opens a stream and closes it.
func stream(t *testing.T, s *caddytest.Site, room, accept string, headers []string) {
	t.Helper()
	resp := s.Do("GET", "/rt/"+room, "", append([]string{"Accept: " + accept}, headers...)...)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", accept, resp.Status)
	}
	_ = resp.Body.Close()
}
