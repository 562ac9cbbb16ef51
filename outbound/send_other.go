//go:build !linux

package outbound

import (
	"net"
	"syscall"
)

// socketOf returns -1: here only a connection's own Write can write to it.
func socketOf(net.Conn) int { return -1 }

func send(int, []byte) (int, error) { return 0, syscall.ENOTSUP }
