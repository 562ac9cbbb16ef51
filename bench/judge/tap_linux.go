package judge

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(tap{})
}

// tap is a listener wrapper that remembers which connections were accepted, and
// hands them out as they are.
type tap struct{}

// taken is what all taps have remembered since it was emptied.
var taken struct {
	mu    sync.Mutex
	conns []net.Conn
}

// CaddyModule implements [caddy.Module].
func (tap) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.bench_tap", New: func() caddy.Module { return new(tap) }}
}

// UnmarshalCaddyfile implements [caddyfile.Unmarshaler].
func (*tap) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// WrapListener implements [caddy.ListenerWrapper].
func (*tap) WrapListener(l net.Listener) net.Listener { return tapped{l} }

type tapped struct{ net.Listener }

func (t tapped) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err == nil {
		taken.mu.Lock()
		taken.conns = append(taken.conns, c)
		taken.mu.Unlock()
	}
	return c, err
}

// forget empties what was remembered.
func forget() {
	taken.mu.Lock()
	defer taken.mu.Unlock()
	taken.conns = nil
}

// sockets are the server's ends of all connections.
type sockets struct {
	fds []int       // of plain connections
	tls []*tls.Conn // or these
}

// remembered returns the connections that were accepted since forget.
func remembered() (*sockets, error) {
	taken.mu.Lock()
	defer taken.mu.Unlock()
	s := &sockets{}
	for _, c := range taken.conns {
		switch c := c.(type) {
		case *net.TCPConn:
			raw, err := c.SyscallConn()
			if err != nil {
				return nil, err
			}
			if err := raw.Control(func(fd uintptr) { s.fds = append(s.fds, int(fd)) }); err != nil {
				return nil, err
			}
		case *tls.Conn:
			s.tls = append(s.tls, c)
		default:
			return nil, fmt.Errorf("a connection of type %T", c)
		}
	}
	return s, nil
}

func (s *sockets) len() int { return len(s.fds) + len(s.tls) }

var _ interface {
	caddy.ListenerWrapper
	caddyfile.Unmarshaler
} = (*tap)(nil)

// bareWrite is how the bare loop writes.
func bareWrite(fd int, b []byte) error {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	switch {
	case errno != 0:
		return errno
	case int(n) != len(b):
		return fmt.Errorf("the socket took %d of %d bytes", n, len(b))
	default:
		return nil
	}
}
