package reload

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

var churnTime = flag.Duration("churn.time", 2*time.Second, "how long TestChurn runs")

// TestChurn lets everybody do everything at once, while Caddy reloads again and
// again: joining, publishing, reading nothing, leaving politely and not. One
// WebSocket and one stream stay from the beginning to the end, and must see
// every number that one publisher sends, in order.
func TestChurn(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	s.Within += *churnTime
	publisher := s.Dial("", caddytest.Session)
	caddytest.Hear(t, publisher, `"op":"ready"`)
	publisher.CloseRead(t.Context()) // no command fails, so nothing comes
	publish := func(text string) {
		line := fmt.Sprintf(`{"op":"publish","room":"lobby","data":%q}`, text)
		if err := publisher.Write(t.Context(), websocket.MessageText, []byte(line)); err != nil {
			t.Error(err)
		}
	}
	stays, events := s.Dial("lobby?envelope=1"), s.Stream("lobby", "text/event-stream")
	events.Until("id: ")
	caddytest.Receive(t, stays) // ready

	ctx, cancel := context.WithTimeout(t.Context(), *churnTime)
	defer cancel()
	var all sync.WaitGroup
	var joins atomic.Int64
	all.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			publish(fmt.Sprint("n", n))
			<-time.After(time.Millisecond)
		}
		publish("end")
	})
	for i := range 6 {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if visit(ctx, s, n) == nil {
					joins.Add(1)
				}
			}
		})
	}
	all.Go(func() { inOrder(t, "WebSocket", func() string { return caddytest.ReceiveEnvelope(t, stays).Text() }) })
	all.Go(func() { inOrder(t, "SSE", func() string { return events.Until("data: ") }) })
	for i := 0; ctx.Err() == nil; i++ {
		s.Reload(fmt.Sprintf("realtime {\n%smax_rooms %d\n}", caddytest.Open, 100+i))
		<-time.After(50 * time.Millisecond)
	}
	all.Wait()
	if joins.Load() == 0 {
		t.Error("nobody came and went")
	}
	t.Logf("%d came and went", joins.Load())
}

// inOrder checks that the numbers come without a hole, between messages of
// others, until "end".
func inOrder(t *testing.T, who string, next func() string) {
	want := 1
	for {
		text := next()
		if text == "end" {
			return
		}
		number, ok := strings.CutPrefix(text, "n")
		if !ok {
			continue
		}
		if number != fmt.Sprint(want) {
			t.Errorf("%s got %s, want n%d", who, text, want)
			return
		}
		want++
	}
}

// visit comes, does something, and goes. An error is a request that met a
// reload.
func visit(ctx context.Context, s *caddytest.Site, n int) error {
	switch n % 5 {
	case 4: // a session
		c, _, err := websocket.Dial(ctx, s.URL+"/rt/", &websocket.DialOptions{Subprotocols: []string{"realtime.v1"}})
		if err != nil {
			return err
		}
		defer c.CloseNow()
		lines := `{"op":"join","room":"lobby","state":{"n":1},"last":3}` + "\n" + `{"op":"join","room":"hall"}` + "\n" +
			`{"op":"publish","room":"lobby","data":"visitor"}` + "\n" + `{"op":"signal","room":"lobby","event":"typing","data":"visitor"}` + "\n" + `{"op":"history","room":"lobby","ref":1}`
		if err := c.Write(ctx, websocket.MessageText, []byte(lines)); err != nil {
			return err
		}
		for range 5 {
			if _, _, err := c.Read(ctx); err != nil {
				return err
			}
		}
		return nil
	case 0: // a POST
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/rt/lobby", strings.NewReader("visitor"))
		if err != nil {
			return err
		}
		return drop(http.DefaultClient.Do(r))
	case 1: // a stream that is cut
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/rt/?room=lobby&room=hall&state=1&last=5", http.NoBody)
		if err != nil {
			return err
		}
		r.Header.Set("Accept", "application/x-ndjson")
		return drop(http.DefaultClient.Do(r))
	}
	c, resp, err := websocket.Dial(ctx, s.URL+"/rt/lobby?last=5", nil)
	if err != nil {
		return err
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	defer c.CloseNow()
	if n%5 == 2 { // a client that publishes, reads a little and closes
		if err := c.Write(ctx, websocket.MessageText, []byte("visitor")); err != nil {
			return err
		}
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
		return c.Close(websocket.StatusNormalClosure, "")
	}
	<-time.After(10 * time.Millisecond) // a client that reads nothing and disappears
	return nil
}

// drop reads an answer to its end.
func drop(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, resp.Body.Close())
}
