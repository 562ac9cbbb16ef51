package realtime

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestSuggestions(t *testing.T) {
	for name, want := range map[string]string{
		"max_conections": "max_connections", "Max-Rooms": "max_rooms", "hbu": "hub", "orgins": "origins", "origin": "origins",
		"heartbeet": "heartbeat", "room-s": "rooms", "rom": "room", "rates": "rate", "subprotocol": "subprotocols", "histroy_memory": "history_memory",
		"": "", "x": "", "gzip": "", "transport": "", "room_size": "", strings.Repeat("room", 1000): "",
	} {
		if got := nearest(name, handlerOptions); got != want {
			t.Errorf("%.20q: %q, want %q", name, got, want)
		}
	}
}

// Every option that is suggested is one, in its block.
func TestSuggestedOptionsExist(t *testing.T) {
	for _, list := range []struct {
		names []string
		block string
	}{{handlerOptions, "realtime {\n%\n}"}, {roomOptions, "realtime {\nroom a {\n%\n}\n}"}, {jwtOptions, "realtime {\njwt {\n%\n}\n}"}} {
		for _, name := range list.names {
			if name == "guests" {
				continue // needs no argument
			}
			_, _, err := caddytest.Adapt("http://localhost:8080\n\n" + strings.Replace(list.block, "%", name, 1))
			if err == nil || strings.Contains(err.Error(), "unrecognized") ||
				!strings.Contains(err.Error(), "wrong argument count") && !strings.Contains(err.Error(), "has no options") {
				t.Errorf("%s without an argument: %v", name, err)
			}
		}
	}
}

func TestRoomsThatTakeThePathForTheirName(t *testing.T) {
	for _, test := range []struct{ prefix, pattern, say string }{
		{"/rt/", "lobby", ""},
		{"/rt/", "a/rt/b", ""},
		{"/rt/", "rt", ""},
		{"/rt/", "rt*", ""},
		{"/rt/", "rtx/a", ""},
		{"/live/", "rt/lobby", ""},
		{"/", "rt/lobby", ""},
		{"/rt/", "/lobby", "lobby"},
		{"/", "/lobby", "lobby"},
		{"/rt/", "//lobby", "lobby"},
		{"/rt/", "/*", "*"},
		{"/rt/", "rt/lobby", "lobby"},
		{"/rt/", "RT/lobby", "lobby"},
		{"/rt/", "/rt/lobby", "lobby"},
		{"/rt/", "/rt//lobby", "lobby"},
		{"/rt/", "rt/*", "*"},
		{"/rt/", "rt/", "*"},
		{"/a/b/", "a/b/c", "c"},
	} {
		err := checkRoom(test.prefix, test.pattern)
		if (err != nil) != (test.say != "") || err != nil && !strings.HasSuffix(err.Error(), "; use room "+test.say) {
			t.Errorf("%s below %s: %v, want %q", test.pattern, test.prefix, err, test.say)
		}
		// In JSON, too.
		h := Handler{Prefix: test.prefix, Rooms: []Room{{Pattern: test.pattern}}}
		if err := h.check(); (err != nil) != (test.say != "") {
			t.Errorf("in JSON, %s below %s: %v", test.pattern, test.prefix, err)
		}
	}
}
