//go:build !linux

package outbound

import (
	"net"
	"sync"
	"syscall"
)

// directly returns nil: here only a connection's own Write can write to it.
func directly(net.Conn) syscall.RawConn { return nil }

var direct = sync.Pool{New: func() any { return new(directWriter) }}

// directWriter is of no use here.
type directWriter struct{}

func (*directWriter) write(syscall.RawConn, []byte) (int, error) { return 0, syscall.ENOTSUP }
