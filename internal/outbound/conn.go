package outbound

import (
	"errors"
	"io"
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
	// Stall is how long a peer may take nothing before its session ends with
	// hub.CauseSlow.
	Stall = 30 * time.Second
	// Farewell is how long the end of a connection may take: the peer's answer
	// to a closing frame, and what is still to be written.
	Farewell = 5 * time.Second

	batchItems = 64       // items asked of a session, or of a group, at once
	batchBytes = 64 << 10 // bytes gathered for one write
	maxControl = 4 << 10  // control bytes that may wait
)

// ErrControl is returned by [Conn.Control] when too many control bytes wait.
var ErrControl = errors.New("too many control frames wait to be written")

// Codec turns what a session has to tell into a transport's bytes. Connections
// whose codecs are equal share what is encoded, so a Codec is comparable, best
// a pointer, and keeps nothing of a connection. It is used by many goroutines at
// once.
type Codec interface {
	// Append appends the item. A cause ends the session: the item cannot be
	// told.
	Append(b []byte, it hub.Item) ([]byte, hub.Cause)
	// Goodbye appends what ends the stream, if anything.
	Goodbye(b []byte, cause hub.Cause) []byte
}

// Conn writes to one socket. It is its session's [hub.Waker]: make it with
// New, connect the session with it, then Start it. Methods are safe for
// concurrent use.
type Conn struct {
	// What a delivery looks at stands together.
	mu      sync.Mutex
	state   state
	due     bool   // the session may have something to tell
	said    bool   // the stream's end is queued or written: nothing may follow
	guarded bool   // nc has a deadline for writing
	looking *watch // renews it while the peer takes something; nil: nobody does
	// socket is nc's file descriptor, which is written to with mu held: nobody
	// closes it meanwhile. -1: nc.Write may wait, or nc is closed.
	socket int
	codec  Codec

	// Set by New and Start.
	shard   *shard
	session *hub.Session
	nc      net.Conn
	reader  hub.Waker // of Relay, if the connection is relayed

	left []hub.Item // what the last buffer had no room for; the writer's

	// Guarded by mu.
	control []byte        // control frames that wait
	last    []byte        // ends the stream once all is told that is due; nil: nothing does
	until   time.Time     // when all must have been written; zero: as long as there is progress
	rested  chan struct{} // closed when the writer ends; nil: nobody waits for that
}

type state uint8

const (
	fresh   state = iota // not started: wakes are remembered
	relayed              // never to be started: wakes are passed on
	idle                 // nothing to write
	queued               // waits for its shard's worker
	writing              // the worker, or a goroutine of its own, writes
	broken               // the socket is of no use any more
)

// New returns a Conn of the group that is not started, for a session that will
// join the room, which has so many members.
func New(g *Group, room string, members int) *Conn {
	return &Conn{shard: g.shard(room, members)}
}

// Start begins to write the session's messages to nc. From now on nobody else
// may write to nc. [Conn.Finish] must be called in the end, by the connection's
// reader: it is woken when it has to come to its end, because a goodbye was
// said, which leaves it [Farewell], or because the socket was cut. Wake is then
// called from any goroutine, and must not call back. A reader that always waits
// in nc.Read may do nothing in it.
func (c *Conn) Start(nc net.Conn, s *hub.Session, codec Codec, reader hub.Waker) {
	c.nc, c.session, c.reader = nc, s, reader
	c.shard.group.add(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codec, c.socket = codec, socketOf(nc)
	c.state, c.due = idle, true
	c.kick()
}

// Relay is called in place of Start where the connection stays with its handler:
// w is woken from now on when there is something for [hub.Session.Next]. It is
// called with locks held and must not call back.
func (c *Conn) Relay(w hub.Waker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.reader = relayed, w
	w.Wake()
}

// Wake implements [hub.Waker].
func (c *Conn) Wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = true
	c.kick()
}

// Dispatcher makes the shard the session's dispatcher, see [hub.Dispatcher].
func (c *Conn) Dispatcher() hub.Dispatcher { return c.shard }

// Control queues the bytes of whole control frames, which go out before what
// the session is told later. With last they end the stream: what has been gathered
// goes out before them, and nothing follows. It does not block and keeps no
// reference to p. After the stream's end the bytes are dropped.
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
		c.guard() // for a write that is under way
	}
}

// guard bounds the write that is under way. Called with mu held.
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

// writeBy sets the deadline for writing. That of a wrapper may do anything, and
// mu is held.
func (c *Conn) writeBy(deadline time.Time) {
	defer c.survive()
	_ = c.nc.SetWriteDeadline(deadline)
}

// errPanic is what a write comes to that panics.
var errPanic = errors.New("panic in a connection's write")

// write writes to nc. What is wrapped around a socket may do anything, and shall
// cost this session alone.
func (c *Conn) write(p []byte) (n int, err error) {
	n, err = 0, errPanic // if Write does not return
	defer c.survive()
	return c.nc.Write(p)
}

// survive, deferred, sees to it that what a wrapper of the connection does harms
// nobody else.
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

// outcome says how far deliver came.
type outcome uint8

const (
	done  outcome = iota // nothing is left to do for the caller
	owned                // the caller is the connection's writer, and has to write
	short                // the same, and a part has been written
)

// deliver gives the connection the batch's bytes if it is due exactly that.
// Otherwise it will be served by itself. If the bytes are there already and the
// socket takes them without waiting, they are written here: no lock is held
// longer than such a write takes.
func (c *Conn) deliver(m *hub.Subscription, r *round) (o outcome, rest []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said {
		return done, nil, nil // the session is about to end
	}
	if c.state != idle || !m.Advance(&r.batch) {
		c.due = true
		c.kick()
		return done, nil, nil
	}
	p, ok := r.known(c.codec)
	if !ok || c.socket < 0 {
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
	c.state = writing
	return short, p[n:], err
}

// send writes what the socket takes without waiting. It is not ok, and nothing
// is written, if that cannot be.
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

// settle ends the writer's work with what is left of it.
func (c *Conn) settle(rest []byte, err error) {
	switch {
	case err != nil:
		c.fail(causeOf(err))
	case len(rest) > 0:
		c.setAside(rest)
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rest(idle)
		if c.due || len(c.control) > 0 {
			c.kick()
		}
	}
}

// gather fills the buffer with what is to be written next. It returns false,
// having made the connection idle, if there is nothing.
func (c *Conn) gather(b *buffer) bool {
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
func (c *Conn) fill(b *buffer) {
	left, more := c.left, true
	c.left = nil
	ahead := len(b.bytes) // of what the session has to tell
	for len(b.bytes) < batchBytes {
		if len(left) == 0 && more {
			left, more = c.session.Next(b.items[:0])
		}
		if len(left) == 0 {
			break
		}
		var cause hub.Cause
		if b.bytes, cause = c.codec.Append(b.bytes, left[0]); cause != 0 {
			c.session.End(cause)
			left = nil
			break
		}
		left[0] = hub.Item{}
		left = left[1:]
	}
	if len(left) > 0 {
		c.left, b.items = left, make([]hub.Item, 0, batchItems)
	}
	cause := c.session.Ended()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = c.due || more || len(left) > 0
	if c.said {
		return
	}
	if len(c.control) > 0 { // came meanwhile, and before some of what was gathered
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
	c.say()
	// The reader shall not wait longer than this for the peer's answer.
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
	c.reader.Wake()
}

// causeOf says what a failed write means.
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
	c.left = nil
	c.rest(broken)
}

// rest ends the writer. Called with mu held.
func (c *Conn) rest(s state) {
	c.state = s
	c.looking.stop()
	c.looking = nil
	if c.guarded && c.until.IsZero() {
		c.guarded = false
		c.writeBy(time.Time{})
	}
	if c.rested != nil {
		close(c.rested)
		c.rested = nil
	}
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
		c.mu.Unlock()
		c.Cut()
		c.mu.Lock()
	}
	for c.state == writing || c.state == queued {
		c.await()
	}
	c.state = broken
	c.mu.Unlock()
	if linger {
		c.linger()
		c.Cut()
	}
	c.shard.group.remove(c)
}

// Conclude tells what the session is due, then last, which ends the stream:
// nothing follows. It returns when all is written, or [Farewell] is over. It is
// for the reader, whose peer has said goodbye.
func (c *Conn) Conclude(last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.due = last, true
	c.hurry()
	c.kick()
	for c.state == writing || c.state == queued {
		c.await()
	}
}

// await waits until the writer ends, or begins anew. Called with mu held.
func (c *Conn) await() {
	if c.rested == nil {
		c.rested = make(chan struct{})
	}
	rested := c.rested
	c.mu.Unlock()
	<-rested
	c.mu.Lock()
}

// Cut closes the socket at once, and wakes the reader: both it and the writer
// then come to their end. (A tls.Conn's own Close would try to say goodbye for
// five seconds to a peer that does not read.)
func (c *Conn) Cut() {
	c.mu.Lock()
	c.socket = -1
	c.mu.Unlock()
	c.close()
	c.reader.Wake()
}

func (c *Conn) close() {
	defer c.survive()
	nc := c.nc
	if under, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = under.NetConn()
	}
	_ = nc.Close()
}

// maxLinger bounds what is discarded from a peer that goes on sending, in bytes.
const maxLinger = 1 << 20

func (c *Conn) linger() {
	defer c.survive()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
	_, _ = io.CopyN(io.Discard, c.nc, maxLinger)
}
