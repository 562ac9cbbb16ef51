//go:build !linux

package netpoll

import "net"

// Poller parks nothing on this system. Methods are safe for concurrent use.
type Poller struct {
	// Goroutines has no effect on this system.
	Goroutines bool
}

// Conn stands for a parked connection. On this system nothing can be parked.
type Conn struct{}

// Watch returns false: the caller keeps a goroutine in a blocking Read.
func (p *Poller) Watch(net.Conn, func()) (*Conn, bool) { return nil, false }

// Close does nothing.
func (p *Poller) Close() {}

// Arm does nothing.
func (c *Conn) Arm() {}

// Interrupt does nothing.
func (c *Conn) Interrupt() {}

// Stop does nothing and returns false.
func (c *Conn) Stop() bool { return false }

// TryRead returns [ErrIdle].
func (c *Conn) TryRead([]byte) (int, error) { return 0, ErrIdle }
