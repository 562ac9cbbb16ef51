package ws

import (
	"sync/atomic"
	"time"
)

// activity is the moment at which something last came from a peer. It is kept on the
// monotonic clock, so that setting the system's clock neither ends a connection nor
// keeps a silent one. It is safe for concurrent use.
type activity struct {
	since time.Time    // set once, with a monotonic reading
	after atomic.Int64 // nanoseconds after since
}

// note sets the moment to now.
func (a *activity) note(now time.Time) { a.after.Store(int64(now.Sub(a.since))) }

// ago returns how long ago the moment is.
func (a *activity) ago(now time.Time) time.Duration {
	return now.Sub(a.since) - time.Duration(a.after.Load())
}
