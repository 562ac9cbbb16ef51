package surroundings

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Directives before realtime may take its requests away. That is never silent: there is
// an answer that says so, and a warning when the configuration is checked.
func TestRequestsThatAreTakenAway(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.html"), []byte("app"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		block  string // %s is realtime
		target string // of a room
		names  string // in the answer; empty: it is served
		warns  string // in the log; empty: nothing of ours
	}{
		"nothing":                 {"%s", "/rt/lobby", "", ""},
		"single page application": {"try_files {path} /index.html\n%s\nfile_server", "/rt/lobby", "try_files", "try_files"},
		"with a matcher":          {"try_files {path} /index.html\nrealtime /live/* {\nrate off\n}\nfile_server", "/live/lobby", "try_files", "try_files"},
		"pages or 404":            {"try_files {path} {path}.html =404\n%s\nfile_server", "/rt/lobby", "-", "try_files"}, // it fails before realtime is asked
		"the remedy":              {"handle /rt/* {\n%s\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}", "/rt/lobby", "", ""},
		"others alone":            {"@app {\nnot path /rt/*\nfile {path} /index.html\n}\nrewrite @app {http.matchers.file.relative}\n%s\nfile_server", "/rt/lobby", "", ""},
		"rewrite":                 {"rewrite * /index.html\n%s\nfile_server", "/rt/lobby", "rewrite", "rewrite"},
		"rewrite of others":       {"rewrite /app/* /index.html\n%s\nfile_server", "/rt/lobby", "", ""},
		"rewrite into a room":     {"rewrite /old/* /rt/lobby\n%s\nfile_server", "/old/x", "", ""},
		"route":                   {"route {\nrewrite * /index.html\n%s\nfile_server\n}", "/rt/lobby", "rewrite", "rewrite"},
		"strip":                   {"uri strip_prefix /rt\n%s\nfile_server", "/rt/lobby", "uri strip_prefix", "strip_prefix"},
		"handle elsewhere":        {"handle /live/* {\n%s\n}", "/live/lobby", "set prefix", "set prefix"},
		"handle_path":             {"handle_path /live/* {\n%s\n}", "/live/lobby", "prefix /", "set prefix"},
		"handle_path, prefix":     {"handle_path /live/* {\nrealtime {\nprefix /\nrate off\n}\n}", "/live/lobby", "", ""},
		"handle, prefix":          {"handle /live/* {\nrealtime {\nprefix /live/\nrate off\n}\n}", "/live/lobby", "", ""},
		"another answers":         {"handle_path /live/* {\n%s\nrespond \"else\"\n}", "/live/rt/lobby", "", "set prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			s := caddytest.New(t)
			log := filepath.Join(t.TempDir(), "log")
			block := test.block
			if strings.Contains(block, "%s") {
				block = fmt.Sprintf(block, "realtime {\nrate off\n}")
			}
			caddytest.Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\nlog {\noutput file %s\nlevel WARN\n}\n}\nhttp://127.0.0.1:%d {\nroot * %s\n%s\n}\n", log, s.Port, root, block))
			t.Cleanup(func() { _ = caddy.Stop() })
			wantTaken(t, s, test.target, test.names)
			b, _ := os.ReadFile(log) // there is none if nothing was logged
			warned := ""
			for line := range strings.Lines(string(b)) {
				if strings.Contains(line, "http.handlers.realtime") {
					warned += line
				}
			}
			if !strings.Contains(warned, test.warns) || (test.warns == "") != (warned == "") {
				t.Errorf("logged: %s", warned)
			}
		})
	}
}

// wantTaken asks for a room, and checks that the answers name what has taken the requests
// away. If that is empty, the room is served; - means that another handler answers.
func wantTaken(t *testing.T, s *caddytest.Site, target, names string) {
	t.Helper()
	for _, headers := range [][]string{nil, {"Accept: application/x-ndjson"}, {"Accept: text/event-stream"}} {
		resp := s.Do("GET", target, "", headers...)
		if names == "-" {
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("GET %s: %s", target, resp.Status)
			}
		} else if names != "" {
			caddytest.Refused(t, resp, 404, names)
		} else if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") == "" {
			t.Errorf("GET %s: %s %v", target, resp.Status, resp.Header)
		}
	}
	resp := s.Do("POST", target, "hi")
	if names != "" && names != "-" {
		caddytest.Refused(t, resp, 404, names)
	} else if names == "" && resp.StatusCode != http.StatusCreated {
		t.Errorf("POST %s: %s", target, resp.Status)
	}
}

// Files of a single page application are served as before, and a script of ours is
// refused rather than replaced by a page.
func TestOthersPathsBehindARewrite(t *testing.T) {
	s := caddytest.Start(t, "rewrite /x /y\nrewrite /rt/* /index.html\nrealtime\nrespond \"{path}\"")
	if got := caddytest.ReadAll(t, s.Do("GET", "/x", "")); got != "/y" {
		t.Errorf("another path: %q", got)
	}
	caddytest.Refused(t, s.Do("GET", "/rt/-/realtime-chat.js", ""), 404, "handle /rt/*")
}
