package outbound_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// sockets returns two ends of TCP on which little is under way, with TLS over it if
// it is to be secret.
func sockets(t *testing.T, secret bool) (far, near net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = near.(*net.TCPConn).SetReadBuffer(32 << 10)
	if secret {
		return secure(t, far, near)
	}
	return far, near
}

// Progress keeps a peer alive, however long a message takes as a whole; a peer that
// reads nothing is cut.
func TestProgressKeepsAPeer(t *testing.T) {
	defer outbound.Hurry(time.Second, 100*time.Millisecond)()
	for name, secret := range map[string]bool{"TCP": false, "TLS": true} {
		for _, wrapped := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				set := settings.Defaults()
				set.MaxMessageSize, set.Rate = 16<<20, limit.Unlimited
				h, g := newHubWith(t, set), new(outbound.Group)
				far, near := sockets(t, secret)
				if wrapped {
					far = struct{ net.Conn }{far}
				}
				c := start(t, h, g, plain, far, near)
				const size = 6 << 20
				publish(t, h, strings.Repeat("x", size))
				began, got, p := time.Now(), 0, make([]byte, 256<<10)
				slow := time.NewTicker(100 * time.Millisecond)
				defer slow.Stop()
				for got < size {
					<-slow.C
					n, err := io.ReadFull(near, p[:min(len(p), size-got)])
					if got += n; err != nil {
						t.Fatalf("after %d bytes and %v: %v (%v)", got, time.Since(began), err, c.session.Ended())
					}
				}
				if took := time.Since(began); took < 2*time.Second {
					t.Fatalf("it took %v, so nothing was tried", took)
				}
				publish(t, h, strings.Repeat("y", size)) // and the peer does not read
				<-c.done
				if cause := c.session.Ended(); cause != hub.CauseSlow {
					t.Errorf("ended by %v, want slow", cause)
				}
			})
		}
	}
}

// The system gives up a peer that has disappeared, also if its socket is wrapped.
func TestAbandonedBySystem(t *testing.T) {
	for _, secret := range []bool{false, true} {
		for heartbeat, want := range map[time.Duration]int{25 * time.Second: 75_000, time.Second: 30_000, 0: 90_000} {
			far, near := sockets(t, secret)
			t.Cleanup(func() {
				_ = far.Close()
				_ = near.Close()
			})
			outbound.Abandon(far, heartbeat)
			var plain syscall.Conn
			if s, ok := far.(*tls.Conn); ok {
				plain = s.NetConn().(*net.TCPConn)
			} else {
				plain = far.(*net.TCPConn)
			}
			raw, err := plain.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || got != want {
					t.Errorf("heartbeat %v: %d ms, %v, want %d", heartbeat, got, err, want)
				}
			})
		}
	}
}
