// Package freeport finds ports for the servers of tests and benchmarks.
//
// It takes them below the range that systems give to outgoing connections. A port of
// that range, once it is closed, may go to any connection before the server listens on
// it; and a client that connects to such a port while nobody listens may meet itself.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Ports are handed out in blocks of which each process has one.
const (
	first     = 20_000
	last      = 32_000 // Linux gives outgoing connections ports from 32,768 on
	blockSize = 400
)

// block is this process's. Two processes must not get the same port: Caddy would share
// it without a word (SO_REUSEPORT), and each would get requests for the other.
var block struct {
	mu   sync.Mutex
	held net.Listener // at the first port of the block, which is this process's while it listens
	last int          // the port that was handed out last
}

// Get returns a TCP port on which nobody listens, and which no other process gets from
// here. It may be called from several goroutines.
func Get() (int, error) {
	block.mu.Lock()
	defer block.mu.Unlock()
	if block.held == nil {
		held, err := holdBlock()
		if err != nil {
			return 0, err
		}
		block.held, block.last = held, portOf(held)
	}
	start := portOf(block.held)
	for range blockSize {
		if block.last++; block.last == start+blockSize {
			block.last = start + 1
		}
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", block.last)); err == nil {
			return block.last, l.Close()
		}
	}
	return 0, errors.New("all ports of this process are in use")
}

// holdBlock takes a block that no other process has.
func holdBlock() (net.Listener, error) {
	for port := first; port < last; port += blockSize {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l, nil
		}
	}
	return nil, errors.New("other processes have all blocks of ports")
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
