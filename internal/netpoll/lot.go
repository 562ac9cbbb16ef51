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

// Lot waits for any number of sockets with one goroutine, which the first of
// them starts. The zero value is ready for use. Methods are safe for concurrent
// use. A Lot must not be copied, and it must be closed in the end.
type Lot struct {
	// Goroutines makes Watch refuse everything, so that every connection keeps
	// a goroutine of its own. It must not be changed after the first Watch.
	Goroutines bool

	polls sync.WaitGroup // the goroutine in epoll_wait

	mu     sync.RWMutex
	state  lotState
	epoll  int
	wakeup int     // an eventfd that ends the goroutine
	last   uint32  // generation of the Spot that came last
	spots  []*Spot // by file descriptor; what is not watched is nil
}

type lotState uint8

const (
	unopened lotState = iota
	running
	closed // for good, or because there is no epoll to be had
)

// Watch takes a connection in, whose ready is called when [Spot.Arm] asked for
// it. Every call has a goroutine of its own, which the caller must join if
// somebody has to wait for it, and which must recover from its panics.
//
// It returns false for what can't be parked: the caller then keeps a goroutine
// in a blocking Read. Parked can be *net.TCPConn, *net.UnixConn, and a
// *tls.Conn on one of these whose handshake is complete. A wrapper can not, even
// if it shows its socket, since nobody knows what it keeps in buffers. It also
// returns false when l is closed, if l.Goroutines is set, and if the system
// refuses.
//
// [Spot.Stop] must be called before nc is closed.
func (l *Lot) Watch(nc net.Conn, ready func()) (*Spot, bool) {
	if l.Goroutines {
		return nil, false
	}
	s := &Spot{lot: l, nc: nc, ready: ready}
	socket := nc
	if t, ok := nc.(*tls.Conn); ok {
		if !t.ConnectionState().HandshakeComplete {
			return nil, false
		}
		s.tls, socket = true, t.NetConn()
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
	s.raw = raw

	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open() {
		return nil, false
	}
	l.last++
	s.generation = l.last
	// Without events it says only errors, which nobody hears before Arm asks again.
	if s.fd, err = s.control(unix.EPOLL_CTL_ADD, 0); err != nil {
		return nil, false
	}
	if n := int(s.fd) + 1; n > len(l.spots) {
		l.spots = slices.Grow(l.spots, n-len(l.spots))[:n]
	}
	l.spots[s.fd] = s
	return s, true
}

// Close ends the goroutine and waits for it. A Spot that is armed is not called
// any more, so all of them should have been stopped; calls of ready that have
// begun are not waited for. Nothing can be watched any more.
func (l *Lot) Close() {
	l.mu.Lock()
	if l.state != running {
		l.state = closed
		l.mu.Unlock()
		l.polls.Wait() // for another Close that is under way
		return
	}
	l.state = closed // from now on nobody uses the descriptors but the goroutine
	l.spots = nil
	l.mu.Unlock()
	// It fails only if it has been written already, which is as good.
	_, _ = unix.Write(l.wakeup, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	l.polls.Wait()
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wakeup)
}

// open makes the epoll and starts its goroutine, which Close ends and joins, if
// that has not been done yet. Called with mu held. Without success it is not
// tried again.
func (l *Lot) open() bool {
	if l.state != unopened {
		return l.state == running
	}
	l.state = closed
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return false
	}
	// Generation 0 is no Spot's, so this event is none's.
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wakeup)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wakeup, &event); err != nil {
		_ = unix.Close(epoll)
		_ = unix.Close(wakeup)
		return false
	}
	l.state, l.epoll, l.wakeup = running, epoll, wakeup
	l.polls.Go(func() { l.poll(epoll) })
	return true
}

// poll calls what has become ready until the Lot is closed.
func (l *Lot) poll(epoll int) {
	var events [128]unix.EpollEvent
	var due [len(events)]*Spot
	for {
		n, err := unix.EpollWait(epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			// A descriptor that is ours is no more, which nobody should live to see.
			// What is parked is deaf then, and ends by its heartbeat; what comes
			// later gets a goroutine.
			l.mu.Lock()
			l.state = closed
			l.mu.Unlock()
			return
		}
		n = max(n, 0)
		l.mu.RLock()
		if l.state == closed {
			l.mu.RUnlock()
			return
		}
		for i, e := range events[:n] {
			// Of what was removed since, there may still be events.
			if fd := int(e.Fd); fd < len(l.spots) && l.spots[fd] != nil && l.spots[fd].generation == uint32(e.Pad) {
				due[i] = l.spots[fd]
			}
		}
		l.mu.RUnlock()
		for i, s := range due[:n] {
			if s != nil {
				s.happened()
				due[i] = nil
			}
		}
	}
}

// remove forgets a Spot. If its connection was closed before, the system has
// removed it, and its file descriptor may be another's by now.
func (l *Lot) remove(s *Spot) {
	// The call of the system is not made under the lock that all others need:
	// a thousand may end at once.
	l.mu.RLock()
	if l.state == running {
		_, _ = s.control(unix.EPOLL_CTL_DEL, 0)
	}
	l.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == running && l.spots[s.fd] == s {
		l.spots[s.fd] = nil
	}
}
