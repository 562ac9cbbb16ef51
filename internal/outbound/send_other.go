//go:build !linux

package outbound

import (
	"net"
	"syscall"
	"time"
)

// socketOf returns -1: on this system connections are written to with their own Write.
func socketOf(net.Conn) int { return -1 }

func send(int, []byte) (int, error) { return 0, syscall.ENOTSUP }

// socket cannot be inspected on this system.
type socket struct{}

func socketUnder(net.Conn) (socket, bool) { return socket{}, false }

func (socket) taken() (uint64, bool) { return 0, false }

func (socket) abandon(time.Duration) {}
