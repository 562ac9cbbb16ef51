package outbound

import (
	"errors"
	"os"
	"runtime/debug"
	"sync"

	"github.com/caddy-realtime/realtime/hub"
)

// The part of Conn that waits: a peer whose socket is full has a goroutine of
// its own until it has caught up.

// buffer is what a writer gathers.
type buffer struct {
	items []hub.Item // room for what a session tells
	bytes []byte
}

// buffers are reused between writers.
var buffers = sync.Pool{New: func() any {
	return &buffer{items: make([]hub.Item, 0, batchItems), bytes: make([]byte, 0, 4<<10)}
}}

// free gives the buffer to the next writer, unless it has grown.
func (b *buffer) free() {
	if cap(b.bytes) <= batchBytes+4<<10 {
		buffers.Put(b)
	}
}

// setAside hands the connection to a goroutine of its own, beginning with what
// its socket did not take. It keeps no reference to rest.
func (c *Conn) setAside(rest []byte) {
	if !c.shard.group.wait(int64(len(rest))) {
		c.fail(hub.CauseSlow)
		return
	}
	rest = append([]byte(nil), rest...)
	go func() { // ends when the peer has caught up or takes nothing for Stall; Finish waits for it
		c.drain(rest, int64(len(rest)))
	}()
}

// drain writes rest, of which so many bytes are counted as waiting, and then
// all that is due, however slow the peer is.
func (c *Conn) drain(rest []byte, waiting int64) {
	b := buffers.Get().(*buffer)
	defer func() {
		c.shard.group.wait(-waiting)
		if p := recover(); p != nil {
			c.session.Logger().Error("panic in a connection's writer", "panic", p, "stack", string(debug.Stack()))
			c.fail(hub.CauseInternal)
			return // b may be anything: let it go
		}
		b.free()
	}()
	c.attend()
	err := c.flush(rest)
	for err == nil {
		c.shard.group.wait(-waiting)
		waiting = 0
		if !c.gather(b) {
			return
		}
		if !c.shard.group.wait(int64(len(b.bytes))) {
			c.fail(hub.CauseSlow)
			return
		}
		waiting = int64(len(b.bytes))
		err = c.flush(b.bytes)
	}
	c.fail(causeOf(err))
}

// flush writes p, however long it takes as long as there is progress and the
// end has not come.
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

// fatal reports whether a write that took n bytes was the last: a deadline that
// met a peer which takes something has to be set anew.
func fatal(n int, err error) bool {
	return err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded))
}
