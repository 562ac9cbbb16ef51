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

// Poller waits for any number of idle sockets in one goroutine. The zero value is
// ready for use; it must not be copied, and must be closed in the end.
//
// [Poller.Watch] adds a connection and returns its [Conn], or false if the
// connection cannot be parked: then its reader keeps a goroutine in Read. The first
// Watch starts the goroutine. [Poller.Close] ends it: stop all Conns before, since
// ready is not called any more. Methods are safe for concurrent use.
type Poller struct {
	// Goroutines makes Watch refuse everything, so that each connection keeps a
	// goroutine of its own. It must not be changed after the first Watch.
	Goroutines bool

	polls sync.WaitGroup // the goroutine in epoll_wait

	// Guarded by mu.
	mu     sync.RWMutex
	state  pollerState
	epoll  int
	wakeup int     // an eventfd that ends the goroutine
	last   uint32  // generation of the newest Conn
	conns  []*Conn // by file descriptor; nil: not watched
}

type pollerState uint8

const (
	unopened pollerState = iota
	running
	closed // by Close, or because the system has no epoll for us
)

// Watch adds a connection. ready is called when [Conn.Arm] has asked for it, each
// time in a goroutine of its own, which must recover from its panics; the caller
// must join it if something has to wait for its end.
//
// Watch returns false if the connection cannot be parked: the caller then keeps a
// goroutine in a blocking Read. *net.TCPConn, *net.UnixConn, and a *tls.Conn on one
// of these whose handshake is complete can be parked. Other wrappers cannot, even if
// they show their socket, since they may hold bytes in buffers. It also returns false
// if p is closed, if p.Goroutines is set, and if the system refuses.
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
	// Without events the system reports errors alone; happened ignores them before Arm.
	if c.fd, err = c.control(unix.EPOLL_CTL_ADD, 0); err != nil {
		return nil, false
	}
	if n := int(c.fd) + 1; n > len(p.conns) {
		p.conns = slices.Grow(p.conns, n-len(p.conns))[:n]
	}
	p.conns[c.fd] = c
	return c, true
}

// Close ends the goroutine and waits for it. It does not wait for calls of ready that
// have begun. Armed Conns are not called any more, so all should have been stopped.
// From now on Watch returns false.
func (p *Poller) Close() {
	p.mu.Lock()
	if p.state != running {
		p.state = closed
		p.mu.Unlock()
		p.polls.Wait() // for another Close that is under way
		return
	}
	p.state = closed // from now on only the goroutine uses the descriptors
	p.conns = nil
	p.mu.Unlock()
	// It fails only if the eventfd has been written before, which does as well.
	_, _ = unix.Write(p.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	p.polls.Wait()
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.wakeup)
}

// open makes the epoll, unless there is one, and starts the goroutine, which Close
// ends and joins. A failure is final. Called with mu held.
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
	// No Conn has generation 0, so poll ignores this event.
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

// poll passes events on to their Conns until the Poller is closed.
func (p *Poller) poll(epoll int) {
	var events [128]unix.EpollEvent
	var due [len(events)]*Conn
	for {
		n, err := unix.EpollWait(epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			// Something has closed our descriptor, which should never happen. Parked
			// connections get no more events and end with their heartbeat; later ones
			// get a goroutine.
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
			// A Conn that was removed meanwhile may still have events.
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

// remove forgets a Conn. If the connection has been closed the system has removed it
// already, and the file descriptor may be another's by now.
func (p *Poller) remove(c *Conn) {
	// The system call is made with a read lock only, so that the others can go on: a
	// thousand may end at once.
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
