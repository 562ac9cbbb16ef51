package bolt

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/engine/enginetest"
	"github.com/caddy-realtime/realtime/hub"
)

func TestEngine(t *testing.T) {
	for name, sync := range map[string]time.Duration{"interval": 10 * time.Millisecond, "always": 0} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(t testing.TB) hub.Engine {
				e := New(filepath.Join(t.TempDir(), "rooms.db"), Options{Sync: sync}, slog.New(slog.DiscardHandler))
				if err := e.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
				return e
			})
		})
	}
}
