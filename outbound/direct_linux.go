package outbound

import (
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directly returns how to write to nc without waiting, or nil if only nc's own
// Write can.
func directly(nc net.Conn) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return rc
}

// direct holds writers between workers.
var direct = sync.Pool{New: func() any {
	w := new(directWriter)
	w.do = w.send // made once: a closure a write would be an allocation a write
	return w
}}

// directWriter writes to sockets without waiting. It is one goroutine's.
type directWriter struct {
	do    func(fd uintptr) bool
	p     []byte
	n     int
	errno syscall.Errno
}

// write writes what the socket takes now. Less than all, without an error,
// means that it is full.
func (w *directWriter) write(rc syscall.RawConn, p []byte) (int, error) {
	w.p, w.n, w.errno = p, 0, 0
	err := rc.Write(w.do)
	w.p = nil
	switch {
	case err != nil:
		return 0, err
	case w.errno != 0 && w.errno != syscall.EAGAIN:
		return 0, w.errno
	default:
		return w.n, nil
	}
}

// send is what the socket is held for. It returns true, also if the socket is
// full: false would wait in the runtime's poller.
//
// The call is a raw one, which does not tell the scheduler: it returns at once,
// and telling costs. sendto passes by the layer of files that write goes through.
func (w *directWriter) send(fd uintptr) bool {
	for {
		begin := unsafe.Pointer(&w.p[0]) //nolint:gosec // w.p is never empty, and lives as long as w
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(begin), uintptr(len(w.p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if w.errno = errno; errno == 0 {
			w.n = int(n)
		}
		return true
	}
}
