package ws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/secret"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws/frame"
)

const (
	// messageTime bounds how long one message may take to arrive.
	messageTime = 60 * time.Second
	// maxRefused is how many messages in a row may be refused for their rate
	// before the connection ends with 4429.
	maxRefused = 10
)

// Options describes one connection. It speaks one of three ways: with Session,
// frames are commands and objects (realtime.v1); with Envelope alone, what the client
// sends is published as it is and what it gets are envelopes and control objects;
// with neither, both directions carry bare data, which cannot express gaps and
// errors: they end the connection.
//
// Hub, Group, Poller and Client must be set. Without Session there is exactly one
// room; with it there may be any number, and none means that the client joins rooms
// by command. The zero value of every other field switches its feature off.
type Options struct {
	Hub         *hub.Hub
	Group       *outbound.Group
	Poller      *netpoll.Poller // where idle connections wait
	Client      hub.Client
	Rooms       []protocol.JoinRequest // joined before the upgrade
	Session     bool                   // speak realtime.v1; implies Envelope
	Envelope    bool                   // send envelopes and control objects instead of bare data
	Compression bool                   // accept permessage-deflate (RFC 7692) if it is offered
	Subprotocol string                 // chosen by the negotiation; empty: none
	Heartbeat   time.Duration          // between pings; 0: no pings
}

// Serve joins the rooms, upgrades the request to a WebSocket and returns; the
// connection then lives on its own, until the session ends or the peer goes. The
// handshake must have been checked by [CheckHandshake].
//
// An error refuses the request: nothing has been written, and protocol.ProblemOf
// turns it into the answer. If the upgrade itself fails coder/websocket has answered
// and Serve returns nil. Options is not kept.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	o.Envelope = o.Envelope || o.Session
	shardKey := secret.NewID() // no room yet: pick a random shard
	if len(o.Rooms) > 0 {
		shardKey = o.Rooms[0].Room
	}
	out := outbound.New(o.Group, shardKey, o.Hub.SubscriberCount(shardKey))
	session, err := o.Hub.Connect(o.Client, out)
	if err != nil {
		return err
	}
	c := &conn{hub: o.Hub, out: out, session: session, commands: o.Session, envelope: o.Envelope, heartbeat: o.Heartbeat}
	c.activity.since = session.Since()
	started := false
	defer func() {
		if !started {
			session.End(hub.CauseGone)
			if c.nc != nil {
				_ = c.nc.Close()
			}
		}
	}()
	if err := c.open(r.Context(), &o); err != nil {
		return err
	}
	if !c.upgrade(w, r, &o) {
		return nil // coder/websocket has answered
	}
	c.activity.note(time.Now())
	c.polled, _ = o.Poller.Watch(c.nc, c.run)
	started = true
	out.Start(c.nc, session, codecs[codec{o.Envelope, c.in.Deflate, o.Client.Presence}], c)
	c.stopBeat = outbound.Beat(o.Heartbeat, c.beat)
	// It parks the connection, or ends with it: outbound.Group.Wait waits for that.
	go c.run()
	return nil
}

// open joins the rooms and queues the opening, the first frame of the connection.
func (c *conn) open(ctx context.Context, o *Options) error {
	opening := protocol.Opening{Conn: c.session.ID(), User: o.Client.User, Heartbeat: o.Heartbeat, MaxMessage: o.Hub.Settings().LargestMessage()}
	if c.commands {
		c.session.Notify(opening.Ready())
		for _, room := range o.Rooms {
			if _, err := c.session.Subscribe(ctx, room.Room, room.Answered()); err != nil {
				return err
			}
		}
		return nil
	}
	c.room = o.Rooms[0].Room
	joined, err := c.session.Subscribe(ctx, c.room, o.Rooms[0].Start)
	if err == nil && c.envelope {
		opening.Cursor = joined.Cursor.String()
		opening.MaxMessage = o.Hub.MaxMessageSize(c.room)
		c.session.Notify(opening.Ready())
	}
	return err
}

// upgrade makes the handshake. The library that does it is dropped at once: it keeps
// more for a connection than everything else together.
func (c *conn) upgrade(w http.ResponseWriter, r *http.Request, o *Options) bool {
	opts := &websocket.AcceptOptions{InsecureSkipVerify: true} // origins were checked
	if o.Subprotocol != "" {
		opts.Subprotocols = []string{o.Subprotocol}
	}
	answer := ""
	if o.Compression {
		// The library accepts offers that RFC 7692 says to decline, so we answer.
		answer = agreeOnDeflate(r.Header.Values(extensionHeader))
	}
	if answer != "" {
		w.Header().Set(extensionHeader, answer)
	}
	through, spy := protocol.Plant(w, nil)
	accepted, err := websocket.Accept(&hijacker{ResponseWriter: through, spy: spy, conn: c}, r, opts)
	if err != nil {
		return false
	}
	_ = accepted.CloseNow() // it closes nothing, see handshaken
	// A handler before us may have removed the answer. Then it binds neither side.
	c.in.Deflate = answer != "" && w.Header().Get(extensionHeader) == answer
	return true
}

// conn is one connection. It outlives the request and keeps nothing of it.
type conn struct {
	// Set once.
	hub       *hub.Hub
	out       *outbound.Conn
	session   *hub.Session
	nc        net.Conn
	polled    *netpoll.Conn // nil: a goroutine waits in nc.Read
	room      string        // empty if commands name the rooms
	heartbeat time.Duration
	stopBeat  func()
	commands  bool // the peer speaks realtime.v1
	envelope  bool

	// Safe for concurrent use.
	leaving  atomic.Bool // the end is near and bounded in time: do not park any more
	activity activity    // when something last came from the peer

	// Owned by the goroutine that executes run.
	in       frame.Reader
	bounded  bool  // the read deadline is that of a message
	renew    bool  // another message has begun, which needs a deadline of its own
	farewell bool  // the read deadline is that of the end
	refused  uint8 // publications refused in a row for their rate
	rubbish  uint8 // malformed commands in a row
}

// Wake implements hub.Waker, for the reader: see outbound.Conn.Start.
func (c *conn) Wake() {
	c.leaving.Store(true)
	if c.polled != nil {
		c.polled.Interrupt()
	}
}

// run reads. When there is nothing to read it parks the connection; when the
// connection ends it finishes it.
func (c *conn) run() {
	parked, linger := false, false
	defer func() {
		if parked {
			return // another call of run may own it by now
		}
		if p := recover(); p != nil {
			c.session.Logger().Error("panic in a WebSocket's reader", "panic", p, "stack", string(debug.Stack()))
			c.session.End(hub.CauseInternal)
		}
		c.stopBeat()
		if c.polled != nil {
			c.polled.Stop()
		}
		c.out.Finish(linger)
		c.logEnd()
	}()
	err := c.read()
	if parked = errors.Is(err, netpoll.ErrIdle); parked {
		c.polled.Arm()
		return
	}
	linger = c.end(err)
}

// read handles what comes from the peer until there is nothing to read, or an error.
func (c *conn) read() error {
	for {
		event, err := c.in.Next(c.receive, c.limit)
		if err != nil {
			return err
		}
		c.completed()
		switch event.Op {
		case frame.Ping:
			err = c.out.Control(frame.AppendFrame(nil, frame.Pong, event.Data))
		case frame.Pong:
		case frame.Close:
			return &closed{event.Data}
		default:
			err = c.take(event)
		}
		if err != nil {
			return err
		}
	}
}

// completed lifts the deadline of the message that was just read. If the same bytes
// have begun another message, that one gets a deadline of its own.
func (c *conn) completed() {
	switch {
	case !c.bounded:
	case c.in.AtBorder():
		c.bounded, c.renew = false, false
		c.bound(time.Time{})
	case !c.in.InMessage():
		c.renew = true
	}
}

// take handles one message. It returns an error if the connection must end.
func (c *conn) take(event frame.Event) error {
	switch {
	case c.session.Ended() != 0:
		return hub.ErrEnded
	case c.commands:
		return c.command(event)
	default:
		return c.publish(event)
	}
}

// closed is the peer's closing frame.
type closed struct{ payload []byte }

func (*closed) Error() string { return "the peer has closed" }

// receive reads bytes for the frame reader. Between two messages it does not wait if
// the connection can be parked.
func (c *conn) receive(p []byte) (n int, err error) {
	leaving := c.leaving.Load()
	switch {
	case leaving && !c.farewell:
		c.farewell = true
		_ = c.nc.SetReadDeadline(time.Now().Add(outbound.Farewell))
	case !leaving && (!c.bounded || c.renew) && !c.in.AtBorder():
		c.bounded, c.renew = true, false
		c.bound(time.Now().Add(messageTime))
	}
	if c.polled != nil && !leaving && c.in.AtBorder() {
		n, err = c.polled.TryRead(p)
	} else {
		n, err = c.nc.Read(p)
	}
	if n > 0 {
		c.activity.note(time.Now())
	}
	return n, err
}

// bound sets the read deadline. If the session has ended, that of the end wins.
func (c *conn) bound(t time.Time) {
	_ = c.nc.SetReadDeadline(t)
	if c.session.Ended() != 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(outbound.Farewell))
	}
}

// limit returns how many bytes the next message may have.
func (c *conn) limit() int64 {
	if !c.commands {
		return int64(c.hub.MaxMessageSize(c.room))
	}
	return protocol.MaxCommand(c.hub.Settings().LargestMessage())
}

// publish publishes one message. It returns an error if the connection must end.
func (c *conn) publish(event frame.Event) error {
	p := hub.Publication{Room: c.room, Kind: hub.Binary, Data: event.Data}
	if event.Op == frame.Text {
		p.Kind, p.Data, _ = protocol.Content("", event.Data) // UTF-8 is no error
	}
	_, err := c.session.Publish(context.Background(), p)
	if err == nil {
		c.refused = 0
		return nil
	}
	if errors.Is(err, limit.ErrRate) {
		c.refused++
	}
	if !c.envelope || c.refused > maxRefused || errors.Is(err, limit.ErrTooLarge) || errors.Is(err, hub.ErrEnded) {
		// Bare data cannot express an error.
		return err
	}
	c.session.Notify(protocol.Error(protocol.ProblemOf(err)))
	return nil
}

// end ends the session with the cause of err. It reports whether the peer is to get
// time to read the closing frame.
func (c *conn) end(err error) (linger bool) {
	var bye *closed
	cause := hub.CauseGone
	switch {
	case errors.As(err, &bye):
		// What was due before the peer closed goes out before the answer.
		c.out.Conclude(frame.AppendFrame(nil, frame.Close, bye.payload))
		cause = hub.CauseLeft
	case errors.Is(err, frame.ErrProtocol):
		cause = hub.CauseProtocol
	case errors.Is(err, frame.ErrInvalidText):
		cause = hub.CauseInvalid
	case errors.Is(err, errRubbish):
		cause = hub.CauseCommand
	case errors.Is(err, frame.ErrTooLarge), errors.Is(err, limit.ErrTooLarge):
		cause = hub.CauseTooLarge
	case errors.Is(err, limit.ErrRate):
		cause = hub.CauseRate
	case errors.Is(err, hub.ErrDraining):
		cause = hub.CauseDraining
	case errors.Is(err, hub.ErrEnded):
		return true
	case errors.Is(err, outbound.ErrControl):
		cause = hub.CauseSlow
	case errors.Is(err, limit.ErrFull):
		cause = hub.CauseInternal
	}
	c.session.End(cause)
	return cause != hub.CauseGone
}

// beat pings the peer, or cuts the connection if nothing has come for two heartbeats.
func (c *conn) beat() bool {
	if c.session.Ended() != 0 {
		return false
	}
	if c.activity.ago(time.Now()) > 2*c.heartbeat {
		c.session.End(hub.CauseGone)
		c.out.Cut()
		return false
	}
	_ = c.out.Control(pingFrame) // an error will end the writer
	return true
}

func (c *conn) logEnd() {
	sent, published := c.session.Counts()
	c.session.Logger().Debug("connection ended", "transport", "websocket", "cause", c.session.Ended().String(),
		"duration", time.Since(c.session.Since()), "sent", sent, "published", published)
}
