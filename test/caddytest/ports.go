package caddytest

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// Ports are handed out below those that systems give to outgoing connections, in blocks
// of which each process has one.
const (
	firstPort    = 20_000
	lastPort     = 32_000
	portsOfBlock = 400
)

// ports are those of this process. Two processes must not get the same port: Caddy would
// share it without a word (SO_REUSEPORT), and each would get requests for the other.
var ports struct {
	mu   sync.Mutex
	held net.Listener // at the first port of the block, which is this process's while it listens
	last int          // the port that was handed out last
}

// FreePort returns a port that nobody uses, for Caddy or another program of the test.
func FreePort(t *testing.T) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.held == nil {
		ports.held = holdBlock(t)
		ports.last = portOf(ports.held)
	}
	first := portOf(ports.held)
	for range portsOfBlock {
		if ports.last++; ports.last == first+portsOfBlock {
			ports.last = first + 1
		}
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", ports.last)); err == nil {
			_ = l.Close()
			return ports.last
		}
	}
	t.Fatal("no port is free")
	return 0
}

// holdBlock takes a block that no other process has.
func holdBlock(t *testing.T) net.Listener {
	t.Helper()
	for first := firstPort; first < lastPort; first += portsOfBlock {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first)); err == nil {
			return l
		}
	}
	t.Fatal("other processes have all blocks of ports")
	return nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
