package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batch         = 256 // connections that are opened at once
	handshakeTime = 30 * time.Second
	// perSource is how many connections come from one address: it has 28,000
	// ports.
	perSource = 5000
)

// source counts the connections of the process.
var source atomic.Int64

// nextSource returns the address that the next connection comes from.
func nextSource() [4]byte {
	n := source.Add(1) / perSource
	return [4]byte{127, 0, byte(1 + n/200%50), byte(2 + n%200)}
}

// Connect opens n connections more. It returns when all handshakes are over.
func (p *Pool) Connect(ctx context.Context, t Target, n int) error {
	var session tls.ClientSessionCache
	if t.TLS {
		session = tls.NewLRUClientSessionCache(1)
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := len(p.conns)
		size := min(n, batch)
		for i := range size {
			p.conns = append(p.conns, conn{fd: -1, state: inHead, stream: stream{kind: t.Kind}})
			if t.TLS {
				continue
			}
			if err := p.dial(first+i, t); err != nil {
				return fmt.Errorf("connection %d: %w", first+i, err)
			}
		}
		if t.TLS {
			if err := p.dialTLS(first, t, session); err != nil {
				return err
			}
		}
		if err := p.await(first); err != nil {
			return err
		}
		n -= size
	}
	return nil
}

// dial connects i and sends its request.
func (p *Pool) dial(i int, t Target) error {
	fd, err := dial(t)
	if err != nil {
		return err
	}
	c := &p.conns[i]
	c.fd = int32(fd)
	p.open++
	if err := writeAll(fd, t.request(i)); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	return p.watch(i)
}

func (p *Pool) watch(i int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, int(p.conns[i].fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
}

// dialTLS connects those from first on.
func (p *Pool) dialTLS(first int, t Target, session tls.ClientSessionCache) error {
	config := &tls.Config{
		InsecureSkipVerify: true, // the server is our child, with a certificate that it made
		NextProtos:         []string{"http/1.1"},
		ServerName:         "localhost",
		MinVersion:         tls.VersionTLS13,
		ClientSessionCache: session,
	}
	errs := make([]error, 4)
	var work sync.WaitGroup
	for w := range errs {
		work.Go(func() {
			for i := first + w; i < len(p.conns) && errs[w] == nil; i += len(errs) {
				errs[w] = p.conns[i].handshakeTLS(t, i, config)
			}
		})
	}
	work.Wait()
	for i := first; i < len(p.conns); i++ {
		if p.conns[i].fd < 0 {
			continue
		}
		p.open++
		if err := p.watch(i); err != nil {
			return err
		}
		// Bytes that came with the end of the handshake do not wake epoll.
		if err := p.read(i); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

func (c *conn) handshakeTLS(t Target, i int, config *tls.Config) error {
	fd, err := dial(t)
	if err != nil {
		return err
	}
	c.fd = int32(fd)
	raw := &socket{fd: fd, wait: true}
	c.tls = tls.Client(raw, config)
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if err := c.tls.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	_, err = c.tls.Write(t.request(i))
	raw.wait = false
	return err
}

// await reads until the handshakes from first on are over.
func (p *Pool) await(first int) error {
	until := time.Now().Add(handshakeTime)
	for i := first; i < len(p.conns); {
		if p.conns[i].state == live {
			i++
			continue
		}
		if _, err := p.poll(100 * time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("connection %d: no handshake within %s", i, handshakeTime)
		}
	}
	return nil
}

// dial returns a connected socket that blocks.
func dial(t Target) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if !t.Linger {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if t.ReceiveBuffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, t.ReceiveBuffer)
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: nextSource()})
	if err == nil {
		for {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: t.Port, Addr: [4]byte{127, 0, 0, 1}})
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// request returns the request of connection i.
func (t Target) request(i int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: localhost\r\n", t.Path(i))
	switch t.Kind {
	case Events:
		b.WriteString("Accept: text/event-stream\r\n")
	case Lines:
		b.WriteString("Accept: application/x-ndjson\r\n")
	default:
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// shake takes b as the next part of the handshake, and returns what comes after
// it.
func (c *conn) shake(b []byte, t *tally) ([]byte, error) {
	b = append(c.rest, b...)
	c.rest = nil
	if c.state == inHead {
		status, chunked, n, err := responseHead(b)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			c.rest = bytes.Clone(b)
			return nil, nil
		}
		want := 101
		if c.kind == Events || c.kind == Lines {
			want = 200
		}
		if status != want {
			return nil, fmt.Errorf("%w: the answer is %d: %.300q", ErrEnded, status, b)
		}
		c.chunked = chunked
		b = b[n:]
		if c.state = live; c.kind == SocketIO {
			c.state = inOpen
		}
	}
	for c.state != live && len(b) > 0 {
		_, packet, n, err := nextFrame(b)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		b = b[n:]
		switch {
		case c.state == inOpen && bytes.HasPrefix(packet, []byte("0{")):
			t.replies = appendFrame(t.replies, opText, []byte("40"))
			c.state = inAccept
		case c.state == inAccept && bytes.HasPrefix(packet, []byte("40{")):
			c.state = live
		default:
			return nil, fmt.Errorf("%w: a packet %.40q in the handshake", ErrTorn, packet)
		}
	}
	if c.state != live {
		c.rest = bytes.Clone(b)
		return nil, nil
	}
	return b, nil
}

// socket is a socket for crypto/tls, which may read without waiting.
type socket struct {
	net.Conn // none: for the methods that crypto/tls doesn't call here
	fd       int
	wait     bool
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && s.wait:
			if !waitReadable(s.fd, handshakeTime) {
				return 0, errors.New("no answer")
			}
		case errors.Is(err, unix.EAGAIN):
			return 0, os.ErrDeadlineExceeded // that is not sticky in crypto/tls
		case err != nil:
			return 0, err
		case n == 0:
			return 0, errors.New("end of connection")
		default:
			return n, nil
		}
	}
}

func (s *socket) Write(b []byte) (int, error) { return len(b), writeAll(s.fd, b) }

func waitReadable(fd int, limit time.Duration) bool { return wait(fd, unix.POLLIN, limit) }

// wait waits until fd is ready for what is asked.
func wait(fd int, event int16, limit time.Duration) bool {
	until := time.Now().Add(limit)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: event}}
		n, err := unix.Poll(fds, int(max(time.Until(until), 0).Milliseconds()))
		if n > 0 {
			return true
		}
		if !errors.Is(err, unix.EINTR) || time.Now().After(until) {
			return false
		}
	}
}

// writeAll writes all of b, and waits where it must.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if !wait(fd, unix.POLLOUT, handshakeTime) {
				return errors.New("nothing was taken for " + handshakeTime.String())
			}
		case err != nil:
			return err
		default:
			b = b[n:]
		}
	}
	return nil
}

// sleep sleeps in the kernel: a round takes less than what the runtime's timers
// are exact to.
func sleep(d time.Duration) {
	left := unix.NsecToTimespec(int64(d))
	for {
		rest := unix.Timespec{}
		if err := unix.Nanosleep(&left, &rest); !errors.Is(err, unix.EINTR) {
			return
		}
		left = rest
	}
}

// SleepUntil sleeps until [Now] is at.
func SleepUntil(at int64) {
	if d := time.Duration(at - Now()); d > 0 {
		sleep(d)
	}
}
