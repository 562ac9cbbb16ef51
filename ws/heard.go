package ws

import (
	"sync/atomic"
	"time"
)

// heard is a moment on the monotonic clock: somebody who sets the system's clock
// makes no connection look silent, nor keeps a silent one.
type heard struct {
	since time.Time    // has a monotonic reading, and does not change
	after atomic.Int64 // nanoseconds after since
}

func (h *heard) note(now time.Time) { h.after.Store(int64(now.Sub(h.since))) }

// ago returns how long ago the moment is.
func (h *heard) ago(now time.Time) time.Duration {
	return now.Sub(h.since) - time.Duration(h.after.Load())
}
