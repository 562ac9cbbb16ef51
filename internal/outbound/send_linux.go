package outbound

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketOf returns the file descriptor of a plain socket, which can be written
// to without waiting, or -1 if nc is something else. The socket below a wrapper
// does not count, since the wrapper may change the bytes.
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
// It is a raw system call, which does not involve the scheduler: it returns at once.
// sendto bypasses the file layer that write goes through. docs/PERFORMANCE.md has
// measurements of both.
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

// socket can be inspected, and given options. A RawConn never uses a file descriptor
// that belongs to another socket by now.
type socket struct{ raw syscall.RawConn }

func socketUnder(nc net.Conn) (socket, bool) {
	raw, err := nc.(syscall.Conn).SyscallConn()
	return socket{raw}, err == nil
}

// taken returns a number that changes whenever the peer, or its system, has accepted
// something: the bytes acknowledged or, if the socket is not TCP, the bytes still
// queued.
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

// abandon has the system give up the connection once the peer's system has
// acknowledged nothing for this long, although something was sent.
func (s socket) abandon(after time.Duration) {
	// It fails for sockets other than TCP, whose packets cannot get lost.
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
	})
}
