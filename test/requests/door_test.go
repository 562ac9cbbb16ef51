package requests

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A text frame that is not UTF-8 ends every client of the room, so no such text is
// accepted, on any transport.
func TestBytesThatAreNoTextAreRefused(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	watcher := s.Dial("lobby?presence=1", caddytest.Session)
	caddytest.Hear(t, watcher, `"op":"presence"`)
	const state = "/rt/lobby?state=%22%ff%22"
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
	for name, headers := range map[string][]string{
		"page": nil, "poll": {"Prefer: wait=5"}, "SSE": {"Accept: text/event-stream"}, "NDJSON": {"Accept: application/x-ndjson"},
		"WebSocket": upgrade, "realtime.v1": append(upgrade, caddytest.Session),
	} {
		t.Run(name, func(t *testing.T) { caddytest.Refused(t, s.Do("GET", state, "", headers...), 400, "not UTF-8") })
	}
	for name, headers := range map[string][]string{
		"text": {"Content-Type: text/plain"}, "JSON": {"Content-Type: application/json"}, "problem": {"Content-Type: application/problem+json"},
		"form": {"Content-Type: application/x-www-form-urlencoded"}, "key": {"Idempotency-Key: \xff"}, "event": {"Realtime-Event: \xff"},
		"type": {"Content-Type: image/png; x=\"\xff\""},
	} {
		t.Run(name, func(t *testing.T) { caddytest.Refused(t, s.Do("POST", "/rt/lobby", "\"\xff\"", headers...), 400, "") })
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby?key=%ff", "x"), 400, "not UTF-8")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby?event=%ff", "x"), 400, "")
	for _, line := range []string{
		`{"op":"state","room":"lobby","state":"` + "\xff" + `"}`,
		`{"op":"publish","room":"lobby","data":"` + "\xff" + `"}`,
		`{"op":"publish","room":"lobby","data":{"a":"` + "\xff" + `"}}`,
		`{"op":"signal","room":"lobby","event":"a` + "\xff" + `"}`,
	} {
		if a := s.Commands("", line); a[0].Status != 400 {
			t.Errorf("%q is answered with %+v", line, a)
		}
	}
	s.Post("lobby", "bytes \xff", "Content-Type: application/octet-stream")
	// The watcher has met nothing that ended it.
	if got := caddytest.Hear(t, watcher, "base64"); !strings.Contains(got, "base64") {
		t.Errorf("got %s", got)
	}
}
