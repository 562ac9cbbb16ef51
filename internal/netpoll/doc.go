// Package netpoll waits for sockets to have something to read, without a
// goroutine for each.
//
// A reader that owns no goroutine reads until nothing is there, and parks:
//
//	var poller netpoll.Poller
//	conn, ok := poller.Watch(nc, ready)
//	...
//	func ready() { // on a goroutine of its own
//		for {
//			n, err := conn.TryRead(p)
//			if errors.Is(err, netpoll.ErrIdle) {
//				conn.Arm() // ready is called again: nothing may follow
//				return
//			}
//			...
//		}
//	}
//
// On Linux one goroutine waits for all sockets of a [Poller] in epoll_wait(2).
// Elsewhere nothing can be parked: Watch says so, and the caller keeps a
// goroutine in a blocking Read.
//
// A connection has one owner at a time: the goroutine that called Watch until it
// calls Arm, then the Poller, then the call of ready until it calls Arm in turn.
// Others get the owner's attention with [Conn.Interrupt].
package netpoll

import (
	"errors"
	"time"
)

// ErrIdle is returned by [Conn.TryRead] when there is nothing to read yet.
var ErrIdle = errors.New("nothing to read yet")

// recordTime bounds how long a TLS record may take to arrive, from its first
// byte on, before its connection is parked again.
const recordTime = 5 * time.Second
