//go:build linux

package netpoll_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-realtime/realtime/internal/netpoll"
)

func TestPlain(t *testing.T) {
	server, client := pipe(t)
	s, calls := watch(t, server)
	idle(t, s)
	for range 3 {
		s.Arm()
		quiet(t, calls)
		write(t, client, "hello")
		called(t, calls)
		read(t, s, "hello")
		idle(t, s)
	}
	// Bytes that came before Arm count, too.
	write(t, client, "early")
	s.Arm()
	called(t, calls)
	read(t, s, "early")
	quiet(t, calls)

	s.Arm()
	client.Close()
	called(t, calls)
	if n, err := s.TryRead(make([]byte, 10)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := s.TryRead(nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
}

func TestUnix(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s, calls := watch(t, server)
	idle(t, s)
	s.Arm()
	write(t, client, "x")
	called(t, calls)
	read(t, s, "x")
	s.Stop()
}

// A reset is an error of the network, as net.Conn's own.
func TestReset(t *testing.T) {
	server, client := pipe(t)
	s, calls := watch(t, server)
	idle(t, s)
	s.Arm()
	_ = client.(*net.TCPConn).SetLinger(0)
	client.Close()
	called(t, calls)
	_, err := s.TryRead(make([]byte, 10))
	var netErr net.Error
	if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &netErr) {
		t.Errorf("got %v", err)
	}
}

// A half-closed connection has ended as far as reading goes.
func TestHalfClosed(t *testing.T) {
	server, client := pipe(t)
	s, calls := watch(t, server)
	idle(t, s)
	s.Arm()
	_ = client.(*net.TCPConn).CloseWrite()
	called(t, calls)
	if _, err := s.TryRead(make([]byte, 10)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestDeadline(t *testing.T) {
	server, _ := pipe(t)
	s, _ := watch(t, server)
	_ = server.SetReadDeadline(past)
	if _, err := s.TryRead(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestNotParkable(t *testing.T) {
	poller := new(netpoll.Poller)
	defer poller.Close()
	refused := func(name string, poller *netpoll.Poller, nc net.Conn) {
		t.Helper()
		if s, ok := poller.Watch(nc, func() {}); ok || s != nil {
			t.Errorf("%s: parked", name)
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	refused("net.Pipe", poller, a)
	refused("TLS without a handshake", poller, tls.Server(a, &tls.Config{Certificates: []tls.Certificate{certificate()}}))

	server, client := pipe(t)
	refused("wrapper", poller, &tap{Conn: server})
	refused("wrapper that shows its socket", poller, struct{ *net.TCPConn }{server.(*net.TCPConn)})
	refused("operator's wish", &netpoll.Poller{Goroutines: true}, server)
	_, secure, _ := securePipe(t, tls.VersionTLS13)
	refused("TLS over a wrapper", poller, secure)

	s, ok := poller.Watch(server, func() {})
	if !ok {
		t.Fatal("a TCP connection is refused")
	}
	refused("watched already", poller, server)
	s.Stop()
	if s, ok = poller.Watch(server, func() {}); !ok {
		t.Fatal("refused after Stop")
	}
	s.Stop()
	client.Close()
	refused("closed", poller, client)
	over := new(netpoll.Poller)
	over.Close()
	refused("closed Poller", over, server)
	over.Close()
}

func TestFire(t *testing.T) {
	server, client := pipe(t)
	s, calls := watch(t, server)
	s.Arm()
	s.Interrupt()
	called(t, calls)
	idle(t, s)
	quiet(t, calls)

	s.Interrupt()
	s.Interrupt()
	quiet(t, calls)
	s.Arm()
	called(t, calls)
	idle(t, s)
	s.Arm()
	quiet(t, calls) // both were one
	write(t, client, "x")
	called(t, calls)
	read(t, s, "x")

	s.Stop()
	s.Interrupt()
	s.Arm()
	quiet(t, calls)
}

func TestStop(t *testing.T) {
	server, client := pipe(t)
	s, _ := watch(t, server)
	if s.Stop() {
		t.Error("Stop undid what was not armed")
	}
	s, calls := watch(t, server)
	s.Arm()
	if !s.Stop() {
		t.Error("Stop did not undo")
	}
	if s.Stop() {
		t.Error("Stop twice")
	}
	write(t, client, "x")
	quiet(t, calls)
	read(t, s, "x") // it can be read as before
}

// A connection that was closed first, against the rules, and left its number to
// another one, does the other no harm.
func TestClosedBeforeStop(t *testing.T) {
	poller := new(netpoll.Poller)
	defer poller.Close()
	for range 100 {
		server, client := pipe(t)
		s, calls := watchIn(t, poller, server)
		s.Arm()
		server.Close()
		if _, err := s.TryRead(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("reads %v", err)
		}
		other, peer := pipe(t)
		s2, calls2 := watchIn(t, poller, other)
		idle(t, s2)
		s2.Arm()
		s.Stop()
		write(t, peer, "x")
		called(t, calls2)
		read(t, s2, "x")
		select {
		case <-calls:
			t.Fatal("the closed one was called")
		default:
		}
		s2.Stop()
		for _, nc := range []net.Conn{client, other, peer} {
			nc.Close()
		}
	}
}

// If the connection was closed before Arm, ready is called.
func TestArmClosed(t *testing.T) {
	server, _ := pipe(t)
	s, calls := watch(t, server)
	server.Close()
	s.Arm()
	called(t, calls)
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	poller := new(netpoll.Poller)
	server, client := pipe(t)
	s, calls := watchIn(t, poller, server)
	s.Arm()
	poller.Close()
	poller.Close()
	// A goroutine that is joined may still execute its last instructions.
	deadline := time.Now().Add(30 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
		<-time.After(time.Millisecond)
	}
	write(t, client, "x")
	quiet(t, calls)
	s.Interrupt()
	called(t, calls)
	s.Arm()
	quiet(t, calls)
	s.Stop()
}

// A thousand parked connections have one goroutine.
func TestThousand(t *testing.T) {
	poller := new(netpoll.Poller)
	defer poller.Close()
	before := runtime.NumGoroutine()
	calls := make(chan int, 1000)
	var conns []*netpoll.Conn
	var clients []net.Conn
	for i := range 1000 {
		server, client := pipe(t)
		s, ok := poller.Watch(server, func() { calls <- i })
		if !ok {
			t.Fatal("refused")
		}
		defer s.Stop()
		idle(t, s)
		s.Arm()
		conns, clients = append(conns, s), append(clients, client)
	}
	if n := runtime.NumGoroutine() - before; n > 1 {
		t.Errorf("%d goroutines, want 1", n)
	}
	for _, c := range clients {
		write(t, c, "x")
	}
	for range conns {
		read(t, conns[<-calls], "x")
	}
	for i := 999; i >= 0; i -= 111 {
		conns[i].Arm()
		write(t, clients[i], "y")
		if got := <-calls; got != i {
			t.Fatalf("%d is called, want %d", got, i)
		}
		read(t, conns[i], "y")
	}
}

func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(netpoll.Conn{}); n > 96 {
		t.Errorf("%d bytes", n)
	}
}

// Reading and parking an idle connection allocates nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	server, client := pipe(t)
	s, calls := watch(t, server)
	p := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.TryRead(p); !errors.Is(err, netpoll.ErrIdle) {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("an idle read: %v allocations", n)
	}
	one := []byte("x")
	if n := testing.AllocsPerRun(100, func() {
		s.Arm()
		_, _ = client.Write(one)
		<-calls
		_, _ = s.TryRead(p)
	}); n > 1 { // of the goroutine
		t.Errorf("a wake-up: %v allocations", n)
	}
}
