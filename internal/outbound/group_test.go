package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

func TestGroupWait(t *testing.T) {
	t.Run("nobody", func(t *testing.T) {
		var g outbound.Group
		g.Wait(t.Context())
	})
	t.Run("until all have gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, g := newHub(t), new(outbound.Group)
			a, b := open(t, h, g, plain), open(t, h, g, plain)
			if n := g.Len(); n != 2 {
				t.Errorf("%d connections", n)
			}
			var waits sync.WaitGroup
			for range 2 { // several may wait
				waits.Go(func() { g.Wait(t.Context()) })
			}
			took := after(func() {
				<-time.After(time.Hour)
				a.near.Close()
				<-time.After(time.Hour)
				b.near.Close()
				waits.Wait()
			})
			if took != 2*time.Hour || g.Len() != 0 {
				t.Errorf("%d connections after %v", g.Len(), took)
			}
		})
	})
	t.Run("again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h, g := newHub(t), new(outbound.Group)
			for range 2 {
				c := open(t, h, g, plain)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				g.Wait(ctx)
				<-c.done
			}
		})
	})
}

// Whoever has not gone in time is cut.
func TestGroupCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		idle, stalled := open(t, h, g, plain), open(t, h, g, plain)
		got := drain(idle.near)
		publish(t, h, "m")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if took := after(func() { g.Wait(ctx) }); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		for _, c := range []*conn{idle, stalled} {
			<-c.done
			if cause := c.session.Ended(); cause != hub.CauseGone {
				t.Errorf("cause %v", cause)
			}
		}
		if got.String() != "m\n" {
			t.Errorf("wrote %q", got)
		}
	})
}

// Wakes from everywhere, while the writer comes and goes, lose and repeat
// nothing.
func TestStorm(t *testing.T) {
	const publishers, each, readers = 8, 200, 4
	h, g := newHub(t), new(outbound.Group)
	var conns []*conn
	var sinks []*sink
	for range readers {
		far, near := tcp(t)
		c := start(t, h, g, plain, far, near)
		conns, sinks = append(conns, c), append(sinks, drain(near))
	}
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				publish(t, h, fmt.Sprintf("%d %d", p, i))
			}
		})
	}
	for _, c := range conns {
		all.Go(func() {
			for range each {
				c.Wake()
				if err := c.Control([]byte("control\n")); err != nil && !errors.Is(err, outbound.ErrControl) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	publish(t, h, "last")
	for i, c := range conns {
		deadline := time.Now().Add(30 * time.Second)
		for !strings.HasSuffix(sinks[i].String(), "last\n") && time.Now().Before(deadline) {
			<-time.After(time.Millisecond)
		}
		c.session.End(hub.CauseLeft)
		c.near.(*net.TCPConn).CloseWrite()
		<-sinks[i].end
		wantEach(t, sinks[i].String(), publishers, each)
	}
}

// wantEach checks that a client was sent all numbered messages of each publisher, in
// order.
func wantEach(t *testing.T, sent string, publishers, each int) {
	t.Helper()
	next := make([]int, publishers)
	told := strings.Split(strings.TrimSpace(sent), "\n")
	if !slices.Contains(told[max(len(told)-2, 0):], "bye left") {
		t.Errorf("ends with %q", told[max(len(told)-2, 0):])
	}
	for _, line := range told {
		var p, n int
		if _, err := fmt.Sscanf(line, "%d %d", &p, &n); err != nil {
			if line != "control" && line != "last" && line != "bye left" {
				t.Fatalf("line %q", line)
			}
			continue
		}
		if n != next[p] {
			t.Fatalf("message %d of publisher %d, want %d", n, p, next[p])
		}
		next[p]++
	}
	for p, n := range next {
		if n != each {
			t.Errorf("%d messages of publisher %d", n, p)
		}
	}
}

// tcp returns both ends of a connection over loopback.
func tcp(t testing.TB) (far, near net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return far, near
}

// BenchmarkFanOut publishes to a thousand connections over loopback, one
// message at a time, and waits until all have it.
func BenchmarkFanOut(b *testing.B) {
	const conns = 1000
	h, g := newHub(b), new(outbound.Group)
	message := strings.Repeat("*", 128)
	var got atomic.Int64
	all := make(chan struct{}, 1)
	var readers sync.WaitGroup
	for range conns {
		far, near := tcp(b)
		c := outbound.New(g, room, h.SubscriberCount(room))
		s, err := h.Connect(hub.Client{}, c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Subscribe(b.Context(), room, hub.Start{}); err != nil {
			b.Fatal(err)
		}
		c.Start(far, s, plain, deaf{})
		b.Cleanup(func() {
			s.End(hub.CauseLeft)
			c.Finish(false)
		})
		readers.Go(func() {
			defer near.Close()
			for buf := make([]byte, 4<<10); ; {
				n, err := near.Read(buf)
				if err != nil {
					return
				}
				// Each waits for the message before the next is published.
				if got.Add(int64(n)) == conns*int64(len(message)+1) {
					all <- struct{}{}
				}
			}
		})
	}
	b.Cleanup(func() { got.Store(0) })
	b.ReportAllocs()
	for b.Loop() {
		got.Store(0)
		publish(b, h, message)
		<-all
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*conns), "ns/delivery")
}
