package realtime

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCheckCommand(t *testing.T) {
	s := threeHubs(t)
	for range 3 {
		s.Do("POST", "/one/a", "a canary")
		s.Do("POST", "/one/b", "text")
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if out, err := runCommand(backupCommand(), path, "--hub", "one", "--address", s.Admin); err != nil {
		t.Fatal(out, err)
	}
	const good = `^rooms     2
messages  6
bytes     \d+
created   \d{4}-\S+Z
epoch     [a-z0-9]+
state     not closed in order: its journals belong to it, or it is a backup
$`
	if out, err := runCommand(checkCommand(), path); err != nil || !regexp.MustCompile(good).MatchString(out) {
		t.Errorf("a copy: %s %v", out, err)
	}
	whole := contentOf(t, path)
	for name, test := range map[string]struct{ file, out, err string }{
		"a message":  {written(t, strings.ReplaceAll(whole, "a canary", "a Canary")), "damage    ", "is damaged in 3 places: restore it"},
		"cut off":    {written(t, whole[:len(whole)/2]), "", "it is cut off at"},
		"empty":      {written(t, ""), "", "the file is damaged: it is empty"},
		"no file":    {path + "x", "", "no such file"},
		"not a file": {written(t, strings.Repeat("no database", 10_000)), "", "damaged"},
	} {
		if out, err := runCommand(checkCommand(), test.file); err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(out, test.out) {
			t.Errorf("%s: %s %v, want %s and an error with %s", name, out, err, test.out, test.err)
		}
	}
	p, err := findHub("one")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := runCommand(checkCommand(), p.storage); err == nil || !strings.Contains(err.Error(), "caddy realtime backup") {
		t.Errorf("a file in use: %s %v", out, err)
	}
	s.Reload("respond x")
	<-p.ended
	if out, err := runCommand(checkCommand(), p.storage); err != nil || !strings.Contains(out, "state     closed in order\n") {
		t.Errorf("the file itself: %s %v", out, err)
	}
}
