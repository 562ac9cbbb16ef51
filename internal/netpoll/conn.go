//go:build linux

package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is one connection's place in a [Poller]; [Poller.Watch] makes it. TryRead and
// Arm are for the connection's owner, see the package's comment; Interrupt and Stop
// may be called by anybody at any time.
type Conn struct {
	poller     *Poller
	nc         net.Conn
	raw        syscall.RawConn
	ready      func()
	fd         int32  // its place in the Poller's table; for anything else raw is used
	generation uint32 // tells it from others that had its file descriptor

	tls bool

	mu          sync.Mutex // held whenever the state changes: it orders the calls of ready
	state       state
	interrupted bool // Interrupt was called and no ready since
	fresh       bool // the system said that there is something, and nothing was read since
	waiting     bool // TryRead waits for a TLS record

	drained bool // the last read took all there was; the owner's
}

type state uint8

const (
	owned    state = iota // by whoever called Watch, or by a call of ready
	armed                 // ready is called when something happens
	starting              // the goroutine that calls ready is on its way
	stopped
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Arm has ready called once, as soon as there is something to read, the
// connection has ended or failed, or Interrupt was called since ready was called
// last. TryRead must have returned [ErrIdle] just before: bytes that wait within
// a TLS connection are not seen. The caller hands the connection over with it
// and may not touch it any more. Of a Conn that is stopped it does nothing.
func (c *Conn) Arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != owned {
		return
	}
	c.state = armed
	if c.interrupted {
		c.start()
		return
	}
	if err := c.rearm(); err != nil {
		c.start() // let the owner read what is wrong
	}
}

// rearm asks the system for the next event. It answers for what has come before,
// too. Called with mu held.
func (c *Conn) rearm() error {
	c.poller.mu.RLock()
	defer c.poller.mu.RUnlock()
	if c.poller.state != running {
		return nil // nobody is called any more
	}
	_, err := c.control(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLRDHUP)
	return err
}

// Interrupt has ready called although there is nothing to read: at once if the Conn
// is armed, otherwise when Arm is called next. It also cuts short what TryRead
// waits for. It doesn't block.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.waiting {
		_ = c.nc.SetReadDeadline(past)
	}
	if c.state == armed {
		c.start()
	}
}

// Stop takes the connection out of its Poller. No call of ready begins afterwards.
// It must be called before the connection is closed. A second Stop does nothing.
//
// It reports whether it undid an Arm, as [time.Timer.Stop] does: if so, the
// caller owns the connection now; otherwise an owner is at work, or has stopped
// it.
func (c *Conn) Stop() bool {
	c.mu.Lock()
	was := c.state
	c.state = stopped
	c.mu.Unlock()
	if was != stopped {
		c.poller.remove(c)
	}
	return was == armed || was == starting
}

// happened is told by the Poller that there is something to read, or the end.
func (c *Conn) happened() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == armed {
		c.fresh = true
		c.start()
	}
}

// start calls ready on a goroutine of its own, which whoever gave ready knows to
// end and to join. Called with mu held.
func (c *Conn) start() {
	c.state = starting
	go c.call()
}

func (c *Conn) call() {
	c.mu.Lock()
	if c.state != starting {
		c.mu.Unlock()
		return
	}
	c.state, c.interrupted, c.drained = owned, false, false
	c.mu.Unlock()
	c.ready()
}

// TryRead reads what is there into p. It returns [ErrIdle] if there is nothing,
// or was nothing more at the last call that read something; io.EOF at the end, and otherwise the connection's error; never bytes and an
// error at once. It doesn't block, except for the rest of a TLS record whose
// beginning has come: it waits up to 5 seconds for that, once after each call of
// ready that an event has caused, until Interrupt is called.
//
// It ends with [os.ErrDeadlineExceeded] if the connection's read deadline is
// over. Of a TLS connection, however, it sets the read deadline itself and
// leaves none.
func (c *Conn) TryRead(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.tls {
		return c.tryTLS(p)
	}
	if c.drained {
		// To ask again would be a call of the system for nothing: Arm is told of
		// what has come since.
		c.drained = false
		return 0, ErrIdle
	}
	r := reads.Get().(*read)
	r.p = p
	err := c.raw.Read(r.f)
	n, errno := r.n, r.errno
	r.p = nil
	reads.Put(r)
	switch {
	case err != nil:
		return 0, err
	case errno == unix.EAGAIN:
		return 0, ErrIdle
	case errno != 0:
		return 0, &net.OpError{
			Op: "read", Net: c.nc.LocalAddr().Network(), Source: c.nc.LocalAddr(), Addr: c.nc.RemoteAddr(),
			Err: os.NewSyscallError("read", errno),
		}
	case n == 0:
		return 0, io.EOF
	}
	c.drained = n < len(p) // of a stream, see epoll(7)
	return n, nil
}

// tryTLS leans on what crypto/tls does with deadlines: a read that runs into one
// keeps what it has of a record and may be repeated, and one whose deadline is
// over yields what is there already, with no call of the system.
func (c *Conn) tryTLS(p []byte) (int, error) {
	c.mu.Lock()
	deadline := past
	if c.fresh && !c.interrupted {
		deadline, c.waiting = time.Now().Add(recordTime), true
	}
	c.fresh = false
	err := c.nc.SetReadDeadline(deadline)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.nc.Read(p)
	c.mu.Lock()
	c.waiting = false
	_ = c.nc.SetReadDeadline(time.Time{}) // it can only fail as the next read does
	c.mu.Unlock()
	switch {
	case n > 0:
		return n, nil // the connection tells its error again
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, ErrIdle
	}
	return 0, err
}

// read is one read of a socket. It is pooled together with its closure, so that
// neither a read nor a parked connection costs anything for it.
type read struct {
	p     []byte
	n     int
	errno syscall.Errno
	f     func(fd uintptr) bool
}

var reads = sync.Pool{New: func() any {
	r := new(read)
	r.f = r.do
	return r
}}

// do reads once. It never asks to wait. Go's sockets do not block.
func (r *read) do(fd uintptr) bool {
	for {
		n, err := unix.Read(int(fd), r.p)
		r.n, r.errno = n, 0
		if err == nil {
			return true
		}
		if r.errno, _ = err.(syscall.Errno); r.errno != unix.EINTR { //nolint:errorlint // x/sys/unix returns nothing else, unwrapped
			return true
		}
	}
}

// control is one call of epoll_ctl(2), pooled likewise.
type control struct {
	epoll, op int
	event     unix.EpollEvent
	fd        int32
	err       error
	f         func(fd uintptr)
}

var controls = sync.Pool{New: func() any {
	k := new(control)
	k.f = k.do
	return k
}}

func (k *control) do(fd uintptr) {
	k.fd = int32(fd)
	k.event.Fd = k.fd
	k.err = unix.EpollCtl(k.epoll, k.op, int(fd), &k.event)
}

// control calls epoll_ctl for the Conn's socket, once only (EPOLLONESHOT), and
// returns its file descriptor. It can't hit another socket that got the number,
// since the connection is held meanwhile. Called with the Poller's mu held.
func (c *Conn) control(op int, events uint32) (fd int32, err error) {
	k := controls.Get().(*control)
	k.epoll, k.op, k.err = c.poller.epoll, op, nil
	k.event = unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Pad: int32(c.generation)}
	if err = c.raw.Control(k.f); err == nil {
		fd, err = k.fd, k.err
	}
	controls.Put(k)
	return fd, err
}
