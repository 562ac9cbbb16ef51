//go:build !linux

package outbound

import (
	"net"
	"syscall"
	"time"
)

// socketOf returns -1: here only a connection's own Write can write to it.
func socketOf(net.Conn) int { return -1 }

func send(int, []byte) (int, error) { return 0, syscall.ENOTSUP }

// socket is one that nothing can be seen of here.
type socket struct{}

func socketUnder(net.Conn) (socket, bool) { return socket{}, false }

func (socket) taken() (uint64, bool) { return 0, false }

func (socket) abandon(time.Duration) {}
