package reload

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// drainTime is the option drain of these tests.
const drainTime = 3 * time.Second

// draining is the block of a site that is stopped.
const draining = "realtime {\n" + caddytest.Open + "drain 3s\n"

// crowd is clients on all transports of HTTP/1.1, in the lobby.
type crowd struct {
	t        *testing.T
	all      sync.WaitGroup
	began    time.Time
	answered atomic.Int32 // polls, with messages

	mu   sync.Mutex
	byes []time.Duration // after began
}

// begin begins to count the time.
func (c *crowd) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = time.Now()
}

// said notes that a client was told to go.
func (c *crowd) said() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byes = append(c.byes, time.Since(c.began))
}

// gather opens n clients of each kind. They check how they are sent away, and that they have been given
// the messages first.
func gather(t *testing.T, s *caddytest.Site, n int, messages ...string) *crowd {
	c := &crowd{t: t}
	for range n {
		raw, v1 := s.Dial("lobby"), s.Dial("lobby", caddytest.Session)
		c.all.Go(func() { c.socket(raw, messages, "") })
		c.all.Go(func() { c.socket(v1, messages, `"op":"bye","status":503`) })
		events, lines := s.Stream("lobby", "text/event-stream"), s.Stream("lobby", "application/x-ndjson")
		c.all.Go(func() { c.stream(events, messages, "retry: ") })
		c.all.Go(func() { c.stream(lines, messages, `{"op":"bye"`) })
		c.all.Go(func() { c.poll(s, messages) })
	}
	c.gathered(s, n)
	return c
}

// gathered waits until all are there, and pollers, who ask again after each answer, are back.
func (c *crowd) gathered(s *caddytest.Site, n int) {
	c.t.Helper()
	caddytest.Eventually(c.t, "everybody", func() bool {
		return s.Do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members") == fmt.Sprint(5*n)
	})
}

func (c *crowd) socket(conn *websocket.Conn, messages []string, bye string) {
	var heard []string
	for {
		_, b, err := conn.Read(c.t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				c.t.Errorf("a WebSocket closed with %v, want 1012", err)
			}
			break
		}
		heard = append(heard, string(b))
	}
	c.said()
	c.check("WebSocket", heard, messages, bye)
}

func (c *crowd) stream(l *caddytest.Lines, messages []string, bye string) {
	heard := l.Rest()
	c.said()
	c.check("stream", heard, messages, bye)
}

func (c *crowd) poll(s *caddytest.Site, messages []string) {
	cursor := s.Page("lobby").Cursor
	var heard []string
	for p := s.Page("lobby?wait=60&since=" + cursor); ; p = s.Page("lobby?wait=60&since=" + p.Cursor) {
		if heard = append(heard, p.Texts()...); len(p.Messages) == 0 {
			break
		}
		c.answered.Add(1)
	}
	c.said()
	c.check("poll", heard, messages, "")
}

// check checks that a client has heard the messages in order, and the goodbye after them.
func (c *crowd) check(who string, heard, messages []string, bye string) {
	if bye != "" {
		messages = append(slices.Clone(messages), bye)
	}
	all := strings.Join(heard, "\n")
	rest := all
	for _, m := range messages {
		var ok bool
		if _, rest, ok = strings.Cut(rest, m); !ok {
			c.t.Errorf("a %s heard %q, without %q in its place", who, all, m)
			return
		}
	}
}

// leave waits until all are gone, and checks that they were sent away within the time, and not together.
func (c *crowd) leave(within time.Duration) {
	c.t.Helper()
	c.all.Wait()
	slices.Sort(c.byes)
	if last := c.byes[len(c.byes)-1]; last > within {
		c.t.Errorf("the last client was sent away after %v, want %v", last, within)
	}
	if spread := c.byes[len(c.byes)-1] - c.byes[0]; spread < within/3 {
		c.t.Errorf("%d clients were sent away within %v, want them to be spread over %v", len(c.byes), spread, within)
	}
}

// slowBackend returns the address of a server whose answers come when release is called.
func slowBackend(t *testing.T) (address string, release func()) {
	t.Helper()
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
			_, _ = io.WriteString(w, "at last")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	once := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(once)
	return s.Listener.Addr().String(), once
}

// ask sends a request that the slow backend answers.
func ask(t *testing.T, s *caddytest.Site) <-chan string {
	t.Helper()
	answered := make(chan string, 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/slow", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		resp, err := caddytest.Client.Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answered <- string(b)
	}()
	return answered
}

func site(s *caddytest.Site, global, block string) string {
	return fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\n%s}\n%s {\n%s\n}\n", global, s.URL, block)
}

// TestStopBesideARequest: whatever another request does, clients are sent away at once, and nothing is
// acknowledged that they would not get.
func TestStopBesideARequest(t *testing.T) {
	s := caddytest.New(t)
	backend, release := slowBackend(t)
	p := caddytest.StartProgram(t, site(s, "", draining+"}\nreverse_proxy /slow "+backend), s)
	answered := ask(t, s)
	c := gather(t, s, 8, "last words")
	publisher := s.Dial("", caddytest.Session)
	caddytest.Hear(t, publisher, `"op":"ready"`)
	s.Post("lobby", "last words")
	caddytest.Eventually(t, "the pollers' answers", func() bool { return c.answered.Load() == 8 })
	c.gathered(s, 8)

	c.begin()
	p.Terminate()
	publishUntilRefused(t, publisher)
	publisher.CloseRead(t.Context()) // it answers its goodbye, as clients do
	c.leave(drainTime)
	p.Runs()
	release()
	if got := <-answered; got != "at last" {
		t.Errorf("the request was answered with %q", got)
	}
	p.Exits(2 * time.Second)
}

// publishUntilRefused publishes until the answer is 503, or the connection ends first.
func publishUntilRefused(t *testing.T, publisher *websocket.Conn) {
	t.Helper()
	for i := 0; ; i++ {
		caddytest.Speak(t, publisher, fmt.Sprintf(`{"op":"publish","room":"hall","data":%d,"ref":%d}`, i, i))
		_, answer, err := publisher.Read(t.Context())
		switch text := string(answer); {
		case websocket.CloseStatus(err) == websocket.StatusServiceRestart, strings.Contains(text, `"op":"bye"`):
			return
		case err != nil:
			t.Fatal(err)
		case strings.Contains(text, `"op":"ok"`):
		case strings.Contains(text, `"op":"error"`) && strings.Contains(text, `"status":503`) && strings.Contains(text, `"retry_ms":`):
			return
		default:
			t.Fatalf("a publication was answered with %s", text)
		}
	}
}

// TestStopWithGracePeriod: clients get their time although Caddy waits for less.
func TestStopWithGracePeriod(t *testing.T) {
	s := caddytest.New(t)
	backend, _ := slowBackend(t)
	p := caddytest.StartProgram(t, site(s, "grace_period 100ms\n", draining+"}\nreverse_proxy /slow "+backend), s)
	ask(t, s)
	c := gather(t, s, 8)
	c.begin()
	p.Terminate()
	c.leave(drainTime)
	p.Exits(drainTime + 2*time.Second - time.Since(c.began))
}

// TestStopOfAStreamThroughItself: a site that proxies a stream of another site of the same Caddy does
// not keep it from ending.
func TestStopOfAStreamThroughItself(t *testing.T) {
	s, front := caddytest.New(t), caddytest.New(t)
	p := caddytest.StartProgram(t, site(s, "", draining+"}")+fmt.Sprintf("%s {\nreverse_proxy %s\n}\n", front.URL, strings.TrimPrefix(s.URL, "http://")), s, front)
	c := gather(t, front, 8)
	c.begin()
	p.Terminate()
	c.leave(drainTime)
	p.Exits(drainTime + 2*time.Second - time.Since(c.began))
}

// TestStopBesideAnAdminStream: the stream of the admin API shows the drain, and ends with it, also
// through a site of the same Caddy.
func TestStopBesideAnAdminStream(t *testing.T) {
	s, admin := caddytest.New(t), caddytest.FreePort(t)
	block := fmt.Sprintf("%s}\nreverse_proxy /realtime/* 127.0.0.1:%d {\nheader_up Host 127.0.0.1:%[2]d\n}", draining, admin)
	p := caddytest.StartProgram(t, strings.Replace(site(s, "", block), "admin off", fmt.Sprintf("admin 127.0.0.1:%d", admin), 1), s)
	var all sync.WaitGroup
	for _, url := range []string{fmt.Sprintf("http://127.0.0.1:%d", admin), s.URL} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/realtime/hubs", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/x-ndjson")
		resp, err := caddytest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := caddytest.NewLines(t, resp)
		if got := lines.Next(); !strings.Contains(got, `"hub":"","state":"serving"`) {
			t.Errorf("the stream begins with %s", got)
		}
		all.Go(func() {
			rest := lines.Rest()
			if n := len(rest); n < 2 || !strings.Contains(rest[n-1], `"state":"draining","connections":0`) {
				t.Errorf("the stream ends with %q", rest)
			}
		})
	}
	c := gather(t, s, 8)
	c.begin()
	p.Terminate()
	c.leave(drainTime)
	p.Exits(drainTime + 2*time.Second - time.Since(c.began))
	all.Wait()
}

// TestStopInTheMiddleOfAReload: the first end of a configuration after the signal sends everybody away.
func TestStopInTheMiddleOfAReload(t *testing.T) {
	for _, delay := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			s, admin := caddytest.New(t), caddytest.FreePort(t)
			backend, release := slowBackend(t)
			config := func(rooms int) string {
				block := fmt.Sprintf("%smax_rooms %d\n}\nreverse_proxy /slow %s", draining, rooms, backend)
				return strings.Replace(site(s, "", block), "admin off", fmt.Sprintf("admin 127.0.0.1:%d", admin), 1)
			}
			p := caddytest.StartProgram(t, config(100), s)
			answered := ask(t, s)
			conn, events := s.Dial("lobby"), s.Stream("lobby", "text/event-stream")
			events.Until("id: ")
			reloaded := p.Reload(fmt.Sprintf("127.0.0.1:%d", admin), config(101))
			<-time.After(delay) // it is not said when the reload is in its middle
			begin := time.Now()
			p.Terminate()
			ctx, cancel := context.WithTimeout(t.Context(), drainTime)
			defer cancel()
			if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				t.Errorf("the WebSocket closed with %v, want 1012", err)
			}
			if rest := events.Rest(); len(rest) < 2 || !strings.HasPrefix(rest[len(rest)-2], "retry: ") {
				t.Errorf("the stream ends with %q, want retry", rest)
			}
			if took := time.Since(begin); took > drainTime {
				t.Errorf("the clients were sent away after %v", took)
			}
			release()
			<-answered
			p.Exits(2 * time.Second)
			<-reloaded
		})
	}
}

// TestStopAtOnce: with drain off nobody waits for a slot, and everybody is told all the same.
func TestStopAtOnce(t *testing.T) {
	s := caddytest.New(t)
	p := caddytest.StartProgram(t, site(s, "", strings.Replace(draining, "3s", "off", 1)+"}"), s)
	c := gather(t, s, 8)
	c.begin()
	p.Terminate()
	c.all.Wait()
	if last := slices.Max(c.byes); last > time.Second {
		t.Errorf("the last client was told after %v", last)
	}
	p.Exits(2 * time.Second)
}

// TestStopWritesWhatIsDue: a client that reads slowly gets all that was published before its goodbye, as far
// as it reads in time.
func TestStopWritesWhatIsDue(t *testing.T) {
	const messages, size = 90, 65_000 // more than the buffers of a socket
	s := caddytest.New(t)
	p := caddytest.StartProgram(t, site(s, "", draining+"}"), s)
	slow := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = nc.(*net.TCPConn).SetReadBuffer(128 << 10)
		}
		return nc, err
	}}}
	dial := func(query string) *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby"+query, &websocket.DialOptions{HTTPClient: slow})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		c.SetReadLimit(-1)
		return c
	}
	conn := dial("")
	dial("?envelope=1")
	for i := range messages {
		s.Post("lobby", fmt.Sprint(i, " ", strings.Repeat("x", size)))
	}
	p.Terminate()
	// It begins to read when everybody else would have gone.
	caddytest.Eventually(t, "the end of serving", func() bool {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	for i := range messages {
		if got := caddytest.Receive(t, conn); !strings.HasPrefix(got, fmt.Sprint(i, " x")) || len(got) < size {
			t.Fatalf("message %d is %.20q", i, got)
		}
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("the WebSocket closed with %v, want 1012", err)
	}
	p.Exits(3*time.Second + 2*time.Second) // though one reads nothing at all
}
