package outbound_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// narrow is tcp with small buffers.
func narrow(t testing.TB) (far, near net.Conn) {
	t.Helper()
	far, near = tcp(t)
	if err := errors.Join(near.(*net.TCPConn).SetReadBuffer(64<<10), far.(*net.TCPConn).SetWriteBuffer(32<<10)); err != nil {
		t.Fatal(err)
	}
	return far, near
}

// secure returns both ends of a TLS connection over the ends of another.
func secure(t testing.TB, far, near net.Conn) (*tls.Conn, *tls.Conn) {
	t.Helper()
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	var shaking sync.WaitGroup
	shaking.Go(func() {
		if err := client.Handshake(); err != nil {
			t.Error(err)
		}
		// Messages after the handshake must not wait for a reader.
		_, _ = client.Read(nil)
	})
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	shaking.Wait()
	return server, client
}

// certificate is made once.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// ways are the sockets that a shard writes to in different ways.
func ways(t *testing.T, test func(t *testing.T, socket func() (far, near net.Conn))) {
	t.Run("tcp", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) { return narrow(t) })
	})
	t.Run("tls", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) {
			far, near := narrow(t)
			s, c := secure(t, far, near)
			return s, c
		})
	})
	t.Run("unix", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) {
			path := t.TempDir() + "/s"
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			near, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return far, near
		})
	})
	t.Run("pipe", func(t *testing.T) {
		test(t, func() (net.Conn, net.Conn) {
			far, near := net.Pipe()
			return far, near
		})
	})
}

// numbered reads lines that begin with a number, from first to last.
func numbered(r *bufio.Reader, first, last int) error {
	for want := first; want <= last; want++ {
		line, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("after %d: %w", want-1, err)
		}
		if got, _, _ := strings.Cut(strings.TrimSpace(line), " "); got != fmt.Sprint(want) {
			return fmt.Errorf("got %.20q, want %d", line, want)
		}
	}
	return nil
}

// Every client gets every message, once and in order, under all kinds of load.
func TestFanOut(t *testing.T) {
	ways(t, func(t *testing.T, socket func() (far, near net.Conn)) {
		h, g := newHub(t), new(outbound.Group)
		const members, messages = 40, 400
		var reading sync.WaitGroup
		var conns []*conn
		for range members {
			far, near := socket()
			c := start(t, h, g, plain, far, near)
			conns = append(conns, c)
			reading.Go(func() {
				if err := numbered(bufio.NewReader(near), 1, messages); err != nil {
					t.Error(err)
				}
			})
		}
		for n := range messages {
			publish(t, h, fmt.Sprint(n+1))
		}
		reading.Wait()
		for _, c := range conns {
			if sent, _ := c.session.Counts(); sent != messages {
				t.Errorf("%d sent", sent)
			}
		}
		if g.Waiting() != 0 {
			t.Errorf("%d bytes wait", g.Waiting())
		}
	})
}

// A peer that reads nothing for a while delays no other, and misses nothing.
func TestFullSocket(t *testing.T) {
	ways(t, func(t *testing.T, socket func() (far, near net.Conn)) {
		set := settings.Defaults()
		set.Rate, set.MaxPerAddress = limit.Unlimited, settings.Off
		set.History.Count = settings.Off
		h, g := newHubWith(t, set), new(outbound.Group)
		const messages = 1000
		var reading sync.WaitGroup
		var late []net.Conn
		for i := range 6 {
			far, near := socket()
			start(t, h, g, plain, far, near)
			if i < 2 {
				late = append(late, near)
				continue
			}
			reading.Go(func() {
				if err := numbered(bufio.NewReader(near), 1, messages); err != nil {
					t.Error(err)
				}
			})
		}
		padding := strings.Repeat("*", 2000)
		for n := range messages {
			publish(t, h, fmt.Sprint(n+1, " ", padding))
		}
		reading.Wait() // although two have read nothing
		for _, near := range late {
			reading.Go(func() {
				if err := numbered(bufio.NewReader(near), 1, messages); err != nil {
					t.Error("late:", err)
				}
			})
		}
		reading.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for g.Waiting() != 0 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		if n := g.Waiting(); n != 0 {
			t.Errorf("%d bytes wait", n)
		}
	})
}

// The data that waits for full sockets is bounded over all connections.
func TestMaxWaiting(t *testing.T) {
	h, g := newHub(t), &outbound.Group{MaxWaiting: 100_000}
	var conns []*conn
	for range 8 {
		far, near := narrow(t)
		conns = append(conns, start(t, h, g, plain, far, near))
	}
	line := strings.Repeat("*", 60<<10)
	slow := func() (n int) {
		for _, c := range conns {
			if c.session.Ended() == hub.CauseSlow {
				n++
			}
		}
		return n
	}
	for range 1000 {
		publish(t, h, line)
		if g.Waiting() > 100_000 {
			t.Fatalf("%d bytes wait", g.Waiting())
		}
		if slow() >= 5 {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Errorf("%d of 8 have ended, %d bytes wait", slow(), g.Waiting())
}

// A TLS peer that takes nothing costs the others a moment, once, and is ended.
func TestStalledTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		far, near := net.Pipe()
		secret, _ := secure(t, &greedy{Conn: far}, near)
		stalled := start(t, h, g, plain, secret, near)
		var others []*sink
		for range 20 {
			others = append(others, drain(open(t, h, g, plain).near))
		}
		took := after(func() {
			for i := range 100 {
				publish(t, h, fmt.Sprint(i))
				synctest.Wait()
			}
			<-time.After(20 * time.Millisecond)
			synctest.Wait()
		})
		for i, got := range others {
			if n := strings.Count(got.String(), "\n"); n != 100 {
				t.Errorf("%d has %d messages after %v", i, n, took)
			}
		}
		if took := after(func() { <-stalled.done }); took > outbound.Stall {
			t.Errorf("the stalled one ends after %v", took)
		}
		if cause := stalled.session.Ended(); cause != hub.CauseSlow {
			t.Errorf("ended by %v", cause)
		}
	})
}

// A room with many members does not keep one with few waiting.
func TestSmallRoomBesideLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		const large = 1000
		for range large {
			far, near := net.Pipe()
			drain(start(t, h, g, plain, &lazy{far}, near).near)
		}
		far, near := net.Pipe()
		c := newConnIn(t, h, g, "small", plain, &lazy{far}, near)
		defer func() {
			near.Close()
			<-c.done
		}()
		publish(t, h, "first")
		<-time.After(10 * time.Second) // from here on all stand together
		took := after(func() {
			publish(t, h, "to all")
			<-time.After(time.Millisecond) // it has begun
			if _, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "small", Data: []byte("to one")}); err != nil {
				t.Error(err)
			}
			c.expect(t, "to one")
		})
		if all := large * time.Millisecond / time.Duration(runtime.GOMAXPROCS(0)); took > all/2 {
			t.Errorf("the small room waits for %v, the large one takes %v", took, all)
		}
	})
}

// lazy takes a millisecond for a write.
type lazy struct{ net.Conn }

func (l *lazy) Write(p []byte) (int, error) {
	<-time.After(time.Millisecond)
	return l.Conn.Write(p)
}

// greedy makes writes wait, except those of a handshake, whose peer reads.
type greedy struct{ net.Conn }

func (g *greedy) CloseWrite() error { return os.ErrInvalid }

// TestChurn lets everybody do everything at once.
func TestChurn(t *testing.T) {
	ways(t, func(t *testing.T, socket func() (far, near net.Conn)) {
		set := settings.Defaults()
		set.Rate, set.MaxPerAddress = limit.Unlimited, settings.Off
		set.HistoryMemory = 256 << 10
		h, g := newHubWith(t, set), new(outbound.Group)
		ctx, cancel := context.WithTimeout(t.Context(), *churnTime)
		defer cancel()
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() { // publishes
				for n := 0; ctx.Err() == nil; n++ {
					_, err := h.Caller(hub.Client{}).Publish(ctx, hub.Publication{Room: room, Data: fmt.Appendf(nil, "%d %d", i, n), Signal: n%7 == 0})
					if err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					if n%50 == 0 {
						<-time.After(time.Millisecond)
					}
				}
			})
			all.Go(func() { // joins, reads for a while or not at all, and goes
				for n := 0; ctx.Err() == nil; n++ {
					far, near := socket()
					c := newConn(t, h, g, plain, far, near)
					var reading sync.WaitGroup
					if n%3 > 0 {
						reading.Go(func() { _, _ = io.CopyN(io.Discard, near, 50_000) })
					}
					if err := c.Control([]byte("control\n")); err != nil {
						t.Error(err)
					}
					if n%5 == 0 {
						reading.Go(func() { c.Conclude([]byte("last\n")) })
					}
					c.session.Notify([]byte("notice"))
					<-time.After(time.Duration(n%4) * time.Millisecond)
					switch n % 4 {
					case 0:
						c.session.End(hub.CauseDraining)
					case 1:
						c.session.Unsubscribe(room)
					}
					near.Close()
					<-c.done
					reading.Wait()
				}
			})
		}
		all.Wait()
		if g.Len() != 0 || g.Waiting() != 0 {
			t.Errorf("%d connections, %d bytes wait", g.Len(), g.Waiting())
		}
		g.Wait(t.Context())
	})
}
