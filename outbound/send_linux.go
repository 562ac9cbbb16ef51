package outbound

import (
	"net"
	"syscall"
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
