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
	s := startSite(t)
	s.options = append(s.options, "origins http://"+s.backend) // whose pages use the hub by the proxy, too
	s.load(t, "second")
	s.inFirefox(t)
}

// Users show tokens in Firefox as in Chromium, and have them renewed.
func TestFirefoxTokens(t *testing.T) {
	s := startSite(t, tokens)
	s.inFirefox(t, newIssuer(t, "cleo", "Cleo", 5*time.Second).URL)
}

// inFirefox runs the tests of firefox.mjs; with the URL of an issuer, those of tokens.
func (s *site) inFirefox(t *testing.T, issuer ...string) {
	t.Helper()
	firefox, err := exec.LookPath("firefox-esr")
	if err != nil {
		if firefox, err = exec.LookPath("firefox"); err != nil {
			t.Fatal("no Firefox here: install it (Debian: apt-get install firefox-esr)")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", append([]string{"firefox.mjs", firefox, "http://" + s.backend, s.URL()}, issuer...)...)
	node.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := node.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
