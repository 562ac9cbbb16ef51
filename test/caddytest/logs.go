package caddytest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Logged returns the lines of a message that Caddy has logged so far, at any level; of the empty
// one, all lines.
type Logged func(message string) []map[string]any

// Text returns all that Caddy has logged so far.
func (l Logged) Text() string {
	var b strings.Builder
	for _, line := range l("") {
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

// StartLogged runs Caddy with a site whose block is given, in which PORT stands for the
// port, and returns what it logs.
func StartLogged(t *testing.T, block string) (*Site, Logged) {
	t.Helper()
	s := New(t)
	block = strings.ReplaceAll(block, "PORT", strconv.Itoa(s.Port))
	return s, s.LoadLogged(fmt.Sprintf("%s {\n%s\n}", s.URL, block))
}

// LoadLogged is StartLogged with whole sites.
func (s *Site) LoadLogged(sites string) Logged {
	t := s.t
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	StopAfter(t)
	Load(t, fmt.Sprintf("{\nadmin off\npersist_config off\nskip_install_trust\nauto_https disable_redirects\nlog {\noutput file %s\nformat json\nlevel DEBUG\n}\n}\n%s\n", file, sites))
	return func(message string) []map[string]any {
		t.Helper()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var found []map[string]any
		for text := range strings.Lines(string(content)) {
			if !strings.HasSuffix(text, "\n") {
				break // it is being written
			}
			var line map[string]any
			Decode(t, text, &line)
			if message == "" || line["msg"] == message {
				found = append(found, line)
			}
		}
		return found
	}
}
