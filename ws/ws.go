package ws

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/secret"
	"github.com/caddy-realtime/realtime/internal/detach"
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
	if o.Envelope {
		o.Client.Tell = protocol.Change
	}
	o.Client.Bound = !o.Session
	session, err := o.Hub.Connect(o.Client, out)
	if err != nil {
		return err
	}
	c := &conn{
		Conn: detach.Conn{Session: session, Out: out, Heartbeat: o.Heartbeat},
		hub:  o.Hub, commands: o.Session, envelope: o.Envelope,
	}
	c.activity.since = session.Since()
	var nc net.Conn
	defer func() {
		if nc == nil { // not upgraded
			session.End(hub.CauseGone)
		}
	}()
	if err := c.open(r.Context(), &o); err != nil {
		return err
	}
	if nc = c.upgrade(w, r, &o); nc == nil {
		return nil // coder/websocket has answered
	}
	c.activity.note(time.Now())
	c.Start(nc, o.Poller, codecs[codec{o.Envelope, c.in.Deflate, o.Client.Presence}], c)
	return nil
}

// open joins the rooms and queues the opening, the first frame of the connection.
func (c *conn) open(ctx context.Context, o *Options) error {
	opening := protocol.Opening{Conn: c.Session.ID(), User: o.Client.User, Expires: o.Client.Expires(), Heartbeat: o.Heartbeat, MaxMessage: o.Hub.Settings().LargestMessage()}
	if c.commands {
		c.Session.Notify(opening.Ready())
		for _, room := range o.Rooms {
			if _, err := c.Session.Subscribe(ctx, room.Room, room.Answered()); err != nil {
				return err
			}
		}
		return nil
	}
	c.room = o.Rooms[0].Room
	joined, err := c.Session.Subscribe(ctx, c.room, o.Rooms[0].Start)
	if err == nil && c.envelope {
		opening.Cursor = joined.Cursor.String()
		opening.Rights = &joined.Rights
		opening.MaxMessage = o.Hub.MaxMessageSize(c.room)
		c.Session.Notify(opening.Ready())
	}
	return err
}

// upgrade makes the handshake, and returns the socket, or nil. The library that does it
// is dropped at once: it keeps more for a connection than everything else together.
func (c *conn) upgrade(w http.ResponseWriter, r *http.Request, o *Options) (nc net.Conn) {
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
	h := &hijacker{ResponseWriter: through, spy: spy, in: &c.in}
	defer func() {
		if nc == nil && h.nc != nil { // or a handler before us has panicked
			_ = h.nc.Close()
		}
	}()
	accepted, err := websocket.Accept(h, r, opts)
	if err != nil {
		return nil
	}
	_ = accepted.CloseNow() // it closes nothing, see handshaken
	// A handler before us may have removed the answer. Then it binds neither side.
	c.in.Deflate = answer != "" && w.Header().Get(extensionHeader) == answer
	return h.nc
}

// conn is one connection. It outlives the request and keeps nothing of it.
type conn struct {
	detach.Conn

	activity activity    // when something last came from the peer
	busy     atomic.Bool // the reader carries out what the peer has asked for

	// Owned by the goroutine that executes Receive.
	in      frame.Reader
	bounded bool  // the read deadline is that of a message
	renew   bool  // another message has begun, which needs a deadline of its own
	refused uint8 // publications refused in a row for their rate
	rubbish uint8 // malformed commands in a row

	// Set once.
	commands bool // the peer speaks realtime.v1
	envelope bool
	hub      *hub.Hub
	room     string // empty if commands name the rooms
}

// Receive implements [detach.Transport].
func (c *conn) Receive() error {
	for {
		event, err := c.in.Next(c.fetch, c.limit)
		if err != nil {
			return err
		}
		c.completed()
		switch event.Op {
		case frame.Ping:
			err = c.Out.Control(frame.AppendFrame(nil, frame.Pong, event.Data))
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
	c.busy.Store(true)
	defer func() {
		c.activity.note(time.Now()) // meanwhile nothing could be read
		c.busy.Store(false)
	}()
	switch {
	case c.Session.Ended() != 0:
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

// fetch reads bytes for the frame reader. Between two messages it does not wait.
func (c *conn) fetch(p []byte) (n int, err error) {
	leaving := c.Leaving()
	if !leaving && (!c.bounded || c.renew) && !c.in.AtBorder() {
		c.bounded, c.renew = true, false
		c.bound(time.Now().Add(messageTime))
	}
	n, err = c.Read(p, leaving || !c.in.AtBorder())
	if n > 0 {
		c.activity.note(time.Now())
	}
	return n, err
}

// bound sets the read deadline. If the session has ended, that of the end wins.
func (c *conn) bound(t time.Time) {
	_ = c.Out.NetConn().SetReadDeadline(t)
	if c.Session.Ended() != 0 {
		_ = c.Out.NetConn().SetReadDeadline(time.Now().Add(outbound.Farewell))
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
	p := hub.Publication{Room: c.room, Kind: message.Binary, Data: event.Data}
	if event.Op == frame.Text {
		p.Kind, p.Data, _ = protocol.Content("", event.Data) // there is no error for UTF-8
	}
	_, err := c.Session.Publish(c.Session.Context(), p)
	if err == nil {
		c.refused = 0
		return nil
	}
	if errors.Is(err, hub.ErrDraining) && !c.envelope {
		// Bare data cannot express that. Its end does, after what is due to it.
		c.Session.Dismiss(hub.CauseStopping)
		return nil
	}
	if errors.Is(err, limit.ErrRate) {
		c.refused++
	}
	if !c.envelope || c.refused > maxRefused || errors.Is(err, limit.ErrTooLarge) || errors.Is(err, hub.ErrEnded) {
		// Bare data cannot express an error.
		return err
	}
	c.Session.Notify(protocol.Error(protocol.ProblemOf(err)))
	return nil
}

// End implements [detach.Transport].
func (c *conn) End(err error) (linger bool) {
	var bye *closed
	cause := hub.CauseGone
	switch {
	case errors.As(err, &bye):
		// Messages that were due before the peer closed go out before the answer.
		c.Out.Conclude(frame.AppendFrame(nil, frame.Close, bye.payload))
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
	case errors.Is(err, hub.ErrEnded):
		return true
	case errors.Is(err, outbound.ErrControl):
		cause = hub.CauseSlow
	case errors.Is(err, limit.ErrFull):
		cause = hub.CauseInternal
	}
	c.Session.End(cause)
	return cause != hub.CauseGone
}

// Beat implements [detach.Transport]: it pings the peer, or cuts the connection if
// nothing has come for two heartbeats. While the engine is slow to take what the peer has published, its
// pongs wait unread.
func (c *conn) Beat() {
	if !c.busy.Load() && c.activity.ago(time.Now()) > 2*c.Heartbeat {
		c.Session.End(hub.CauseGone)
		c.Out.Cut()
		return
	}
	_ = c.Out.Control(pingFrame) // an error will end the writer
}

// Attrs implements [detach.Transport].
func (c *conn) Attrs() []any {
	_, published := c.Session.Counts()
	return []any{"transport", "websocket", "published", published}
}
