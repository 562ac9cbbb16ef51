package protocol_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// BenchmarkEnvelope encodes a message that is kept nowhere, so each time anew.
func BenchmarkEnvelope(b *testing.B) {
	for name, kind := range map[string]hub.Kind{"text": message.Text, "json": message.JSON, "binary": message.Binary} {
		b.Run(name, func(b *testing.B) {
			m := &hub.Message{
				Room: "lobby", Position: hub.Position{Epoch: "k3f9", Offset: 1042}, Kind: kind,
				Data: []byte(`"` + strings.Repeat("*", 126) + `"`), Time: time.Now(),
			}
			b.ReportAllocs()
			for b.Loop() {
				protocol.Envelope(m)
			}
		})
	}
}
