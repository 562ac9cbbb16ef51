package requests

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A key that nobody has is in the audit by its id, once a minute for an address; the key itself is not.
func TestFailedKeyIsAudited(t *testing.T) {
	_, hash := backend.Generate()
	s, logged := caddytest.StartLogged(t, credentialed(hash))
	stolen, _ := backend.Generate()
	for range 3 {
		caddytest.Refused(t, s.Do("POST", "/rt/open/1", "hi", bearer(stolen)), 401, "no backend has this key")
	}
	lines := logged("a credential was refused; more from this address are not logged for a minute")
	if len(lines) != 1 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for name, want := range map[string]string{"level": "warn", "audit": "key", "kind": "key", "key": keyID(stolen), "address": "127.0.0.1"} {
		if got := lines[0][name]; got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	for name, value := range lines[0] {
		if text, ok := value.(string); ok && strings.Contains(text, stolen[13:]) {
			t.Errorf("the key is in %s", name)
		}
	}
}
