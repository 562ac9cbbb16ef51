//go:build linux

package netpoll_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/internal/netpoll"
)

// echo is a server's end that answers what comes, parked whenever it can be.
type echo struct {
	nc     net.Conn
	conn   *netpoll.Conn
	done   chan error // the end
	inside atomic.Int32
	calls  int // for the race detector: there is one owner at a time
}

func (e *echo) ready() {
	if e.inside.Add(1) != 1 {
		panic("two owners")
	}
	e.calls++
	var p [7]byte
	for {
		n, err := e.conn.TryRead(p[:])
		if errors.Is(err, netpoll.ErrIdle) {
			e.inside.Add(-1)
			e.conn.Arm()
			return
		}
		if err == nil {
			_, err = e.nc.Write(p[:n])
		}
		if err != nil {
			e.conn.Stop()
			e.nc.Close()
			e.done <- err
			return
		}
	}
}

func parkEcho(t *testing.T, poller *netpoll.Poller, nc net.Conn) *echo {
	t.Helper()
	e := &echo{nc: nc, done: make(chan error, 1)}
	var ok bool
	if e.conn, ok = poller.Watch(nc, e.ready); !ok {
		t.Fatal("refused")
	}
	e.conn.Arm() // bytes that are there already wake it
	return e
}

// No wake-up is lost, however many there are, and there is one owner at a time
// although somebody fires all the time.
func TestPingPong(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			poller := new(netpoll.Poller)
			defer poller.Close()
			rounds := 150
			if testing.Short() {
				rounds = 50
			}
			var echoes []*echo
			var pings sync.WaitGroup
			for i := range 40 {
				var server, client net.Conn
				if secure {
					server, client, _ = securePipe(t, tls.VersionTLS13)
				} else {
					server, client = pipe(t)
				}
				e := parkEcho(t, poller, server)
				echoes = append(echoes, e)
				pings.Go(func() {
					p := make([]byte, 16)
					_ = client.SetDeadline(time.Now().Add(2 * patience))
					for n := range rounds {
						sent := fmt.Sprintf("%02d %012d", i, n)[:1+n%15]
						if _, err := io.WriteString(client, sent); err != nil {
							t.Error(err)
							return
						}
						if i%4 == 0 {
							e.conn.Interrupt()
						}
						if _, err := io.ReadFull(client, p[:len(sent)]); err != nil || string(p[:len(sent)]) != sent {
							t.Errorf("connection %d, round %d: %q, %v", i, n, p[:len(sent)], err)
							return
						}
					}
					client.Close()
				})
			}
			pings.Wait()
			for _, e := range echoes {
				select {
				case err := <-e.done:
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
				case <-time.After(patience):
					t.Fatal("the end is not seen")
				}
			}
		})
	}
}

// Connections are stopped while their events come, and others get their file
// descriptors at once: none hears of another's events, and none is called after
// a Stop that undid its Arm.
func TestStopRaces(t *testing.T) {
	poller := new(netpoll.Poller)
	defer poller.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := range rounds {
				if err := stopRace(poller, ln, n%3 == 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// stopRace stops a connection while its event comes, after an interrupt or not.
func stopRace(poller *netpoll.Poller, ln net.Listener, interrupt bool) error {
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	server, err := ln.Accept() // of any worker
	if err != nil {
		return err
	}
	calls := make(chan struct{}, 1)
	s, ok := poller.Watch(server, func() { calls <- struct{}{} })
	if !ok {
		return errors.New("refused")
	}
	s.Arm()
	var both sync.WaitGroup
	undone := false
	both.Go(func() { _, _ = client.Write([]byte("x")) })
	both.Go(func() {
		if interrupt {
			s.Interrupt()
		}
		undone = s.Stop()
	})
	both.Wait()
	server.Close()
	client.Close()
	if !undone {
		select {
		case <-calls:
		case <-time.After(patience):
			return errors.New("neither stopped nor called")
		}
	}
	select {
	case <-calls:
		return errors.New("called after Stop, or twice")
	default:
		return nil
	}
}
