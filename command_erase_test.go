package realtime

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// What somebody has published is in no page, no export and no file any more, and others get no gap.
func TestEraseCommand(t *testing.T) {
	const (
		ann = "Authorization: Basic YW5uOnNlY3JldA=="
		ben = "Authorization: Basic YmVuOnNlY3JldA=="
	)
	folder := t.TempDir()
	t.Cleanup(func() {
		caddytest.Eventually(t, "the end of the hubs", func() bool { return len(lookAtHubs().Hubs) == 0 })
	})
	s := caddytest.StartAdministered(t, fmt.Sprintf(`basic_auth {
	ann $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS
	ben $2a$04$q2DnOEYDjuSiUliieZQ/4usnyjFfOTv5xv.KVL6aNq8jzfkbR7QoS
}
realtime /one/* {
	hub one
	engine bolt %s
}
realtime /memory/* {
	hub memory
}`, filepath.Join(folder, "1.db")))
	for _, hubName := range []string{"one", "memory"} {
		say := func(text, who string) {
			t.Helper()
			if resp := s.Do("POST", "/"+hubName+"/a", text, who); resp.StatusCode != http.StatusCreated {
				t.Fatal(resp.Status)
			}
		}
		say("canary", ann)
		say("hers", ben)
		since := func(cursor string) caddytest.Page {
			var p caddytest.Page
			caddytest.Decode(t, caddytest.ReadAll(t, s.Do("GET", "/"+hubName+"/a?since="+cursor, "", ben)), &p)
			return p
		}
		first := since("x.1").Messages[0].ID
		say("canary", ann)
		for _, want := range []string{"2", "0"} {
			out, err := runCommand(eraseCommand(), "--user", "ann", "--hub", hubName, "--address", s.Admin)
			if err != nil || !strings.HasPrefix(out, "erased  "+want+" messages") {
				t.Errorf("%s: %s %v", hubName, out, err)
			}
		}
		say("again", ann)
		if p := since(first); !slices.Equal(p.Texts(), []string{"hers", "again"}) || p.Gap != nil {
			t.Errorf("%s: the page has %q, and the gap %v", hubName, p.Texts(), p.Gap)
		}
		if out, err := runCommand(exportCommand(), "--hub", hubName, "--address", s.Admin); err != nil || strings.Contains(out, "canary") {
			t.Errorf("%s: %s %v", hubName, out, err)
		}
		for name, test := range map[string]struct {
			args []string
			err  string
		}{
			"nobody":      {nil, "specify user"},
			"no user":     {[]string{"--user", "~x"}, "no user can have this id"},
			"no such hub": {[]string{"--user", "ann", "--hub", "x"}, `the hubs here are`},
		} {
			if out, err := runCommand(eraseCommand(), append(test.args, "--address", s.Admin)...); err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %s %v", name, out, err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("%q %v", files, err)
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "canary") {
			t.Errorf("%s still has it, %v", file, err)
		}
	}
	for body, want := range map[string]int{`{"user":"ann","hub":"one"}`: 200, `{"hub":"one"}`: 400, `{"user":"ann","hub":"x"}`: 404, `{"user":"ann","room":"a"}`: 400} {
		if answer, status, err := administer("POST", "/realtime/erase", body); status != want {
			t.Errorf("%s: %d %s %v", body, status, answer, err)
		}
	}
	if _, status, _ := administer("GET", "/realtime/erase", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
}
