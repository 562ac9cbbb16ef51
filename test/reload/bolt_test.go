package reload

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// The engine bolt takes other options at a reload, and keeps its rooms. Another file is another hub.
func TestReloadOfBolt(t *testing.T) {
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one.db"), filepath.Join(folder, "two.db")
	s := caddytest.StartAdministered(t, engineBlock("bolt "+one))
	s.Post("lobby", "kept")
	for _, options := range []string{"sync always", "sync 10ms\nsize 2MiB", ""} {
		s.Reload(engineBlock("bolt " + one + " {\n" + options + "\n}"))
		if texts := s.Page("lobby").Texts(); !slices.Equal(texts, []string{"kept"}) {
			t.Errorf("%q: the room has %q", options, texts)
		}
	}
	s.Reload(engineBlock("bolt " + two))
	if texts := s.Page("lobby").Texts(); len(texts) != 0 {
		t.Errorf("with another file the room has %q", texts)
	}
	s.Post("lobby", "anew")
	s.Reload("respond x")
	admin := s.By(s.Port)
	admin.URL = "http://" + s.Admin
	caddytest.Eventually(t, "the files to be closed", func() bool {
		return strings.TrimSpace(caddytest.ReadAll(t, admin.Do("GET", "/realtime/hubs", ""))) == `{"hubs":[]}`
	})
}

// A history that outlives a restart is not warned about.
func TestBoltIsNotWarnedAbout(t *testing.T) {
	s, logged := caddytest.StartLogged(t, engineBlock("bolt", "hub lasting", "room * {\nhistory 10 7d\n}"))
	s.Post("lobby", "kept")
	if lines := logged("rooms are kept in memory, so a restart of Caddy empties them, whatever their history says; engine bolt keeps them"); len(lines) > 0 {
		t.Errorf("warned %v", lines)
	}
}
