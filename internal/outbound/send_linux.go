package outbound

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketOf returns the file descriptor of a plain socket, which can be written
// to without waiting, or -1 if only nc's own Write can write to it. A wrapper's
// socket is not taken: nobody knows what it does with bytes.
func socketOf(nc net.Conn) int {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return -1
	}
	fd := -1
	if rc, err := nc.(syscall.Conn).SyscallConn(); err == nil {
		_ = rc.Control(func(f uintptr) { fd = int(f) })
	}
	return fd
}

// send writes what the socket takes now, without waiting. Less than all, without
// an error, means that it is full. The caller sees to it that fd is not closed
// meanwhile.
//
// The call is a raw one, which does not tell the scheduler: it returns at once,
// and telling costs. sendto passes by the layer of files that write goes
// through. Both are measured in docs/PERFORMANCE.md.
func send(fd int, p []byte) (int, error) {
	for {
		begin := unsafe.Pointer(unsafe.SliceData(p)) //nolint:gosec // of a slice, for a call that ends before it does
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(begin), uintptr(len(p)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// socket is one that can be looked at. Its file descriptor is not used where
// another's may have got its number.
type socket struct{ raw syscall.RawConn }

func socketUnder(nc net.Conn) (socket, bool) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	return socket{raw}, err == nil
}

// taken returns a number that changes whenever the peer, or its system, has taken
// something: the bytes that it has acknowledged or, where nobody does, those that
// it has left.
func (s socket) taken() (n uint64, ok bool) {
	err := s.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n, ok = info.Bytes_acked, true
		} else if left, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n, ok = uint64(left), true
		}
	})
	return n, ok && err == nil
}

// abandon has the system give the connection up once the peer's system has
// acknowledged nothing for so long, although something was sent.
func (s socket) abandon(after time.Duration) {
	// Not every socket is one of TCP, and what else it is has no path to be lost on.
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
	})
}
