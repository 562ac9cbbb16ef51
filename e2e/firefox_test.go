package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// What the client does in Chromium it does in Firefox: each transport, what is
// refused, tabs that share a connection, and those of other users.
func TestFirefox(t *testing.T) {
	firefox, err := exec.LookPath("firefox-esr")
	if err != nil {
		if firefox, err = exec.LookPath("firefox"); err != nil {
			t.Fatal("no Firefox here: install it (Debian: apt-get install firefox-esr)")
		}
	}
	s := startSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "firefox.mjs", firefox, "http://"+s.backend)
	node.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := node.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
