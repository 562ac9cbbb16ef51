package realtime

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A copy of a file has everything, is complete, and takes no other file's place unasked.
func TestBackupCommand(t *testing.T) {
	s := threeHubs(t)
	s.Do("POST", "/one/a", "kept")
	path := filepath.Join(t.TempDir(), "copy.db")
	backup := func(args ...string) (string, error) {
		return runCommand(backupCommand(), append(args, "--address", s.Admin)...)
	}
	out, err := backup(path, "--hub", "one")
	if err != nil || !regexp.MustCompile(`^copied  \d{5,} bytes\n$`).MatchString(out) {
		t.Fatal(out, err)
	}
	first := contentOf(t, path)
	s.Do("POST", "/one/a", "later")
	for name, test := range map[string]struct {
		args []string
		err  string
	}{
		"over a file": {[]string{path, "--hub", "one"}, "--force"},
		"of memory":   {[]string{path + "2", "--hub", "memory"}, "caddy realtime export"},
		"of no hub":   {[]string{path + "2"}, `there is no hub without a name`},
		"nowhere":     {[]string{filepath.Join(path, "x"), "--hub", "one"}, "not a directory"},
		"no name":     {[]string{"--hub", "one"}, "accepts 1 arg"},
	} {
		if out, err := backup(test.args...); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %s %v, want an error with %s", name, out, err, test.err)
		}
	}
	if contentOf(t, path) != first {
		t.Error("the copy has been replaced")
	}
	if out, err := backup(path, "--hub", "one", "--force"); err != nil || contentOf(t, path) == first {
		t.Errorf("with --force: %s %v", out, err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("there are the files %v, %v", files, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}

	s.Reload("realtime {\nengine bolt " + path + "\n}")
	if texts := s.Page("a?last=9").Texts(); !slices.Equal(texts, []string{"kept", "later"}) {
		t.Errorf("the restored room has %q", texts)
	}
}

func TestCompactCommand(t *testing.T) {
	s := threeHubs(t)
	for range 100 { // more than the history
		s.Do("POST", "/one/a", strings.Repeat("x", 60_000))
	}
	compact := func(hubName string) (string, error) {
		return runCommand(compactCommand(), "--hub", hubName, "--address", s.Admin)
	}
	for range 2 {
		out, err := compact("one")
		if err != nil || !regexp.MustCompile(`^before  \d{5,} bytes\nafter   \d{5,} bytes\n$`).MatchString(out) {
			t.Fatal(out, err)
		}
	}
	if messages, _ := pageOf(t, s, "/one/a?last=500&limit=500"); len(messages) == 0 {
		t.Error("nothing is left")
	}
	if out, err := compact("memory"); err == nil || !strings.Contains(err.Error(), "has no file") {
		t.Error(out, err)
	}
	for _, test := range []struct {
		method, target, body string
		want                 int
	}{
		{"GET", "/realtime/compact", "", http.StatusMethodNotAllowed},
		{"POST", "/realtime/backup", "", http.StatusMethodNotAllowed},
		{"POST", "/realtime/compact", `{"hub":"x"}`, http.StatusNotFound},
		{"POST", "/realtime/compact", `{"hubs":"x"}`, http.StatusBadRequest},
		{"POST", "/realtime/compact", `{"hub":"memory"}`, http.StatusNotImplemented},
		{"GET", "/realtime/backup?hub=memory", "", http.StatusNotImplemented},
		{"GET", "/realtime/backup?hub=x", "", http.StatusNotFound},
	} {
		if answer, status, err := administer(test.method, test.target, test.body); status != test.want {
			t.Errorf("%s %s %s: %d %s %v", test.method, test.target, test.body, status, answer, err)
		}
	}
}

// A backup whose hub ends is cut off, and leaves no file.
func TestBackupOfAHubThatEnds(t *testing.T) {
	s := threeHubs(t)
	for range 100 {
		s.Do("POST", "/one/a", strings.Repeat("x", 60_000))
	}
	resp := get(t, s, "/realtime/backup?hub=one")
	p, err := findHub("one")
	if err != nil {
		t.Fatal(err)
	}
	s.Reload("respond x")
	<-p.ended
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes count as whole", len(b))
	}
	caddytest.Eventually(t, "its end", func() bool { return operations.Load() == 0 })
}
