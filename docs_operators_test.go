package realtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// TestDocsOperators runs the commands for operators in OPERATIONS.md, those of a section after each other, on a
// hub in a file.
func TestDocsOperators(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the commands need bash")
	}
	const document = "docs/OPERATIONS.md"
	blocks := docBlocks(t, document)
	lines := strings.Split(docRead(t, document), "\n")
	section := func(line int) string {
		for _, l := range slices.Backward(lines[:line]) {
			if name, ok := strings.CutPrefix(l, "## "); ok {
				return name
			}
		}
		return ""
	}
	for name, want := range map[string]string{
		"Rooms in a file":                   "copied  ",
		"Export and import":                 "kept     0\nanew     0\nknown    12\n",
		"Erase what somebody has published": "erased  4 messages",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			run := commandsOf(t, dir)
			var out strings.Builder
			for _, b := range blocks {
				if b.info == "sh" && section(b.line) == name {
					out.WriteString(run(b.text))
				}
			}
			if !strings.Contains(out.String(), want) {
				t.Errorf("printed\n%s\nwant %q in it", out.String(), want)
			}
		})
	}
}

// commandsOf returns what runs commands in a folder, for which /var/backups stands, too. They ask a Caddy that has the hub
// shop, with messages in it.
func commandsOf(t *testing.T, dir string) func(commands string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		caddytest.Eventually(t, "the end of the hubs", func() bool { return len(lookAtHubs().Hubs) == 0 })
	})
	s := caddytest.StartAdministered(t, fmt.Sprintf("realtime {\nhub shop\nengine bolt %s\nuser {header.X-User} trusted\n}", filepath.Join(dir, "shop.db")))
	for i := range 12 {
		s.Post(fmt.Sprint("board/", i%2), "hi", "X-User: "+[]string{"ann", "ben", "cleo"}[i%3])
	}
	script := fmt.Sprintf("#!/bin/sh\nexport REALTIME_TEST_IS_CADDY=1\ncase $2 in check) exec '%s' \"$@\";; esac\nexec '%[1]s' \"$@\" --address %s\n", self, s.Admin)
	if err := os.WriteFile(filepath.Join(dir, "caddy"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(commands string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", strings.ReplaceAll(commands, "/var/backups", dir+"/backups"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"), "no_proxy=*")
		if err := os.MkdirAll(filepath.Join(dir, "backups"), 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", commands, err, out)
		}
		return string(out)
	}
}
