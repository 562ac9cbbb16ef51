package surroundings

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// startTemplates starts a site whose pages sign links with the key in REALTIME_TEST_LINKS.
func startTemplates(t *testing.T) (*caddytest.Site, caddytest.Logged) {
	t.Helper()
	dir := t.TempDir()
	page := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page("room.html", `{{realtimeLink .Req "board/a b" "subscribe,publish" "24h" "Ann"}}`)
	page("pattern.html", `{{realtimeLink .Req "board/*" "all" "30m"}}`)
	page("bad.html", `{{realtimeLink .Req "board/*" "fly" "30m"}}`)
	return caddytest.StartLogged(t, "root * "+dir+`
		templates {
			extensions {
				realtime {
					key {env.REALTIME_TEST_LINKS}
					hub main
				}
			}
		}
		file_server
		realtime {
			hub main
			links {env.REALTIME_TEST_LINKS} {
				rooms board/*
				verbs all
			}
		}`)
}

// Pages made by templates have links to rooms, good for the host of the page.
func TestTemplatesSignLinks(t *testing.T) {
	const secret = "canary-abcdefghijklmnopqrstuvwxyz-0123456789"
	t.Setenv("REALTIME_TEST_LINKS", secret)
	key, err := link.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	s, logged := startTemplates(t)
	get := func(name string) (int, string) {
		resp, err := http.Get(s.URL + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, caddytest.ReadAll(t, resp)
	}
	for name, want := range map[string]struct {
		path string
		link link.Link
		good time.Duration
	}{
		"room.html":    {"/rt/board/a b", link.Link{Room: "board/a b", Name: "Ann", Verbs: []string{"subscribe", "publish"}}, 24 * time.Hour},
		"pattern.html": {"/rt/", link.Link{Pattern: "board/*", Verbs: []string{"subscribe", "publish", "signal", "history", "members", "show"}}, 30 * time.Minute},
	} {
		_, text := get(name)
		u, err := url.Parse(text)
		if err != nil || !strings.HasPrefix(text, s.URL+"/rt/") || u.Path != want.path {
			t.Errorf("%s: %s, %v", name, text, err)
			continue
		}
		l, err := link.Keys{key}.Verify(u.Query().Get("link"), time.Now())
		if err != nil || l.Room != want.link.Room || l.Pattern != want.link.Pattern || l.Name != want.link.Name || l.Hub != "main" || l.Host != "127.0.0.1" ||
			strings.Join(l.Verbs, " ") != strings.Join(want.link.Verbs, " ") || time.Until(l.Expires).Round(time.Minute) != want.good {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if status, text := get("bad.html"); status != http.StatusInternalServerError || strings.Contains(text, "v1.") {
		t.Errorf("an unknown verb: %d %s", status, text)
	}
	if n := len(logged("a key can be read in the configuration")); n > 0 {
		t.Errorf("%d warnings about a key that stands elsewhere", n)
	}
}
