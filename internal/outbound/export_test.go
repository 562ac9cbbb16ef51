package outbound

import "time"

// Concluding reports whether Conclude has been called.
func (c *Conn) Concluding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last != nil
}

// Hurry shortens how long a peer may take nothing, and how often a slow one is
// looked at, and returns what undoes that. No connection may be open.
func Hurry(stall, look time.Duration) (undo func()) {
	before := slowness
	slowness.stall, slowness.look = stall, look
	return func() { slowness = before }
}
