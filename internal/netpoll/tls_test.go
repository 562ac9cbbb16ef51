//go:build linux

package netpoll_test

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/internal/netpoll"
)

var past = time.Unix(1, 0)

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func TestTLS(t *testing.T) {
	for name, v := range versions {
		t.Run(name, func(t *testing.T) {
			server, client, _ := securePipe(t, v)
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
			// TryRead leaves no deadline, and a blocking read may come between.
			write(t, client, "blocking")
			p := make([]byte, 100)
			if n, err := server.Read(p); err != nil || string(p[:n]) != "blocking" {
				t.Fatalf("reads %q, %v", p[:n], err)
			}
			idle(t, s)
			s.Arm()
			client.Close()
			called(t, calls)
			if _, err := s.TryRead(p); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// Bytes that are decrypted but did not fit are read without another event.
func TestTLSBuffered(t *testing.T) {
	server, client, below := securePipe(t, tls.VersionTLS13)
	s, calls := watch(t, server)
	idle(t, s)
	s.Arm()
	below.hold = true
	write(t, client, "abc")
	write(t, client, "def")
	if _, err := below.Conn.Write(below.take()); err != nil {
		t.Fatal(err)
	}
	called(t, calls)
	for _, want := range "abcdef" {
		p := make([]byte, 1)
		if n, err := s.TryRead(p); n != 1 || err != nil || rune(p[0]) != want {
			t.Fatalf("reads %q, %v, want %q", p[:n], err, want)
		}
	}
	idle(t, s)
}

// Records that come in halves: what is whole is read, the half is waited for,
// and Interrupt ends the waiting without harm.
func TestTLSHalves(t *testing.T) {
	for name, v := range versions {
		t.Run(name, func(t *testing.T) {
			server, client, below := securePipe(t, v)
			s, calls := watch(t, server)
			below.hold = true
			write(t, client, "one")
			write(t, client, "two")
			two := below.take()
			write(t, client, "three")
			three := below.take()
			for cut := 1; cut < len(three); cut++ {
				idle(t, s)
				s.Arm()
				if _, err := below.Conn.Write(append(two, three[:cut]...)); err != nil {
					t.Fatal(err)
				}
				called(t, calls)
				read(t, s, "one")
				read(t, s, "two")
				idle(t, s) // at once: the half was seen with the rest
				s.Arm()
				if cut%2 == 0 {
					s.Interrupt()
					called(t, calls)
					idle(t, s)
					s.Arm()
				}
				if _, err := below.Conn.Write(three[cut:]); err != nil {
					t.Fatal(err)
				}
				called(t, calls)
				read(t, s, "three")

				write(t, client, "one")
				write(t, client, "two")
				two = below.take()
				write(t, client, "three")
				three = below.take()
			}
		})
	}
}

// A record that comes byte by byte is waited for.
func TestTLSByteByByte(t *testing.T) {
	server, client, below := securePipe(t, tls.VersionTLS13)
	s, calls := watch(t, server)
	idle(t, s)
	s.Arm()
	below.hold = true
	write(t, client, "slowly")
	record := below.take()
	if _, err := below.Conn.Write(record[:1]); err != nil {
		t.Fatal(err)
	}
	called(t, calls)
	wrote := make(chan error, 1)
	go func() {
		for _, b := range record[1:] {
			if _, err := below.Conn.Write([]byte{b}); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	read(t, s, "slowly")
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

// Interrupt ends TryRead's waiting for the rest of a record, which is not lost.
func TestTLSFireWhileWaiting(t *testing.T) {
	server, client, below := securePipe(t, tls.VersionTLS13)
	s, calls := watch(t, server)
	below.hold = true
	for range 20 {
		idle(t, s)
		s.Arm()
		write(t, client, "halved")
		record := below.take()
		if _, err := below.Conn.Write(record[:7]); err != nil {
			t.Fatal(err)
		}
		called(t, calls)
		began := time.Now()
		result := make(chan error, 1)
		go func() {
			_, err := s.TryRead(make([]byte, 100))
			result <- err
		}()
		s.Interrupt()
		if err := <-result; !errors.Is(err, netpoll.ErrIdle) {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Fatalf("took %v", took)
		}
		s.Arm()
		called(t, calls) // for Interrupt
		idle(t, s)
		s.Arm()
		if _, err := below.Conn.Write(record[7:]); err != nil {
			t.Fatal(err)
		}
		called(t, calls)
		read(t, s, "halved")
	}
}

// A broken record ends the connection with its error, again and again.
func TestTLSBroken(t *testing.T) {
	server, _, below := securePipe(t, tls.VersionTLS13)
	s, calls := watch(t, server)
	s.Arm()
	write(t, below.Conn, "this is no record")
	called(t, calls)
	for range 2 {
		if _, err := s.TryRead(make([]byte, 100)); err == nil || errors.Is(err, netpoll.ErrIdle) {
			t.Errorf("got %v", err)
		}
	}
}
