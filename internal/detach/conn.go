// Package detach is the life of a connection that has left net/http. It is the same on
// every transport: the reader reads what is there and then parks the connection, so
// that an idle one has no goroutine; a heartbeat shows the peer that it is alive; and
// it ends once, in order.
//
// A transport embeds a [Conn] in the struct of its own connection, and supplies what
// differs, a [Transport].
package detach

import (
	"errors"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// Transport is the part of a connection that differs between transports.
type Transport interface {
	// Receive handles what the peer sends, which it gets from [Conn.Read]. If Read
	// returns [netpoll.ErrIdle] so does Receive, and is called again when there is more.
	// Any other result, also nil, ends the connection. If Receive or End panics, the
	// session ends with hub.CauseInternal.
	Receive() error
	// End ends the session with the cause of Receive's result. It reports whether the
	// peer is to get time to read the goodbye. It is called once, after the last Receive.
	End(err error) (linger bool)
	// Beat shows the peer that the connection is alive. It is called at each heartbeat
	// until the session ends, by a timer: it must not block.
	Beat()
	// Attrs names the transport, and counts what it alone counts, for the log.
	Attrs() []any
}

// Conn is a connection that has left net/http. The first three fields are set before
// [Conn.Start] and not changed after it. The methods are for the Transport, except Wake.
type Conn struct {
	Session   *hub.Session
	Out       *outbound.Conn // the session's waker, which knows the socket
	Heartbeat time.Duration  // between calls of Beat; 0: none

	// Set once, by Start.
	transport Transport
	polled    *netpoll.Conn // nil: a goroutine waits in Read
	timer     *time.Timer   // of the heartbeat; nil: there is none

	leaving atomic.Bool // the end is near and bounded in time: do not park any more

	// Owned by the goroutine that executes run.
	farewell bool // the read deadline is that of the end
}

// Start begins to read from nc and to write to it, and returns. The Conn will close nc.
func (c *Conn) Start(nc net.Conn, p *netpoll.Poller, codec outbound.Codec, t Transport) {
	c.transport = t
	c.polled, _ = p.Watch(nc, c.run)
	c.Out.Start(nc, c.Session, codec, c)
	if c.Heartbeat > 0 {
		c.timer = time.AfterFunc(time.Hour, c.beat)
		c.timer.Reset(c.interval()) // not before: beat reads c.timer
	}
	// It parks the connection, or ends with it: outbound.Group.Wait waits for that.
	go c.run()
}

// Wake implements hub.Waker, for the reader: see outbound.Conn.Start.
func (c *Conn) Wake() {
	c.leaving.Store(true)
	if c.polled != nil {
		c.polled.Interrupt()
	}
}

// run reads. When there is nothing to read it parks the connection; when the
// connection ends it finishes it.
func (c *Conn) run() {
	err := c.receive()
	if errors.Is(err, netpoll.ErrIdle) {
		c.polled.Arm() // another call of run may own it now: nothing may follow
		return
	}
	linger := c.end(err)
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.polled != nil {
		c.polled.Stop()
	}
	c.Out.Finish(linger)
	c.logEnd()
}

// errPanic is the result of a Receive that panicked.
var errPanic = errors.New("panic in a connection's reader")

// receive has the transport receive.
func (c *Conn) receive() (err error) {
	err = errPanic // the result if Receive panics
	defer c.survive()
	return c.transport.Receive()
}

// end has the transport end the session.
func (c *Conn) end(err error) (linger bool) {
	defer c.survive()
	return c.transport.End(err)
}

// survive, deferred, ends the session of a transport that has panicked.
func (c *Conn) survive() {
	if p := recover(); p != nil {
		c.Session.Logger().Error("panic in a connection's reader", "panic", p, "stack", string(debug.Stack()))
		c.Session.End(hub.CauseInternal)
	}
}

// Leaving reports whether the end is near. Then what is still to be read must come
// within [outbound.Farewell].
func (c *Conn) Leaving() bool {
	leaving := c.leaving.Load()
	if leaving && !c.farewell {
		c.farewell = true
		_ = c.Out.NetConn().SetReadDeadline(time.Now().Add(outbound.Farewell))
	}
	return leaving
}

// Read reads what the peer has sent. With wait it waits for something to come;
// otherwise, if there is nothing and the connection can be parked, it returns
// [netpoll.ErrIdle]. A transport waits where it cannot stop, and once the connection
// is leaving.
func (c *Conn) Read(p []byte, wait bool) (int, error) {
	if c.polled != nil && !wait {
		return c.polled.TryRead(p)
	}
	return c.Out.NetConn().Read(p)
}

// beat is the heartbeat, a timer that runs until the session ends.
func (c *Conn) beat() {
	if c.Session.Ended() == 0 {
		c.timer.Reset(c.interval())
		c.transport.Beat()
	}
}

// interval returns the time to the next beat: Heartbeat less a random part of up to a
// tenth, so that connections made at the same moment do not beat together.
func (c *Conn) interval() time.Duration { return c.Heartbeat - rand.N(c.Heartbeat/10+1) }

func (c *Conn) logEnd() {
	sent, _ := c.Session.Counts()
	c.Session.Logger().With(c.transport.Attrs()...).Debug("connection ended", "cause", c.Session.Ended().String(),
		"duration", time.Since(c.Session.Since()), "sent", sent)
}
