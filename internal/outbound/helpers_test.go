package outbound_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

const room = "lobby"

var churnTime = flag.Duration("churn.time", 500*time.Millisecond, "how long TestChurn runs, for each kind of socket")

// newHub returns a hub without rates that is closed at the end of the test.
func newHub(t testing.TB) *hub.Hub {
	t.Helper()
	set := settings.Defaults()
	set.Rate, set.MaxPerAddress = limit.Unlimited, settings.Off
	return newHubWith(t, set)
}

func newHubWith(t testing.TB, set *settings.Settings) *hub.Hub {
	t.Helper()
	h, err := hub.New(set, hub.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func publish(t testing.TB, h *hub.Hub, data string) {
	t.Helper()
	if _, err := h.Caller(hub.Client{}).Publish(context.Background(), hub.Publication{Room: room, Data: []byte(data)}); err != nil {
		t.Error(err)
	}
}

// lines is a codec of one line an item.
type lines struct {
	append  func(hub.Item) // called before an item is appended
	goodbye func()
}

func (l *lines) Append(b []byte, it hub.Item) ([]byte, hub.Cause) {
	if l.append != nil {
		l.append(it)
	}
	switch {
	case it.Message != nil:
		return append(append(b, it.Message.Data...), '\n'), 0
	case it.Notice != nil:
		return append(append(b, it.Notice...), '\n'), 0
	default:
		return append(b, "gap\n"...), 0
	}
}

func (l *lines) Goodbye(b []byte, cause hub.Cause) []byte {
	if l.goodbye != nil {
		l.goodbye()
	}
	return fmt.Appendf(b, "bye %v\n", cause)
}

// plain is the codec of most tests.
var plain = new(lines)

// deaf is a reader that always waits in Read.
type deaf struct{}

func (deaf) Wake() {}

// conn is a connection with a reader that does what a transport's reader does:
// it reads until it can't, and finishes.
type conn struct {
	*outbound.Conn
	session *hub.Session
	near    net.Conn      // the peer's end
	done    chan struct{} // closed when Finish has returned
}

// open joins the room through a pipe.
func open(t testing.TB, h *hub.Hub, g *outbound.Group, codec outbound.Codec) *conn {
	t.Helper()
	far, near := net.Pipe()
	return start(t, h, g, codec, far, near)
}

func start(t testing.TB, h *hub.Hub, g *outbound.Group, codec outbound.Codec, far, near net.Conn) *conn {
	t.Helper()
	c := newConn(t, h, g, codec, far, near)
	t.Cleanup(func() {
		near.Close()
		<-c.done
	})
	return c
}

// newConn is start for a test that closes near, and waits for done, itself.
func newConn(t testing.TB, h *hub.Hub, g *outbound.Group, codec outbound.Codec, far, near net.Conn) *conn {
	t.Helper()
	return newConnIn(t, h, g, room, codec, far, near)
}

func newConnIn(t testing.TB, h *hub.Hub, g *outbound.Group, room string, codec outbound.Codec, far, near net.Conn) *conn {
	t.Helper()
	c := &conn{Conn: outbound.New(g, room, h.SubscriberCount(room)), near: near, done: make(chan struct{})}
	var err error
	if c.session, err = h.Connect(hub.Client{}, c.Conn); err != nil {
		t.Fatal(err)
	}
	if _, err := c.session.Subscribe(t.Context(), room, hub.Start{}); err != nil {
		t.Fatal(err)
	}
	if l, ok := codec.(*scripted); ok {
		l.conn = c
	}
	c.Start(far, c.session, codec, deaf{})
	go func() {
		defer close(c.done)
		_, _ = io.Copy(io.Discard, far)
		linger := c.session.Ended() != 0
		c.session.End(hub.CauseGone)
		c.Finish(linger)
	}()
	return c
}

// scripted is a codec whose calls are answered by a test.
type scripted struct {
	lines
	conn *conn
}

// concludeMeanwhile calls Conclude, which waits for the writer, from within the writer.
func (c *conn) concludeMeanwhile(last []byte) {
	go c.Conclude(last) // returns when the writer has ended
	for !c.Concluding() {
		runtime.Gosched()
	}
}

// take reads n bytes.
func (c *conn) take(t testing.TB, n int) string {
	t.Helper()
	b := make([]byte, n)
	k, err := io.ReadFull(c.near, b)
	if err != nil {
		t.Errorf("after %q: %v", b[:k], err)
	}
	return string(b[:k])
}

// expect reads what is wanted.
func (c *conn) expect(t testing.TB, want ...string) {
	t.Helper()
	all := strings.Join(want, "\n") + "\n"
	if got := c.take(t, len(all)); got != all {
		t.Errorf("wrote %q, want %q", got, all)
	}
}

// sink reads all that comes and remembers it.
type sink struct {
	mu  sync.Mutex
	got strings.Builder
	end chan struct{}
}

func drain(r io.Reader) *sink {
	s := &sink{end: make(chan struct{})}
	go func() {
		defer close(s.end)
		_, _ = io.Copy(s, r)
	}()
	return s
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

// after runs f and returns how long it took.
func after(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
