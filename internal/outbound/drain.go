package outbound

import (
	"errors"
	"os"
	"runtime/debug"
	"sync"

	"github.com/caddy-realtime/realtime/hub"
)

// The part of Conn for slow peers: a connection whose socket is full has a goroutine
// of its own until the peer has caught up.

// buffer is where a writer gathers the bytes of its next write.
type buffer struct {
	items []hub.Item // room for a session's items
	bytes []byte
}

// buffers are reused between writers.
var buffers = sync.Pool{New: func() any {
	return &buffer{items: make([]hub.Item, 0, batchItems), bytes: make([]byte, 0, 4<<10)}
}}

// free returns the buffer to the pool, unless it has grown.
func (b *buffer) free() {
	if cap(b.bytes) <= batchBytes+4<<10 {
		buffers.Put(b)
	}
}

// setAside hands the connection to a goroutine of its own, which begins with rest,
// the bytes that the socket did not take. It keeps no reference to rest.
func (c *Conn) setAside(rest []byte) {
	if !c.shard.group.countWaiting(int64(len(rest))) {
		c.fail(hub.CauseSlow)
		return
	}
	rest = append([]byte(nil), rest...)
	go func() { // ends when the peer has caught up or accepts nothing for Stall; Finish waits for it
		c.drain(rest, int64(len(rest)))
	}()
}

// drain writes rest and then all that is due, however slow the peer is. waiting is
// how many bytes of rest the group counts as waiting.
func (c *Conn) drain(rest []byte, waiting int64) {
	b := buffers.Get().(*buffer)
	defer func() {
		c.shard.group.countWaiting(-waiting)
		if p := recover(); p != nil {
			c.session.Logger().Error("panic in a connection's writer", "panic", p, "stack", string(debug.Stack()))
			c.fail(hub.CauseInternal)
			return // b may be in any state: drop it
		}
		b.free()
	}()
	c.attend()
	err := c.flush(rest)
	for err == nil {
		c.shard.group.countWaiting(-waiting)
		waiting = 0
		if !c.gather(b) {
			return
		}
		if !c.shard.group.countWaiting(int64(len(b.bytes))) {
			c.fail(hub.CauseSlow)
			return
		}
		waiting = int64(len(b.bytes))
		err = c.flush(b.bytes)
	}
	c.fail(causeOf(err))
}

// flush writes p, however long it takes, while the peer accepts something and the
// time for the end is not over.
func (c *Conn) flush(p []byte) error {
	for len(p) > 0 {
		c.mu.Lock()
		some := p
		if c.looking == nil && len(p) > unwatched {
			some = p[:unwatched]
		}
		c.guard()
		c.mu.Unlock()
		n, err := c.write(some)
		p = p[n:]
		if fatal(n, err) {
			return err
		}
	}
	return nil
}

// fatal reports whether a write of n bytes was the last. If a deadline has passed
// although the peer accepts something, it only has to be set again.
func fatal(n int, err error) bool {
	return err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded))
}
