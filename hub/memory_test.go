package hub_test

import (
	"testing"

	"github.com/caddy-realtime/realtime/engine/enginetest"
	"github.com/caddy-realtime/realtime/hub"
)

func TestMemory(t *testing.T) {
	enginetest.Run(t, func(testing.TB) hub.Engine { return hub.NewMemory() })
}
