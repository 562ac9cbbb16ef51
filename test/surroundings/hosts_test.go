package surroundings

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestHostsThatShareRoomsAreToldOf(t *testing.T) {
	const (
		wildcard = "all hosts that match a wildcard share these rooms"
		rest     = "all hosts without a site of their own share these rooms"
		several  = "several hosts share these rooms"
	)
	for sites, want := range map[string]string{
		"http://*.localhost:PORT {\nrealtime\n}":                                                     wildcard,
		"http://*.localhost:PORT {\n@a host a.localhost\nhandle @a {\nrealtime\n}\n}":                "",
		"http://*.localhost:PORT {\n@a host *.a.localhost\nhandle @a {\nrealtime\n}\n}":              wildcard,
		"http://*.localhost:PORT {\nrealtime {\nhub all\n}\n}":                                       "",
		"http://a.localhost:PORT http://b.localhost:PORT {\nrealtime\n}":                             several,
		"http://a.localhost:PORT http://www.a.localhost:PORT {\nrealtime\n}":                         "",
		"http://localhost:PORT http://127.0.0.1:PORT {\nrealtime\n}":                                 "",
		"http://:PORT {\nrealtime\n}":                                                                "",
		"http://:PORT {\nrealtime\n}\nhttp://b.localhost:PORT {\nrespond b\n}":                       rest,
		"http://a.localhost:PORT {\nrealtime\n}\nhttp://*.localhost:PORT {\nrespond b\n}":            "",
		"http://a.localhost:PORT {\nrealtime\n}\nhttp://b.localhost:PORT {\nrealtime {\nhub b\n}\n}": "",
	} {
		t.Run("", func(t *testing.T) {
			s := caddytest.New(t)
			logged := s.LoadLogged(strings.ReplaceAll(sites, "PORT", fmt.Sprint(s.Port)))
			for _, message := range []string{wildcard, rest, several} {
				if n := len(logged(message)); n > 1 || (n == 1) != (message == want) {
					t.Errorf("%q is logged %d times by\n%s", message, n, sites)
				}
			}
			if resp := s.Do("GET", "/rt/lobby", "", "Host: a.localhost"); resp.StatusCode != http.StatusOK {
				t.Errorf("GET: %s", resp.Status)
			}
		})
	}
}
