package reload

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Rooms in a file survive the process, and caddy validate may be called while it runs.
func TestBoltSurvivesARestart(t *testing.T) {
	s, admin := caddytest.New(t), caddytest.FreePort(t)
	config := strings.Replace(site(s, "", engineBlock("bolt "+filepath.Join(t.TempDir(), "x.db"), "room * {\nhistory 10 7d\n}")), "admin off", fmt.Sprintf("admin 127.0.0.1:%d", admin), 1)
	p := caddytest.StartProgram(t, config, s)
	id := s.Post("lobby", "kept")
	p.Terminate()
	p.Exits(5 * time.Second)
	p = caddytest.StartProgram(t, config, s)
	if texts := s.Page("lobby?since=" + id).Texts(); len(texts) != 0 {
		t.Errorf("after the cursor are %q", texts)
	}
	s.Post("lobby", "later")
	if err := <-p.Reload(fmt.Sprintf("127.0.0.1:%d", admin), config+"\n# another"); err != nil {
		t.Error(err)
	}
	if texts := s.Page("lobby").Texts(); !slices.Equal(texts, []string{"kept", "later"}) {
		t.Errorf("the room has %q", texts)
	}
	p.Terminate()
	p.Exits(5 * time.Second)
}
