//go:build !linux

package netpoll

import "net"

// Lot parks nothing on this system. Methods are safe for concurrent use.
type Lot struct {
	// Goroutines makes no difference on this system.
	Goroutines bool
}

// Spot is what [Lot.Watch] would return if anything could be parked.
type Spot struct{}

// Watch returns false: the caller keeps a goroutine in a blocking Read.
func (l *Lot) Watch(net.Conn, func()) (*Spot, bool) { return nil, false }

// Close does nothing.
func (l *Lot) Close() {}

// Arm would have ready called when there is something to read.
func (s *Spot) Arm() {}

// Fire would have ready called although there is nothing to read.
func (s *Spot) Fire() {}

// Stop would take the connection out of its Lot.
func (s *Spot) Stop() bool { return false }

// TryRead would read what is there.
func (s *Spot) TryRead([]byte) (int, error) { return 0, ErrIdle }
