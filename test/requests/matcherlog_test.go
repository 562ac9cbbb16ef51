package requests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A matcher of allow that fails counts as no. With the options of docs/TROUBLESHOOTING.md clients
// that make it fail cannot fill the log: Caddy says so once, and the module once.
func TestFailingExpressionDoesNotFloodTheLog(t *testing.T) {
	docs, err := os.ReadFile("../../docs/TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "\n## The log is full of")
	_, section, _ = strings.Cut(section, "```caddyfile\n{\n")
	options, _, found := strings.Cut(section, "\n}\n```")
	if !found {
		t.Fatal("the document has no log options")
	}
	dir := t.TempDir()
	for _, log := range []string{"default", "expressions"} {
		options = strings.Replace(options, "log "+log+" {", fmt.Sprintf("log %s {\noutput file %s\nformat json", log, filepath.Join(dir, log)), 1)
	}
	s := caddytest.New(t)
	caddytest.StopAfter(t)
	caddytest.Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nskip_install_trust\n%s\n}\n%s {\n%s\n}\n", options, s.URL,
		"@high expression `int({header.X-Level}) > 3`\nrealtime {\n"+caddytest.Open+"allow publish @high\n}"))

	if resp := s.Do("POST", "/rt/lobby", "hi", "X-Level: 4"); resp.StatusCode != 201 {
		t.Errorf("who matches gets %s", resp.Status)
	}
	for range 20 {
		if resp := s.Do("POST", "/rt/lobby", "hi", "X-Level: high"); resp.StatusCode != 401 {
			t.Errorf("a matcher that fails lets in: %s", resp.Status)
		}
	}
	for log, want := range map[string]map[string]int{
		"default":     {"evaluating expression": 0, "a matcher of allow failed": 1},
		"expressions": {"evaluating expression": 1, "a matcher of allow failed": 0},
	} {
		text, err := os.ReadFile(filepath.Join(dir, log))
		if err != nil {
			t.Fatal(err)
		}
		for line, n := range want {
			if got := strings.Count(string(text), line); got != n {
				t.Errorf("%d times %q in the log %s, want %d", got, line, log, n)
			}
		}
	}
}
