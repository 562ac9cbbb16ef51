package ws

import (
	"sync/atomic"
	"time"
)

// heard is the moment at which something last came from a peer. It is kept on the
// monotonic clock, so that setting the system's clock neither ends a connection nor
// keeps a silent one. It is safe for concurrent use.
type heard struct {
	since time.Time    // set once, with a monotonic reading
	after atomic.Int64 // nanoseconds after since
}

// note sets the moment to now.
func (h *heard) note(now time.Time) { h.after.Store(int64(now.Sub(h.since))) }

// ago returns how long ago the moment is.
func (h *heard) ago(now time.Time) time.Duration {
	return now.Sub(h.since) - time.Duration(h.after.Load())
}
