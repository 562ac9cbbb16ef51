package peers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caddy-realtime/realtime/bench/load"
)

// loop is floor.c in Go: one thread, one epoll, rooms, and one write for each
// delivery. It has no history, no limits and no timeouts.
type loop struct {
	epoll  int
	listen int
	conns  map[int]*loopConn
	rooms  map[string]*loopRoom
	buf    []byte
	frame  []byte
}

type loopConn struct {
	room *loopRoom
	at   int // where in the room
	rest []byte
}

type loopRoom struct{ fds []int }

// loopAnswer accepts the one key that the clients send.
const loopAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"

// ServeLoop serves the bare loop on a port. It returns only if it can't.
func ServeLoop(port int) error {
	runtime.LockOSThread()
	load.RaiseFileLimit()
	collectOnSignal()
	l := &loop{conns: map[int]*loopConn{}, rooms: map[string]*loopRoom{}, buf: make([]byte, 256<<10)}
	var err error
	if l.listen, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	_ = unix.SetsockoptInt(l.listen, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(l.listen, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(l.listen, 4096); err != nil {
		return err
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err := l.watch(l.listen); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.listen {
				l.accept()
			} else if err := l.take(int(e.Fd)); err != nil {
				l.leave(int(e.Fd))
			}
		}
	}
}

// collectOnSignal gives memory back when SIGUSR1 comes.
func collectOnSignal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	go func() {
		for range c {
			debug.FreeOSMemory()
		}
	}()
}

func (l *loop) watch(fd int) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (l *loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		l.conns[fd] = &loopConn{}
		if l.watch(fd) != nil {
			l.leave(fd)
		}
	}
}

func (l *loop) leave(fd int) {
	if c := l.conns[fd]; c != nil && c.room != nil {
		last := len(c.room.fds) - 1
		moved := c.room.fds[last]
		c.room.fds[c.at] = moved
		l.conns[moved].at = c.at
		c.room.fds = c.room.fds[:last]
	}
	delete(l.conns, fd)
	_ = unix.Close(fd)
}

// take reads what a connection sent.
func (l *loop) take(fd int) error {
	c := l.conns[fd]
	if c == nil {
		return nil
	}
	n, err := unix.Read(fd, l.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil || n <= 0 {
		return errors.New("it has gone")
	}
	b := l.buf[:n]
	if len(c.rest) > 0 {
		b = append(c.rest, b...)
		c.rest = nil
	}
	for len(b) > 0 {
		take := l.publish
		if c.room == nil {
			take = l.join
		}
		n, err := take(fd, c, b)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	c.rest = bytes.Clone(b)
	return nil
}

func (l *loop) join(fd int, c *loopConn, b []byte) (int, error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	words := bytes.Fields(b)
	if end < 0 || len(words) < 2 {
		return 0, errors.New("no request")
	}
	name := string(words[1])
	if c.room = l.rooms[name]; c.room == nil {
		c.room = &loopRoom{}
		l.rooms[name] = c.room
	}
	c.at = len(c.room.fds)
	c.room.fds = append(c.room.fds, fd)
	return end + 4, loopWrite(fd, []byte(loopAnswer))
}

// publish takes one masked frame, and returns its size; 0: it is not all there.
func (l *loop) publish(_ int, c *loopConn, b []byte) (int, error) {
	if len(b) < 14 {
		return 0, nil // no message is that short
	}
	size, head := int(b[1]&127), 2
	switch size {
	case 126:
		size, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		size, head = int(binary.BigEndian.Uint64(b[2:])), 10
	}
	if b[1]&0x80 == 0 || b[0]&15 == 8 || size > load.MaxSize {
		return 0, fmt.Errorf("a frame that begins with %x", b[:2])
	}
	mask := b[head : head+4]
	head += 4
	if len(b) < head+size {
		return 0, nil
	}
	if b[0]&15 > 2 {
		return head + size, nil
	}
	l.frame = append(l.frame[:0], b[0])
	switch {
	case size <= 125:
		l.frame = append(l.frame, byte(size))
	case size <= 0xffff:
		l.frame = binary.BigEndian.AppendUint16(append(l.frame, 126), uint16(size))
	default:
		l.frame = binary.BigEndian.AppendUint64(append(l.frame, 127), uint64(size))
	}
	for i, x := range b[head : head+size] {
		l.frame = append(l.frame, x^mask[i&3])
	}
	for _, to := range c.room.fds {
		_ = loopWrite(to, l.frame) // reading finds out which clients have gone
	}
	return head + size, nil
}

// loopWrite writes all, and waits where it must.
func loopWrite(fd int, b []byte) error {
	for len(b) > 0 {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			b = b[n:]
		case syscall.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000)
		case syscall.EINTR:
		default:
			return errno
		}
	}
	return nil
}
