package outbound

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// Bounds of one connection.
const (
	// Stall is how long a peer may take nothing before its session ends with
	// hub.CauseSlow.
	Stall = 30 * time.Second
	// Farewell is how long the end of a connection may take: the peer's answer
	// to a closing frame, and what is still to be written.
	Farewell = 5 * time.Second

	batchItems = 64       // items asked of a session at once
	batchBytes = 64 << 10 // bytes gathered for one write
	maxControl = 4 << 10  // control bytes that may wait
)

// ErrControl is returned by [Conn.Control] when too many control bytes wait.
var ErrControl = errors.New("too many control frames wait to be written")

// Codec turns what a session has to tell into a transport's bytes.
type Codec interface {
	// Append appends the item. It may end the session.
	Append(b []byte, it hub.Item) []byte
	// Goodbye appends what ends the stream, if anything.
	Goodbye(b []byte, cause hub.Cause) []byte
}

// Conn writes to one socket. It is its session's [hub.Waker]: make it with
// New, connect the session with it, then Start it. Methods are safe for
// concurrent use.
type Conn struct {
	group   *Group
	session *hub.Session
	codec   Codec
	nc      net.Conn

	mu      sync.Mutex
	state   state
	due     bool       // the session may have something to tell
	control []byte     // control frames that wait
	said    bool       // the stream's end is queued or written: nothing may follow
	until   time.Time  // when all must have been written; zero: as long as there is progress
	rested  *sync.Cond // state is no longer writing
}

type state uint8

const (
	fresh   state = iota // not started: wakes are remembered
	idle                 // nothing to write
	writing              // a goroutine writes
	broken               // the socket is of no use any more
)

// New returns a Conn of the group that is not started.
func New(g *Group) *Conn {
	c := &Conn{group: g}
	c.rested = sync.NewCond(&c.mu)
	return c
}

// Start begins to write the session's messages to nc. From now on nobody else
// may write to nc. [Conn.Finish] must be called in the end.
func (c *Conn) Start(nc net.Conn, s *hub.Session, codec Codec) {
	c.nc, c.session, c.codec = nc, s, codec
	c.group.add(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.due = idle, true
	c.kick()
}

// Wake implements [hub.Waker].
func (c *Conn) Wake(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = true
	c.kick()
}

// Control queues the bytes of whole control frames, which go out before what
// the session has to tell. With last they end the stream: nothing follows. It
// does not block and keeps no reference to p. After the stream's end the bytes
// are dropped.
func (c *Conn) Control(p []byte, last bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said || c.state == broken {
		return nil
	}
	if len(c.control)+len(p) > maxControl {
		return ErrControl
	}
	c.control = append(c.control, p...)
	if last {
		c.say()
	}
	c.kick()
	return nil
}

// say notes that the stream's end is queued. Called with mu held.
func (c *Conn) say() {
	c.said = true
	c.hurry()
}

// hurry bounds what is still to be written, from now on. Called with mu held.
func (c *Conn) hurry() {
	if c.until.IsZero() {
		c.until = time.Now().Add(Farewell)
		_ = c.nc.SetWriteDeadline(c.until) // for a write that is under way
	}
}

// kick starts the writer if it is needed. Called with mu held. The writer ends
// by itself when nothing is due; Finish waits for it.
func (c *Conn) kick() {
	if c.state == idle {
		c.state = writing
		go c.write()
	}
}

// batches are reused between writers.
var batches = sync.Pool{New: func() any {
	return &batch{items: make([]hub.Item, 0, batchItems), bytes: make([]byte, 0, 4<<10)}
}}

type batch struct {
	items []hub.Item // room for what a session tells
	left  []hub.Item // of items, what is not encoded yet
	bytes []byte
}

// write writes until nothing is due.
func (c *Conn) write() {
	b := batches.Get().(*batch)
	defer func() {
		if p := recover(); p != nil {
			c.session.Logger().Error("panic in a connection's writer", "panic", p, "stack", string(debug.Stack()))
			c.fail(hub.CauseInternal)
			return // b may be anything: let it go
		}
		clear(b.left)
		b.left = nil
		if cap(b.bytes) <= batchBytes+4<<10 {
			batches.Put(b)
		}
	}()
	for c.gather(b) {
		if err := c.flush(b.bytes); err != nil {
			c.fail(causeOf(err))
			return
		}
	}
}

// gather fills the batch with what is to be written next. It returns false,
// having made the connection idle, if there is nothing.
func (c *Conn) gather(b *batch) bool {
	b.bytes = b.bytes[:0]
	for {
		c.mu.Lock()
		b.bytes = append(b.bytes, c.control...)
		c.control = c.control[:0]
		if cap(c.control) > 256 {
			c.control = nil
		}
		said := c.said
		if len(b.bytes) == 0 && (said || !c.due) {
			c.rest(idle)
			c.mu.Unlock()
			return false
		}
		c.due = false
		c.mu.Unlock()
		if said {
			return true
		}
		c.fill(b)
		if len(b.bytes) > 0 {
			return true
		}
	}
}

// fill appends what the session has to tell, until there are batchBytes, and
// goodbye if it has ended.
func (c *Conn) fill(b *batch) {
	more := true
	for len(b.bytes) < batchBytes {
		if len(b.left) == 0 && more {
			b.left, more = c.session.Next(b.items[:0])
		}
		if len(b.left) == 0 {
			break
		}
		b.bytes = c.codec.Append(b.bytes, b.left[0])
		b.left[0] = hub.Item{}
		b.left = b.left[1:]
	}
	cause := c.session.Ended()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = c.due || more || len(b.left) > 0
	if cause == 0 || c.said {
		return
	}
	b.bytes = append(b.bytes, c.control...) // came meanwhile
	c.control = nil
	b.bytes = c.codec.Goodbye(b.bytes, cause)
	c.say()
	// The reader shall not wait longer than this for the peer's answer.
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
}

// flush writes p, however long it takes as long as there is progress and the
// end has not come.
func (c *Conn) flush(p []byte) error {
	for len(p) > 0 {
		if err := c.allow(); err != nil {
			return err
		}
		n, err := c.nc.Write(p)
		p = p[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}

// allow sets how long the next write may take.
func (c *Conn) allow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.until.IsZero() {
		return c.nc.SetWriteDeadline(c.until)
	}
	return c.nc.SetWriteDeadline(time.Now().Add(Stall))
}

// causeOf says what a failed write means.
func causeOf(err error) hub.Cause {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return hub.CauseSlow
	}
	return hub.CauseGone
}

// fail ends the session and cuts the socket, which wakes the reader.
func (c *Conn) fail(cause hub.Cause) {
	c.session.End(cause)
	_ = c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest(broken)
}

// rest ends the writer. Called with mu held.
func (c *Conn) rest(s state) {
	c.state = s
	c.rested.Broadcast()
}

// Finish is called by the reader when it is done and the session has ended. It
// closes the socket and returns when the writer has ended. With linger it first
// writes what waits and the goodbye, and gives the peer time to read: it closes
// its own half and discards what still comes, since a close with unread input
// would reset the connection and could take the closing frame with it (RFC
// 6455, section 7.1.1). It takes at most twice [Farewell].
func (c *Conn) Finish(linger bool) {
	c.mu.Lock()
	if linger {
		c.hurry()
		c.due = true
		c.kick()
	} else {
		_ = c.nc.Close()
	}
	for c.state == writing {
		c.rested.Wait()
	}
	c.state = broken
	c.mu.Unlock()
	if linger {
		c.linger()
		_ = c.nc.Close()
	}
	c.group.remove(c)
}

// maxLinger bounds what is discarded from a peer that goes on sending, in bytes.
const maxLinger = 1 << 20

func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
	_, _ = io.CopyN(io.Discard, c.nc, maxLinger)
}
