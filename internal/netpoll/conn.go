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

// Conn is a connection in a [Poller]; [Poller.Watch] makes it.
//
// Its owner reads with [Conn.TryRead] until that returns [ErrIdle], then parks it
// with [Conn.Arm] and touches it no more: the next call of ready owns it. Only the
// owner may call these two. [Conn.Interrupt] has ready called although nothing has
// come, and [Conn.Stop] takes the connection out; anybody may call these at any
// time. Nothing closes the connection: Stop it first, then close it.
type Conn struct {
	// Set once.
	poller     *Poller
	nc         net.Conn
	raw        syscall.RawConn
	ready      func()
	fd         int32  // only the index in the Poller's table; calls of the system use raw
	generation uint32 // distinguishes it from earlier Conns with the same descriptor
	tls        bool

	// Guarded by mu, which is held whenever the state changes, so that calls of ready
	// never overlap.
	mu          sync.Mutex
	state       state
	interrupted bool // Interrupt was called after the last call of ready
	fresh       bool // an event has come, and nothing was read since
	waiting     bool // TryRead waits for a TLS record

	// Owned by the owner.
	drained bool // the last read took everything there was
}

type state uint8

const (
	owned    state = iota // by the caller of Watch, or by a call of ready
	armed                 // ready is called when something happens
	starting              // the goroutine that calls ready is on its way
	stopped
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Arm parks the connection: ready is called once, as soon as there is something to
// read, the connection has ended or failed, or Interrupt has been called since the
// last call of ready. TryRead must have returned [ErrIdle] just before, because bytes
// that wait within a TLS connection cause no event. The caller gives the connection
// up and may not touch it any more. On a stopped Conn Arm does nothing.
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
		c.start() // the owner will read the error
	}
}

// rearm asks the system for the next event, which also reports what has come
// already. Called with mu held.
func (c *Conn) rearm() error {
	c.poller.mu.RLock()
	defer c.poller.mu.RUnlock()
	if c.poller.state != running {
		return nil // closed: ready is not called any more
	}
	_, err := c.control(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLRDHUP)
	return err
}

// Interrupt has ready called although there is nothing to read: at once if the Conn
// is armed, otherwise at the next Arm. It also ends the waiting of a TryRead. It
// does not block.
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

// Stop undoes Watch: it takes the connection out of its Poller, and no call of ready
// begins afterwards. It must be called before the connection is closed. A second Stop
// does nothing.
//
// It reports whether it undid an Arm, as [time.Timer.Stop] does: if so, the caller
// owns the connection now; otherwise an owner is at work, or the Conn was stopped
// before.
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

// happened is called by the Poller when there is something to read, or the end.
func (c *Conn) happened() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == armed {
		c.fresh = true
		c.start()
	}
}

// start calls ready in a goroutine of its own. Ending and joining it is up to the
// caller of Watch. Called with mu held.
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

// TryRead reads the bytes that are available into p. It returns [ErrIdle] if there is
// nothing, or if the last call has read everything there was; io.EOF at the end;
// otherwise the connection's error; never bytes and an error at once. It does not
// block, with one exception: it waits up to 5 seconds for the rest of a TLS record,
// once after each call of ready that was caused by an event, until Interrupt is called.
//
// It returns [os.ErrDeadlineExceeded] if the connection's read deadline has passed.
// On a TLS connection, however, it sets the read deadline itself and leaves none.
func (c *Conn) TryRead(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.tls {
		return c.tryTLS(p)
	}
	if c.drained {
		// Reading again would be a wasted system call: Arm notices what has come
		// since.
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
	c.drained = n < len(p) // true of streams, see epoll(7)
	return n, nil
}

// tryTLS relies on what crypto/tls does with deadlines. A read that misses one keeps
// the part of a record that it has, and may be repeated. A read whose deadline has
// passed returns what was decrypted before, without a system call.
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
	_ = c.nc.SetReadDeadline(time.Time{}) // if it fails, so does the next read
	c.mu.Unlock()
	switch {
	case n > 0:
		return n, nil // the connection will return its error again
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, ErrIdle
	}
	return 0, err
}

// read is one read of a socket. It is pooled together with its closure, so that
// reading allocates nothing and a parked connection holds nothing.
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

// do reads once. It returns true: RawConn must not wait. Go's sockets do not block.
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
// returns its file descriptor. It cannot hit another socket that got the number,
// since RawConn holds the connection open. Called with the Poller's mu held.
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
