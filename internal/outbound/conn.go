package outbound

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// Bounds of one connection.
const (
	// Stall is how long a peer may accept no bytes before its session ends with
	// hub.CauseSlow.
	Stall = 30 * time.Second
	// Farewell is how long the end of a connection may take: the peer's answer
	// to a closing frame, and what is still to be written.
	Farewell = 5 * time.Second

	batchItems = 64       // items taken from a session, or from a group, at once
	batchBytes = 64 << 10 // bytes gathered for one write
	maxControl = 4 << 10  // control bytes that may wait
)

// ErrControl is returned by [Conn.Control] when too many control bytes wait.
var ErrControl = errors.New("too many control frames wait to be written")

// Codec encodes a session's items for a transport. Connections with equal codecs
// share the encoded bytes, so a Codec must be comparable (pointers are cheapest)
// and must hold nothing of a connection. It must be safe for concurrent use.
type Codec interface {
	// Append appends the encoded item. A cause other than 0 ends the session: the
	// transport cannot express the item.
	Append(b []byte, it hub.Item) ([]byte, hub.Cause)
	// Goodbye appends the bytes that end the stream, if the transport has any.
	Goodbye(b []byte, cause hub.Cause) []byte
}

// Conn is the only writer of one socket, and the [hub.Waker] of one session. Its
// life has a fixed order:
//
//	out := outbound.New(group, room, members)
//	session, err := h.Connect(client, out)
//	out.Start(nc, session, codec, reader) // or out.Relay: the handler keeps the connection
//	...
//	out.Finish(linger) // called by the connection's reader, once
//
// In between it writes the session's items as they come, and control frames that
// are queued by [Conn.Control]. One goroutine writes at a time: the worker of its
// shard or, while the peer is slow, one of its own. [Conn.Conclude] and
// [Conn.Finish] end the stream in order, [Conn.Cut] at once. A peer that accepts
// nothing for [Stall] ends its session with hub.CauseSlow. A Conn that was never
// started holds nothing and need not be finished. Methods are safe for concurrent
// use.
type Conn struct {
	// Guarded by mu. These fields are all that a delivery looks at, so they stand
	// together.
	mu        sync.Mutex
	state     state
	due       bool   // the session may have items
	endQueued bool   // the stream's end is queued or written: nothing may follow
	guarded   bool   // nc has a write deadline
	revoked   uint32 // the session's revocations when the bytes of this write were taken from it
	slow      bool   // the writer has a goroutine of its own, since the peer is slow
	looking   *watch // renews the deadline while the peer accepts something; may be nil
	// socket is nc's file descriptor. It is written to with mu held, so that nobody
	// closes it meanwhile. -1: nc is closed, or not a plain socket.
	socket int
	codec  Codec // set by Start

	// Set once, by New and Start or Relay.
	shard   *shard
	session *hub.Session
	nc      net.Conn
	reader  hub.Waker // the connection's reader, or the handler's loop if relayed

	// Owned by the writer.
	pending []hub.Item // items that the last buffer had no room for

	// Guarded by mu.
	control    []byte        // control frames that wait
	last       []byte        // ends the stream after all that is due; nil: none is set
	until      time.Time     // when everything must be written; zero: while there is progress
	writerDone chan struct{} // closed when the writer ends; nil: nobody waits for it
}

type state uint8

const (
	fresh   state = iota // not started: a wake only sets due
	relayed              // never to be started: wakes are passed to reader
	idle                 // nothing to write
	queued               // waits for its shard's worker
	writing              // the worker, or a goroutine of its own, is writing
	broken               // the socket is closed, or about to be
)

// New returns a Conn of the group, not started yet. The name of the room that its
// session will join, and how many members the room has, choose its shard.
func New(g *Group, room string, members int) *Conn {
	return &Conn{shard: g.shard(room, members)}
}

// Start begins to write the session's items to nc. From now on no other code may write
// to nc, and the connection's reader must call [Conn.Finish] in the end. The Conn wakes
// the reader when it has to end: a goodbye is on its way, and reading is bounded by
// [Farewell], or the socket was cut. reader.Wake is called from any goroutine and must
// not call the Conn. It may do nothing if the reader always waits in nc.Read.
func (c *Conn) Start(nc net.Conn, s *hub.Session, codec Codec, reader hub.Waker) {
	c.nc, c.session, c.reader = nc, s, reader
	c.shard.group.add(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codec, c.socket = codec, socketOf(nc)
	c.state, c.due = idle, true
	c.kick()
}

// NetConn returns what Start was given. It may be read from, with deadlines.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Relay is called instead of Start if the connection stays with its HTTP handler.
// From now on w is woken whenever [hub.Session.Next] may have items. It is woken
// with locks held and must not call the Conn or the session.
func (c *Conn) Relay(w hub.Waker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.reader = relayed, w
	w.Wake()
}

// Wake implements [hub.Waker]: the connection is queued for its shard's worker.
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = true
	c.kick()
}

// Revoke implements [hub.Revoker]: bytes that wait for a slow peer may be of a room that the
// session has lost, and cannot be told from others. So the connection ends; its client comes
// back with its cursors.
func (c *Conn) Revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow {
		c.until = time.Now()
		c.guard()
	}
}

// Dispatcher returns the shard, which writes batches to the session's connection: see
// [hub.Dispatcher].
func (c *Conn) Dispatcher() hub.Dispatcher { return c.shard }

// Control queues the bytes of whole control frames. They go out ahead of the
// session's later items. It does not block and keeps no reference to p. After the
// stream's end the bytes are dropped.
func (c *Conn) Control(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endQueued || c.state == broken {
		return nil
	}
	if len(c.control)+len(p) > maxControl {
		return ErrControl
	}
	c.control = append(c.control, p...)
	c.kick()
	return nil
}

// hurry gives [Farewell] to all that is still to be written. Called with mu held.
func (c *Conn) hurry() {
	if c.until.IsZero() {
		c.until = time.Now().Add(Farewell)
		c.guard() // a write may be under way
	}
}

// guard sets the deadline of the write that is under way, or comes next. Called with
// mu held.
func (c *Conn) guard() {
	deadline := c.until
	if deadline.IsZero() {
		deadline = time.Now().Add(slowness.stall)
		if c.looking != nil {
			deadline = deadline.Add(slowness.look) // for the last look
		}
	}
	c.guarded = true
	c.writeBy(deadline)
}

// writeBy sets nc's write deadline. It recovers, because a wrapper around the
// socket may panic while mu is held.
func (c *Conn) writeBy(deadline time.Time) {
	defer c.survive()
	_ = c.nc.SetWriteDeadline(deadline)
}

// errPanic is the error of a write that panicked.
var errPanic = errors.New("panic in a connection's write")

// write writes to nc. If a wrapper around the socket panics, the write fails with
// errPanic.
func (c *Conn) write(p []byte) (n int, err error) {
	n, err = 0, errPanic // the results if Write panics
	defer c.survive()
	return c.nc.Write(p)
}

// survive, deferred, recovers from a panic in a wrapper around the socket, so that
// it harms no other connection.
func (c *Conn) survive() {
	if p := recover(); p != nil {
		c.session.Logger().Error("panic in a connection", "panic", p, "stack", string(debug.Stack()))
	}
}

// kick queues the connection if nobody writes to it. Called with mu held.
func (c *Conn) kick() {
	switch c.state {
	case idle:
		c.state = queued
		c.shard.queue(c)
	case relayed:
		c.reader.Wake()
	default:
	}
}

// outcome is the result of deliver.
type outcome uint8

const (
	done  outcome = iota // nothing is left to do for the caller
	owned                // the caller is the connection's writer now, and has to write
	short                // as owned, and a part has been written
)

// deliver gives the connection the round's batch if that is exactly what the session
// needs next. Otherwise it queues the connection, to be served alone. If the batch is
// encoded already and the socket takes it without waiting, deliver writes it: mu is
// held for no longer than that. Otherwise the caller becomes the writer.
func (c *Conn) deliver(m *hub.Subscription, r *round) (o outcome, rest []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endQueued {
		return done, nil, nil // the session is about to end
	}
	if c.state != idle || !m.Advance(&r.batch) {
		c.due = true
		c.kick()
		return done, nil, nil
	}
	p, ok := r.known(c.codec)
	if !ok || c.socket < 0 {
		c.revoked = c.session.Revocations()
		c.state = writing
		return owned, nil, nil
	}
	if len(p) == 0 {
		return done, nil, nil
	}
	n, err := send(c.socket, p)
	if n == len(p) {
		return done, nil, nil
	}
	c.state, c.slow = writing, true // from now on Revoke finds it
	c.revoked = c.session.Revocations()
	return short, p[n:], err
}

// send writes what the socket takes without waiting. If ok is false this is not
// possible, and nothing has been written.
func (c *Conn) send(p []byte) (n int, err error, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket < 0 {
		return 0, nil, false
	}
	n, err = send(c.socket, p)
	return n, err, true
}

// serve makes the caller the connection's writer if it is still queued.
func (c *Conn) serve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != queued {
		return false
	}
	c.state = writing
	return true
}

// settle ends the caller's work as the writer. rest is what the socket did not take,
// err the error of the write.
func (c *Conn) settle(rest []byte, err error) {
	switch {
	case err != nil:
		c.fail(causeOf(err))
	case len(rest) > 0:
		c.setAside(rest)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopWriting(idle)
		if c.due || len(c.control) > 0 {
			c.kick()
		}
	}
}

// gather fills the buffer with the bytes to write next. If there are none it makes
// the connection idle and returns false.
func (c *Conn) gather(b *buffer) bool {
	b.bytes = b.bytes[:0]
	for {
		c.mu.Lock()
		b.bytes = append(b.bytes, c.control...)
		c.control = c.control[:0]
		if cap(c.control) > 256 {
			c.control = nil
		}
		if len(b.bytes) == 0 && (c.endQueued || !c.due) {
			c.stopWriting(idle)
			c.mu.Unlock()
			return false
		}
		c.due = false
		c.revoked = c.session.Revocations()
		c.mu.Unlock()
		c.fill(b)
		if len(b.bytes) > 0 {
			return true
		}
	}
}

// fill appends the session's items, until there are batchBytes, and the goodbye if
// the session has ended.
func (c *Conn) fill(b *buffer) {
	items, more := c.pending, true
	if c.pending = nil; len(items) > 0 && c.session.Revocations() > 0 {
		items = c.session.Still(items)
	}
	ahead := len(b.bytes) // where the session's items begin
	for len(b.bytes) < batchBytes {
		if len(items) == 0 && more {
			items, more = c.session.Next(b.items[:0])
		}
		if len(items) == 0 {
			break
		}
		var cause hub.Cause
		if b.bytes, cause = c.codec.Append(b.bytes, items[0]); cause != 0 {
			c.session.End(cause)
			items = nil
			break
		}
		items[0] = hub.Item{}
		items = items[1:]
	}
	if len(items) > 0 {
		c.pending, b.items = items, make([]hub.Item, 0, batchItems)
	}
	cause := c.session.Ended()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = c.due || more || len(items) > 0
	if len(c.control) > 0 { // queued meanwhile: they go ahead of the items
		b.bytes = slices.Insert(b.bytes, ahead, c.control...)
		c.control = c.control[:0]
	}
	if cause == 0 && (c.last == nil || c.due) {
		return
	}
	if c.last != nil {
		b.bytes = append(b.bytes, c.last...)
	} else {
		b.bytes = c.codec.Goodbye(b.bytes, cause)
	}
	c.endQueued = true
	c.hurry()
	// The reader must not wait longer than this for the peer's answer.
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
	c.reader.Wake()
}

// causeOf returns the cause with which a failed write ends the session.
func causeOf(err error) hub.Cause {
	switch {
	case errors.Is(err, errPanic):
		return hub.CauseInternal
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hub.CauseSlow
	default:
		return hub.CauseGone
	}
}

// fail ends the session and cuts the socket, which wakes the reader.
func (c *Conn) fail(cause hub.Cause) {
	c.session.End(cause)
	c.Cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = nil
	c.stopWriting(broken)
}

// stopWriting ends the writer, and leaves the connection in the state. Called with mu
// held.
func (c *Conn) stopWriting(s state) {
	c.state, c.slow = s, false
	c.looking.stop()
	c.looking = nil
	if c.guarded && c.until.IsZero() {
		c.guarded = false
		c.writeBy(time.Time{})
	}
	if c.writerDone != nil {
		close(c.writerDone)
		c.writerDone = nil
	}
}
