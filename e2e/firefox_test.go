package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The client works in Firefox as in Chromium: each transport; refusals by the server,
// by a proxy and by the browser; tabs that share a connection, frozen tabs, duplicated
// tabs, and tabs of other users and other sites.
func TestFirefox(t *testing.T) {
	firefox, err := exec.LookPath("firefox-esr")
	if err != nil {
		if firefox, err = exec.LookPath("firefox"); err != nil {
			t.Fatal("no Firefox here: install it (Debian: apt-get install firefox-esr)")
		}
	}
	s := startSite(t)
	s.options = append(s.options, "origins http://"+s.backend) // whose pages use the hub by the proxy, too
	s.load(t, "second")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "firefox.mjs", firefox, "http://"+s.backend, s.URL())
	node.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := node.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
