package detach_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/detach"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// conn is a connection of bytes, each of which is answered. A '!' makes Receive panic, a
// '?' End.
type conn struct {
	detach.Conn
	beats chan time.Time
	ended chan error // what End was called with
}

func (c *conn) Receive() error {
	for p := make([]byte, 1); ; {
		if _, err := c.Read(p, c.Leaving()); err != nil {
			return err
		}
		switch p[0] {
		case '!':
			panic("no")
		case '?':
			return errEnd
		}
		_ = c.Out.Control(p)
	}
}

// errEnd makes End panic.
var errEnd = errors.New("panic in End")

func (c *conn) End(err error) bool {
	if errors.Is(err, errEnd) {
		defer func() { c.ended <- err }()
		panic("no")
	}
	c.Session.End(hub.CauseLeft)
	c.ended <- err
	return c.Session.Ended() != hub.CauseLeft
}

func (c *conn) Beat() { c.beats <- time.Now() }

func (c *conn) Attrs() []any { return []any{"transport", "test"} }

// goodbye is a codec of a connection that is sent nothing except a goodbye.
type goodbye struct{}

func (goodbye) Append(b []byte, _ hub.Item) ([]byte, hub.Cause) { return b, 0 }

func (goodbye) Goodbye(b []byte, cause hub.Cause) []byte { return fmt.Appendf(b, "bye %v", cause) }

// serve starts a connection, and checks at the end of the test that it has left.
func serve(t *testing.T, nc net.Conn, p *netpoll.Poller, heartbeat time.Duration) *conn {
	t.Helper()
	h, err := hub.New(settings.Defaults(), hub.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	g := new(outbound.Group)
	c := &conn{beats: make(chan time.Time, 100), ended: make(chan error, 2)}
	c.Out, c.Heartbeat = outbound.New(g, "lobby", 0), heartbeat
	if c.Session, err = h.Connect(hub.Client{}, c.Out); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		g.Wait(ctx)
		p.Close()
		if n := len(c.ended); ctx.Err() != nil || g.Len() != 0 || n > 0 {
			t.Errorf("%d connections are left, %d ends that nobody expected, %v", g.Len(), n, ctx.Err())
		}
	})
	c.Start(nc, p, goodbye{}, c)
	return c
}

// sockets runs the test with a TCP connection that is parked, and with one that keeps
// a goroutine.
func sockets(t *testing.T, test func(t *testing.T, c *conn, peer net.Conn)) {
	for _, goroutines := range []bool{false, true} {
		t.Run(fmt.Sprint("goroutines ", goroutines), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			peer, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { peer.Close() })
			_ = peer.SetDeadline(time.Now().Add(patience))
			nc, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			test(t, serve(t, nc, &netpoll.Poller{Goroutines: goroutines}, 0), peer)
		})
	}
}

// echo sends bytes, and waits for each to come back before it sends the next.
func echo(t *testing.T, peer net.Conn, text string) {
	t.Helper()
	for i := range len(text) {
		got := make([]byte, 1)
		if _, err := io.WriteString(peer, text[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, got); err != nil || got[0] != text[i] {
			t.Fatalf("got %q, %v, want %q", got, err, text[i])
		}
	}
}

func TestPeerGoes(t *testing.T) {
	sockets(t, func(t *testing.T, c *conn, peer net.Conn) {
		echo(t, peer, "hello")
		peer.Close()
		if err := <-c.ended; !errors.Is(err, io.EOF) || c.Session.Ended() != hub.CauseLeft {
			t.Errorf("ended with %v, cause %v", err, c.Session.Ended())
		}
	})
}

// A session that the hub ends is concluded although its connection is parked.
func TestSessionEnds(t *testing.T) {
	sockets(t, func(t *testing.T, c *conn, peer net.Conn) {
		echo(t, peer, "hi")
		c.Session.End(hub.CauseDraining)
		got := make([]byte, len("bye draining"))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "bye draining" {
			t.Errorf("got %q, %v", got, err)
		}
		peer.Close()
		<-c.ended
	})
}

// A reader that panics ends one session, and its connection.
func TestReaderPanics(t *testing.T) {
	sockets(t, func(t *testing.T, c *conn, peer net.Conn) {
		echo(t, peer, "hi")
		if _, err := io.WriteString(peer, "!"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(peer)
		if err != nil || string(got) != "bye internal" {
			t.Errorf("got %q, %v", got, err)
		}
		peer.Close()
		if err := <-c.ended; err == nil || c.Session.Ended() != hub.CauseInternal {
			t.Errorf("ended with %v, cause %v", err, c.Session.Ended())
		}
	})
}

// So does an end that panics.
func TestEndPanics(t *testing.T) {
	sockets(t, func(t *testing.T, c *conn, peer net.Conn) {
		echo(t, peer, "hi")
		if _, err := io.WriteString(peer, "?"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadAll(peer) // until the connection is closed; it may be reset
		if err := <-c.ended; !errors.Is(err, errEnd) || c.Session.Ended() != hub.CauseInternal {
			t.Errorf("ended with %v, cause %v", err, c.Session.Ended())
		}
	})
}

// A peer that does not answer the goodbye is waited for only so long.
func TestPeerDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		defer near.Close()
		c := serve(t, far, new(netpoll.Poller), 0)
		synctest.Wait()
		began := time.Now()
		c.Session.End(hub.CauseDraining)
		if got, err := io.ReadAll(near); err != nil || string(got) != "bye draining" {
			t.Errorf("got %q, %v", got, err)
		}
		<-c.ended
		if d := time.Since(began); d != outbound.Farewell {
			t.Errorf("ended after %v", d)
		}
	})
}

// Beats come at intervals until the session ends.
func TestHeartbeat(t *testing.T) {
	const every = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		far, near := net.Pipe()
		defer near.Close()
		last, c := time.Now(), serve(t, far, new(netpoll.Poller), every)
		for range 20 {
			now := <-c.beats
			if d := now.Sub(last); d > every || d < every*9/10 {
				t.Errorf("a beat after %v", d)
			}
			last = now
		}
		near.Close()
		<-c.ended
		<-time.After(time.Hour)
		if n := len(c.beats); n > 0 {
			t.Errorf("%d beats after the end", n)
		}
	})
}
