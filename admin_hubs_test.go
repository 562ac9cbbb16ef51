package realtime

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// openHubs opens a stream of the hubs.
func openHubs(t *testing.T, s *caddytest.Site) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Admin+"/realtime/hubs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := caddytest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestHubsAreListed(t *testing.T) {
	s := caddytest.StartAdministered(t, "realtime /a/* {\n}\nrealtime /b/* {\nhub support\n}")
	s.Do("POST", "/a/lobby", "hi")
	answer, status, err := administer("GET", "/realtime/hubs", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	var got hubsAnswer
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Hubs) < 2 || got.Hubs[0].State != "serving" || got.Hubs[0].Rooms != 1 || got.Hubs[0].Bytes == 0 {
		t.Errorf("got %s", answer)
	}
}

// A stream has a line for each change, and there may be a few of them.
func TestHubsStream(t *testing.T) {
	s := caddytest.StartAdministered(t, "realtime {\nhub stream\n}")
	resp := openHubs(t, s)
	lines := bufio.NewReader(resp.Body)
	until := func(text string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, text) {
				return
			}
		}
	}
	until(`"hub":"stream","state":"serving","connections":0`)
	c := s.Dial("lobby")
	until(`"hub":"stream","state":"serving","connections":1`)
	_ = c.CloseNow()
	until(`"hub":"stream","state":"serving","connections":0`)

	var open []io.Closer
	for range maxHubsStreams - 1 {
		open = append(open, openHubs(t, s).Body)
	}
	if more := openHubs(t, s); more.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream too many: %s", more.Status)
	}
	for _, o := range open {
		_ = o.Close()
	}
	caddytest.Eventually(t, "a place for another one", func() bool {
		resp := openHubs(t, s)
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
