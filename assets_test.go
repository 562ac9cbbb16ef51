package realtime

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A script is served to pages of any origin, with any Accept, and below any other
// handlers.
func TestAssets(t *testing.T) {
	s := caddytest.Start(t, "realtime")
	resp := s.Do("GET", "/rt/-/realtime-chat.js", "", "Origin: https://elsewhere.example", "Accept-Encoding: br;q=1, gzip;q=0.9, zstd;q=0.1",
		"Accept: text/css")
	if h := resp.Header; resp.StatusCode != http.StatusOK || h.Get("Content-Encoding") != "gzip" || h.Get("Access-Control-Allow-Origin") != "*" ||
		h.Get("Cache-Control") != "no-cache" || h.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%s %v", resp.Status, h)
	}
	tag := resp.Header.Get("ETag")
	if resp := s.Do("GET", "/rt/-/realtime-chat.js", "", "Accept-Encoding: gzip", "If-None-Match: "+tag); resp.StatusCode != http.StatusNotModified {
		t.Errorf("again: %s", resp.Status)
	}
	zstd := s.Do("GET", "/rt/-/realtime-chat.js", "", "Accept-Encoding: gzip;q=0.5, zstd")
	if zstd.Header.Get("Content-Encoding") != "zstd" || zstd.Header.Get("ETag") == tag {
		t.Errorf("zstd: %v", zstd.Header)
	}
	chat := caddytest.ReadAll(t, s.Do("GET", "/rt/-/realtime-chat.js", "", "Accept-Encoding: identity"))
	imported := regexp.MustCompile(`"\./(realtime\.[0-9a-f]+\.js)"`).FindStringSubmatch(chat)
	if imported == nil {
		t.Fatalf("it imports nothing: %s", chat)
	}
	resp = s.Do("GET", "/rt/-/"+imported[1], "", "Accept-Encoding: identity")
	if body := caddytest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(body, "Realtime") ||
		!strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}

	for target, status := range map[string]int{"-/realtime.0000000000.js": 404, "-/": 404, "-": 404} {
		resp := s.Do("GET", "/rt/"+target, "")
		if body := caddytest.ReadAll(t, resp); resp.StatusCode != status || !strings.Contains(body, `"title":"not found"`) ||
			!strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: %s %s", target, resp.Status, body)
		}
	}
	if resp := s.Do("POST", "/rt/-/realtime.js", "x"); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s, Allow %q", resp.Status, resp.Header.Get("Allow"))
	}
	if resp := s.Do("PUT", "/rt/lobby", "x"); resp.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" {
		t.Errorf("PUT to a room: Allow %q", resp.Header.Get("Allow"))
	}
}

// The command prints the scripts that the handler serves.
func TestAssetsCommand(t *testing.T) {
	if _, ok := caddycmd.Commands()["realtime"]; !ok {
		t.Fatal("caddy has no command realtime")
	}
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		cmd := assetsCommand()
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	s := caddytest.Start(t, "realtime /live/*")
	for _, prefix := range []string{"/live/", s.URL + "/live/"} {
		out, err := run("--prefix", prefix)
		if err != nil {
			t.Fatal(err)
		}
		tags := regexp.MustCompile(`<script type="module" src="([^"]+)" integrity="(sha384-[^"]+)" crossorigin></script>`).FindAllStringSubmatch(out, -1)
		if len(tags) != 4 || strings.Count(out, "gzip ") != 5 {
			t.Errorf("prints\n%s", out)
		}
		for _, tag := range tags {
			target, ok := strings.CutPrefix(strings.TrimPrefix(tag[1], s.URL), "/live/")
			if !ok || !strings.HasPrefix(tag[1], prefix) || strings.Count(out, tag[2]) != 2 {
				t.Errorf("tag %q", tag[0])
			}
			if resp := s.Do("GET", "/live/"+target, ""); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", tag[1], resp.Status)
			}
		}
	}
	if out, err := run(); err != nil || strings.Count(out, `src="/rt/-/`) != 4 {
		t.Errorf("by default it prints %v\n%s", err, out)
	}
	for _, args := range [][]string{{"--prefix", "/rt"}, {"--prefix", ""}, {"surplus"}} {
		if out, err := run(args...); err == nil {
			t.Errorf("%q is taken, and prints\n%s", args, out)
		}
	}
}
