//go:build !linux

package netpoll

import "net"

// Poller parks nothing on this system. Methods are safe for concurrent use.
type Poller struct {
	// Goroutines makes no difference on this system.
	Goroutines bool
}

// Conn is what [Poller.Watch] would return if anything could be parked.
type Conn struct{}

// Watch returns false: the caller keeps a goroutine in a blocking Read.
func (p *Poller) Watch(net.Conn, func()) (*Conn, bool) { return nil, false }

// Close does nothing.
func (p *Poller) Close() {}

// Arm would have ready called when there is something to read.
func (c *Conn) Arm() {}

// Interrupt would have ready called although there is nothing to read.
func (c *Conn) Interrupt() {}

// Stop would take the connection out of its Poller.
func (c *Conn) Stop() bool { return false }

// TryRead would read what is there.
func (c *Conn) TryRead([]byte) (int, error) { return 0, ErrIdle }
