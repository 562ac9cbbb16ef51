package realtime

import (
	"fmt"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// If our own Provision fails, Cleanup undoes what it did until then. A panic there
// would be an answer that breaks off.
func TestHalfProvisionedHandlersCleanUp(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Post("lobby", "before")
	s.Stream("lobby", "text/event-stream").Until("id: ")
	for i, handlers := range []string{
		`{"handler": "realtime", "prefix": "rt"}`,
		`{"handler": "realtime", "hub": "a b"}`,
		`{"handler": "realtime", "max_rooms": -5}`,
		`{"handler": "realtime", "hub": "new", "max_message_size": 100, "history_memory": 50}`,
		`{"handler": "realtime", "max_rooms": 5}, {"handler": "realtime", "max_rooms": 6}`,
		`{"handler": "realtime", "hub": "new", "max_rooms": 5}, {"handler": "realtime", "hub": "new", "max_rooms": 6}`,
		`{"handler": "realtime", "max_rooms": 5}, {"handler": "nobody"}`,
	} {
		config := fmt.Sprintf(`{"admin": {"disabled": true}, "apps": {"http": {"servers": {"s": {"listen": [":%d"], "routes": [{"handle": [%s]}]}}}}}`, s.Port, handlers)
		if err := caddy.Load([]byte(config), true); err == nil {
			t.Fatalf("%s was loaded", handlers)
		}
		if _, kept := hubs.References(hubKey{name: "new", kind: "memory"}); kept {
			t.Errorf("%s: a hub was left behind", handlers)
		}
		// What was there before is still there, for the one member.
		s.Post("lobby", "after")
		if texts := s.Page("lobby").Texts(); len(texts) != i+2 || texts[0] != "before" {
			t.Errorf("%s: the history is %q", handlers, texts)
		}
		if got := s.Do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members"); got != "1" {
			t.Errorf("%s: %q members", handlers, got)
		}
	}
	if err := new(Handler).Cleanup(); err != nil {
		t.Error(err)
	}
}
