package realtime

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// TestKeyCommand checks that the printed line is for the printed key.
func TestKeyCommand(t *testing.T) {
	var out strings.Builder
	if err := printKey(&out, "shop"); err != nil {
		t.Fatal(err)
	}
	key := strings.Fields(out.String())[1]
	_, line, _ := strings.Cut(out.String(), "Caddyfile  ")
	if _, _, err := caddytest.Adapt("http://localhost:9080\nrealtime {\n" + line + "}\n"); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	fields := strings.Fields(line)
	var keys backend.Set
	if _, err := keys.Add(fields[1], fields[2]); err != nil {
		t.Fatal(err)
	}
	if name, _, err := keys.Find(key); name != "shop" || err != nil {
		t.Errorf("%s: %q, %v", out.String(), name, err)
	}
	if err := printKey(&out, "a b"); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("a bad name: %v", err)
	}
}

const signSecret = "canary-abcdefghijklmnopqrstuvwxyz-0123456789"

// signTest is a change to a signing that is good: the URL then begins with prefix, or there is an
// error about err.
type signTest struct {
	name   string
	change func(*signing)
	prefix string
	err    string
}

func signTests(file string) []signTest {
	return []signTest{
		{"a room", func(*signing) {}, "https://Example.com:8443/rt/board/7?link=v1.", ""},
		{"a key in a file", func(s *signing) { s.key = file }, "https://Example.com:8443/rt/board/7?link=v1.", ""},
		{"a pattern", func(s *signing) { s.link.Room, s.link.Pattern = "", "board/*" }, "https://Example.com:8443/rt/?link=v1.", ""},
		{"a name to escape", func(s *signing) { s.link.Room = "a b?&#%<" }, "https://Example.com:8443/rt/a%20b%3F%26%23%25%3C?link=v1.", ""},
		{"everything", func(s *signing) { s.link.Hub, s.link.Name, s.link.Uses, s.expires = "main", "Ann B.", 3, "365d" }, "https://Example.com:8443/rt/board/7?link=v1.", ""},
		{"at the root", func(s *signing) { s.url = "http://[::1]:9080/" }, "http://[::1]:9080/board/7?link=v1.", ""},
		{"no room", func(s *signing) { s.link.Room = "" }, "", "room or pattern"},
		{"both", func(s *signing) { s.link.Pattern = "*" }, "", "room or pattern"},
		{"no URL", func(s *signing) { s.url = "" }, "", "--url"},
		{"no slash", func(s *signing) { s.url = "https://example.com/rt" }, "", "--url"},
		{"no scheme", func(s *signing) { s.url = "example.com/rt/" }, "", "--url"},
		{"a query", func(s *signing) { s.url = "https://example.com/rt/?a=b" }, "", "--url"},
		{"no verbs", func(s *signing) { s.verbs = nil }, "", "--verbs"},
		{"an unknown verb", func(s *signing) { s.verbs = []string{"fly"} }, "", "--verbs"},
		{"no duration", func(s *signing) { s.expires = "" }, "", "--expires"},
		{"too long", func(s *signing) { s.expires = "366d" }, "", "--expires"},
		{"over at once", func(s *signing) { s.expires = "-1h" }, "", "--expires"},
		{"no key", func(s *signing) { s.key = "" }, "", "--key"},
		{"no such file", func(s *signing) { s.key = "/nowhere/at/all" }, "", "--key"},
		{"the key itself", func(s *signing) { s.key = signSecret }, "", "--key"},
		{"a short key", func(s *signing) { s.key = "{env.REALTIME_TEST_SHORT}" }, "", "32 bytes"},
		{"an unset key", func(s *signing) { s.key = "{env.REALTIME_TEST_UNSET}" }, "", "REALTIME_TEST_UNSET"},
	}
}

// TestSignCommand checks the URLs that the command prints.
func TestSignCommand(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(signSecret+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REALTIME_TEST_KEY", signSecret)
	t.Setenv("REALTIME_TEST_SHORT", signSecret[:31])
	key, err := link.NewKey(signSecret)
	if err != nil {
		t.Fatal(err)
	}
	good := signing{url: "https://Example.com:8443/rt/", key: "{env.REALTIME_TEST_KEY}", expires: "7d", verbs: []string{"subscribe", " presence"}, link: link.Link{Room: "board/7"}}
	for _, test := range signTests(file) {
		t.Run(test.name, func(t *testing.T) {
			s := good
			s.verbs = append([]string(nil), good.verbs...)
			test.change(&s)
			var out, notes strings.Builder
			err := s.print(&out, &notes, now)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "canary") {
					t.Errorf("%q, %v; want an error about %s", out.String(), err, test.err)
				}
				return
			}
			if err != nil || !strings.HasPrefix(out.String(), test.prefix) {
				t.Fatalf("%q, %v; want %s", out.String(), err, test.prefix)
			}
			checkSigned(t, s.link, out.String(), notes.String(), key, now)
		})
	}
}

// checkSigned checks the link in the URL that was printed, and the note about it.
func checkSigned(t *testing.T, want link.Link, printed, note string, key link.Key, now time.Time) {
	t.Helper()
	u, err := url.Parse(strings.TrimSuffix(printed, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.Keys{key}.Verify(u.Query().Get("link"), now)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(note, "\n") != 1 || !strings.HasPrefix(note, "link "+l.ID+" for ") ||
		!strings.Contains(note, "with key "+key.ID()+", expires ") || strings.Contains(note, "canary") || strings.Contains(note, "v1.") {
		t.Errorf("on standard error: %q", note)
	}
	want.Host, want.Verbs, want.Expires, want.ID, want.KeyID = link.Host(u.Host), []string{"subscribe", "members", "show"}, l.Expires, l.ID, key.ID()
	if !reflect.DeepEqual(l, want) || l.Room != "" && u.Path != "/rt/"+l.Room && u.Path != "/"+l.Room {
		t.Errorf("got %+v, want %+v in %s", l, want, u)
	}
	if after := l.Expires.Sub(now); after != 7*24*time.Hour && after != link.MaxLife {
		t.Errorf("it ends after %v", after)
	}
}
