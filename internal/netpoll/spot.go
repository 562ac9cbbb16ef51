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

// Spot is one connection's place in a [Lot]; [Lot.Watch] makes it. TryRead and
// Arm are for the connection's owner, see the package's comment; Fire and Stop
// may be called by anybody at any time.
type Spot struct {
	lot        *Lot
	nc         net.Conn
	raw        syscall.RawConn
	ready      func()
	fd         int32  // its place in the Lot's table; for anything else raw is used
	generation uint32 // tells it from others that had its file descriptor

	tls bool

	mu      sync.Mutex // held whenever the state changes: it orders the calls of ready
	state   state
	fired   bool // Fire was called and no ready since
	fresh   bool // the system said that there is something, and nothing was read since
	waiting bool // TryRead waits for a TLS record

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
// connection has ended or failed, or Fire was called since ready was called
// last. TryRead must have returned [ErrIdle] just before: bytes that wait within
// a TLS connection are not seen. The caller hands the connection over with it
// and may not touch it any more. Of a Spot that is stopped it does nothing.
func (s *Spot) Arm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != owned {
		return
	}
	s.state = armed
	if s.fired {
		s.start()
		return
	}
	if err := s.rearm(); err != nil {
		s.start() // let the owner read what is wrong
	}
}

// rearm asks the system for the next event. It answers for what has come before,
// too. Called with mu held.
func (s *Spot) rearm() error {
	s.lot.mu.RLock()
	defer s.lot.mu.RUnlock()
	if s.lot.state != running {
		return nil // nobody is called any more
	}
	_, err := s.control(unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLRDHUP)
	return err
}

// Fire has ready called although there is nothing to read: at once if the Spot
// is armed, otherwise when Arm is called next. It also cuts short what TryRead
// waits for. It doesn't block.
func (s *Spot) Fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fired = true
	if s.waiting {
		_ = s.nc.SetReadDeadline(past)
	}
	if s.state == armed {
		s.start()
	}
}

// Stop takes the connection out of its Lot. No call of ready begins afterwards.
// It must be called before the connection is closed. A second Stop does nothing.
//
// It reports whether it undid an Arm, as [time.Timer.Stop] does: if so, the
// caller owns the connection now; otherwise an owner is at work, or has stopped
// it.
func (s *Spot) Stop() bool {
	s.mu.Lock()
	was := s.state
	s.state = stopped
	s.mu.Unlock()
	if was != stopped {
		s.lot.remove(s)
	}
	return was == armed || was == starting
}

// happened is told by the Lot that there is something to read, or the end.
func (s *Spot) happened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == armed {
		s.fresh = true
		s.start()
	}
}

// start calls ready on a goroutine of its own, which whoever gave ready knows to
// end and to join. Called with mu held.
func (s *Spot) start() {
	s.state = starting
	go s.call()
}

func (s *Spot) call() {
	s.mu.Lock()
	if s.state != starting {
		s.mu.Unlock()
		return
	}
	s.state, s.fired, s.drained = owned, false, false
	s.mu.Unlock()
	s.ready()
}

// TryRead reads what is there into p. It returns [ErrIdle] if there is nothing,
// or was nothing more at the last call that read something; io.EOF at the end, and otherwise the connection's error; never bytes and an
// error at once. It doesn't block, except for the rest of a TLS record whose
// beginning has come: it waits up to 5 seconds for that, once after each call of
// ready that an event has caused, until Fire is called.
//
// It ends with [os.ErrDeadlineExceeded] if the connection's read deadline is
// over. Of a TLS connection, however, it sets the read deadline itself and
// leaves none.
func (s *Spot) TryRead(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.tls {
		return s.tryTLS(p)
	}
	if s.drained {
		// To ask again would be a call of the system for nothing: Arm is told of
		// what has come since.
		s.drained = false
		return 0, ErrIdle
	}
	r := reads.Get().(*read)
	r.p = p
	err := s.raw.Read(r.f)
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
			Op: "read", Net: s.nc.LocalAddr().Network(), Source: s.nc.LocalAddr(), Addr: s.nc.RemoteAddr(),
			Err: os.NewSyscallError("read", errno),
		}
	case n == 0:
		return 0, io.EOF
	}
	s.drained = n < len(p) // of a stream, see epoll(7)
	return n, nil
}

// tryTLS leans on what crypto/tls does with deadlines: a read that runs into one
// keeps what it has of a record and may be repeated, and one whose deadline is
// over yields what is there already, with no call of the system.
func (s *Spot) tryTLS(p []byte) (int, error) {
	s.mu.Lock()
	deadline := past
	if s.fresh && !s.fired {
		deadline, s.waiting = time.Now().Add(recordTime), true
	}
	s.fresh = false
	err := s.nc.SetReadDeadline(deadline)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := s.nc.Read(p)
	s.mu.Lock()
	s.waiting = false
	_ = s.nc.SetReadDeadline(time.Time{}) // it can only fail as the next read does
	s.mu.Unlock()
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
	c := new(control)
	c.f = c.do
	return c
}}

func (c *control) do(fd uintptr) {
	c.fd = int32(fd)
	c.event.Fd = c.fd
	c.err = unix.EpollCtl(c.epoll, c.op, int(fd), &c.event)
}

// control calls epoll_ctl for the Spot's socket, once only (EPOLLONESHOT), and
// returns its file descriptor. It can't hit another socket that got the number,
// since the connection is held meanwhile. Called with the Lot's mu held.
func (s *Spot) control(op int, events uint32) (fd int32, err error) {
	c := controls.Get().(*control)
	c.epoll, c.op, c.err = s.lot.epoll, op, nil
	c.event = unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Pad: int32(s.generation)}
	if err = s.raw.Control(c.f); err == nil {
		fd, err = c.fd, c.err
	}
	controls.Put(c)
	return fd, err
}
