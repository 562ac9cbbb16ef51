//go:build linux

package netpoll

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Poller waits for any number of sockets with one goroutine, which the first of
// them starts. The zero value is ready for use. Methods are safe for concurrent
// use. A Poller must not be copied, and it must be closed in the end.
type Poller struct {
	// Goroutines makes Watch refuse everything, so that every connection keeps
	// a goroutine of its own. It must not be changed after the first Watch.
	Goroutines bool

	polls sync.WaitGroup // the goroutine in epoll_wait

	mu     sync.RWMutex
	state  pollerState
	epoll  int
	wakeup int     // an eventfd that ends the goroutine
	last   uint32  // generation of the Conn that came last
	conns  []*Conn // by file descriptor; what is not watched is nil
}

type pollerState uint8

const (
	unopened pollerState = iota
	running
	closed // for good, or because there is no epoll to be had
)

// Watch takes a connection in, whose ready is called when [Conn.Arm] asked for
// it. Every call has a goroutine of its own, which the caller must join if
// somebody has to wait for it, and which must recover from its panics.
//
// It returns false for what can't be parked: the caller then keeps a goroutine
// in a blocking Read. Parked can be *net.TCPConn, *net.UnixConn, and a
// *tls.Conn on one of these whose handshake is complete. A wrapper can not, even
// if it shows its socket, since nobody knows what it keeps in buffers. It also
// returns false when p is closed, if p.Goroutines is set, and if the system
// refuses.
//
// [Conn.Stop] must be called before nc is closed.
func (p *Poller) Watch(nc net.Conn, ready func()) (*Conn, bool) {
	if p.Goroutines {
		return nil, false
	}
	c := &Conn{poller: p, nc: nc, ready: ready}
	socket := nc
	if t, ok := nc.(*tls.Conn); ok {
		if !t.ConnectionState().HandshakeComplete {
			return nil, false
		}
		c.tls, socket = true, t.NetConn()
	}
	switch socket.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nil, false
	}
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, false
	}
	c.raw = raw

	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open() {
		return nil, false
	}
	p.last++
	c.generation = p.last
	// Without events it says only errors, which nobody hears before Arm asks again.
	if c.fd, err = c.control(unix.EPOLL_CTL_ADD, 0); err != nil {
		return nil, false
	}
	if n := int(c.fd) + 1; n > len(p.conns) {
		p.conns = slices.Grow(p.conns, n-len(p.conns))[:n]
	}
	p.conns[c.fd] = c
	return c, true
}

// Close ends the goroutine and waits for it. A Conn that is armed is not called
// any more, so all of them should have been stopped; calls of ready that have
// begun are not waited for. Nothing can be watched any more.
func (p *Poller) Close() {
	p.mu.Lock()
	if p.state != running {
		p.state = closed
		p.mu.Unlock()
		p.polls.Wait() // for another Close that is under way
		return
	}
	p.state = closed // from now on nobody uses the descriptors but the goroutine
	p.conns = nil
	p.mu.Unlock()
	// It fails only if it has been written already, which is as good.
	_, _ = unix.Write(p.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	p.polls.Wait()
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wakeup)
}

// open makes the epoll and starts its goroutine, which Close ends and joins, if
// that has not been done yet. Called with mu held. Without success it is not
// tried again.
func (p *Poller) open() bool {
	if p.state != unopened {
		return p.state == running
	}
	p.state = closed
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return false
	}
	// Generation 0 is no Conn's, so this event is none's.
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakeup)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wakeup, &event); err != nil {
		_ = unix.Close(epoll)
		_ = unix.Close(wakeup)
		return false
	}
	p.state, p.epoll, p.wakeup = running, epoll, wakeup
	p.polls.Go(func() { p.poll(epoll) })
	return true
}

// poll calls what has become ready until the Poller is closed.
func (p *Poller) poll(epoll int) {
	var events [128]unix.EpollEvent
	var due [len(events)]*Conn
	for {
		n, err := unix.EpollWait(epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			// A descriptor that is ours is no more, which nobody should live to see.
			// What is parked is deaf then, and ends by its heartbeat; what comes
			// later gets a goroutine.
			p.mu.Lock()
			p.state = closed
			p.mu.Unlock()
			return
		}
		n = max(n, 0)
		p.mu.RLock()
		if p.state == closed {
			p.mu.RUnlock()
			return
		}
		for i, e := range events[:n] {
			// Of what was removed since, there may still be events.
			if fd := int(e.Fd); fd < len(p.conns) && p.conns[fd] != nil && p.conns[fd].generation == uint32(e.Pad) {
				due[i] = p.conns[fd]
			}
		}
		p.mu.RUnlock()
		for i, c := range due[:n] {
			if c != nil {
				c.happened()
				due[i] = nil
			}
		}
	}
}

// remove forgets a Conn. If its connection was closed before, the system has
// removed it, and its file descriptor may be another's by now.
func (p *Poller) remove(c *Conn) {
	// The call of the system is not made under the lock that all others need:
	// a thousand may end at once.
	p.mu.RLock()
	if p.state == running {
		_, _ = c.control(unix.EPOLL_CTL_DEL, 0)
	}
	p.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == running && p.conns[c.fd] == c {
		p.conns[c.fd] = nil
	}
}
