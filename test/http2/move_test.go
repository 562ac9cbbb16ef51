package http2

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// movers are clients of HTTP/2 and 3, which a reload moves to a new server.
type movers struct {
	all   sync.WaitGroup
	began time.Time

	mu   sync.Mutex
	ends []time.Duration // after began
}

func (m *movers) ended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, time.Since(m.began))
}

// TestMovesAreSpread: at a reload, streams and polls go one after the other, each with what it
// needs to come back, and presence stands still.
func TestMovesAreSpread(t *testing.T) {
	const streams, polls = 10, 6 // of each version
	block := "realtime {\n" + caddytest.Open + "drain 3s\n}"
	s := caddytest.StartTLS(t, block)
	clients := caddytest.Clients(t)
	m := new(movers)
	cursor := s.Fetch(clients["HTTP/1.1"], "HTTP/1.1", "HEAD", "lobby", "").Header.Get("ETag")
	for _, proto := range []string{"HTTP/2.0", "HTTP/3.0"} {
		for range streams {
			l := caddytest.NewLines(t, s.Fetch(clients[proto], proto, "GET", "lobby", "", "Accept: text/event-stream"))
			l.Until("id: ")
			m.all.Go(func() {
				if rest := l.Rest(); len(rest) < 2 || !strings.HasPrefix(rest[len(rest)-2], "retry: ") {
					t.Errorf("a stream ends with %q, want retry", rest)
				}
				m.ended()
			})
		}
		for range polls {
			m.all.Go(func() {
				var p caddytest.Page
				caddytest.Decode(t, caddytest.ReadAll(t, s.Fetch(clients[proto], proto, "GET", "lobby?wait=60&since="+strings.Trim(cursor, `"`), "")), &p)
				if len(p.Messages) != 0 || p.Cursor == "" {
					t.Errorf("a poll ends with %+v, want an empty page", p)
				}
				m.ended()
			})
		}
	}
	all := 2*(streams+polls) + 1
	watcher, _, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby?presence=1&envelope=1", &websocket.DialOptions{HTTPClient: clients["HTTP/1.1"]})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.CloseNow()
	caddytest.Hear(t, watcher, fmt.Sprintf(`"members":%d`, all))

	m.began = time.Now()
	s.ReloadTLS(block + "\nheader X-Round two")
	m.all.Wait()
	slices.Sort(m.ends)
	if first, last := m.ends[0], m.ends[len(m.ends)-1]; last > 3*time.Second || last-first < time.Second {
		t.Errorf("%d clients were moved from %v to %v after the reload, want them to be spread over seconds", len(m.ends), first, last)
	}
	for range all { // they all come back, and one more
		again := caddytest.NewLines(t, s.Fetch(clients["HTTP/1.1"], "HTTP/1.1", "GET", "lobby", "", "Accept: text/event-stream"))
		again.Until("id: ")
	}
	for {
		frame := caddytest.Receive(t, watcher)
		if strings.Contains(frame, fmt.Sprintf(`"members":%d`, all+1)) {
			break
		}
		if !strings.Contains(frame, fmt.Sprintf(`"members":%d`, all)) {
			t.Errorf("seen while clients moved: %s", frame)
		}
	}
}
