package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/outbound"
	"github.com/caddy-realtime/realtime/protocol"
)

const (
	// messageTime bounds how long one message may take to arrive.
	messageTime = 60 * time.Second
	// maxRefused is how many messages in a row may be refused for their rate
	// before the connection ends with 4429.
	maxRefused = 10

	readBuffer  = 512 // bytes that an idle connection keeps for reading
	writeBuffer = 128 // a whole control frame, so that it reaches Write in one piece
)

// Options says how to serve one connection.
type Options struct {
	Hub         *hub.Hub
	Group       *outbound.Group
	Client      hub.Client
	Room        string
	Start       hub.Start
	Envelope    bool          // send envelopes and control objects, not bare data
	Subprotocol string        // chosen by the negotiation; empty: none
	Heartbeat   time.Duration // between pings; 0: none
}

// Serve joins the room, upgrades the request and returns; the connection lives
// on with a goroutine of its own. Until the upgrade it refuses with an error
// that protocol.ProblemOf explains, and nothing has been written. The handshake
// must have been checked: see [CheckHandshake].
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	out := outbound.New(o.Group)
	session, err := o.Hub.Connect(o.Client, out)
	if err != nil {
		return err
	}
	c := &conn{Options: o, out: out, session: session}
	started := false
	defer func() {
		if !started {
			session.End(hub.CauseGone)
			if c.nc != nil {
				_ = c.nc.Close()
			}
		}
	}()
	joined, err := session.Join(r.Context(), o.Room, o.Start)
	if err != nil {
		return err
	}
	opts := &websocket.AcceptOptions{InsecureSkipVerify: true} // origins were checked
	if o.Subprotocol != "" {
		opts.Subprotocols = []string{o.Subprotocol}
	}
	if c.ws, err = websocket.Accept(&hijacker{ResponseWriter: w, conn: c}, r, opts); err != nil {
		return nil //nolint:nilerr // coder/websocket has answered
	}
	c.ws.SetReadLimit(-1) // the room's limit is asked for message by message
	if o.Envelope {
		session.Notify(protocol.Ready(session.ID(), joined.Cursor))
	}
	c.heard.Store(time.Now().UnixNano())
	started = true
	out.Start(c.nc, session, codec{o.Envelope}, c)
	// It ends with the connection: outbound.Group.Wait waits for it.
	go c.serve()
	return nil
}

// conn is one connection. It outlives the request and keeps nothing of it.
type conn struct {
	Options
	out     *outbound.Conn
	session *hub.Session
	ws      *websocket.Conn
	nc      net.Conn
	heard   atomic.Int64 // when the peer last sent something, Unix nanoseconds
	refused int          // messages refused in a row for their rate
}

// Wake implements hub.Waker: the reader always waits in Read.
func (c *conn) Wake() {}

// serve reads until the connection ends, and sees to its end.
func (c *conn) serve() {
	linger := false
	defer func() {
		if p := recover(); p != nil {
			c.session.Logger().Error("panic in a WebSocket's reader", "panic", p, "stack", string(debug.Stack()))
			c.session.End(hub.CauseInternal)
		}
		// Frees coder's buffers; our socket is closed by Finish.
		_ = c.ws.CloseNow()
		c.out.Finish(linger)
		c.logEnd()
	}()
	stop := c.startHeartbeat()
	defer stop()
	err := c.read()
	linger = c.end(err)
}

// read publishes what comes until it can't.
func (c *conn) read() error {
	ctx := context.Background() // never done: a cancellable one costs a timer per read
	for {
		kind, r, err := c.ws.Reader(ctx)
		if err != nil {
			return err
		}
		_ = c.nc.SetReadDeadline(time.Now().Add(messageTime))
		if c.session.Ended() != 0 {
			return hub.ErrEnded // its bound of time was shorter
		}
		limit := c.Hub.MaxMessageSize(c.Room)
		data, err := io.ReadAll(io.LimitReader(r, int64(min(limit, hub.Off-1))+1))
		if err != nil {
			return err
		}
		if len(data) > limit {
			return hub.ErrTooLarge
		}
		if c.session.Ended() != 0 {
			return hub.ErrEnded // and its reading deadline stays
		}
		_ = c.nc.SetReadDeadline(time.Time{})
		if err := c.publish(ctx, kind, data); err != nil {
			return err
		}
	}
}

var errNotUTF8 = errors.New("text that is not UTF-8")

// publish publishes one message. It returns an error if the connection must end.
func (c *conn) publish(ctx context.Context, kind websocket.MessageType, data []byte) error {
	p := hub.Publication{Room: c.Room, Kind: hub.Binary, Data: data}
	if kind == websocket.MessageText {
		if !utf8.Valid(data) {
			return errNotUTF8
		}
		p.Kind, p.Data, _ = protocol.Content("", data) // UTF-8 is no error
	}
	_, err := c.session.Publish(ctx, p)
	if err == nil {
		c.refused = 0
		return nil
	}
	if errors.Is(err, hub.ErrRate) {
		c.refused++
	}
	if !c.Envelope || c.refused > maxRefused || errors.Is(err, hub.ErrTooLarge) || errors.Is(err, hub.ErrEnded) {
		// Raw data has no room for an error.
		return err
	}
	c.session.Notify(protocol.Error(protocol.ProblemOf(err)))
	return nil
}

// end gives the session its cause, and reports whether the peer is to be given
// time to read the closing frame.
func (c *conn) end(err error) (linger bool) {
	var closed websocket.CloseError
	var netErr net.Error
	cause := hub.CauseProtocol
	switch {
	case errors.As(err, &closed):
		// The peer closed and has been answered, or has answered.
		if cause = hub.CauseLeft; !utf8.ValidString(closed.Reason) {
			cause = hub.CauseInvalid // as checkClose told it
		}
	case errors.Is(err, errNotUTF8):
		cause = hub.CauseInvalid
	case errors.Is(err, hub.ErrTooLarge):
		cause = hub.CauseTooLarge
	case errors.Is(err, hub.ErrRate):
		cause = hub.CauseRate
	case errors.Is(err, hub.ErrDraining):
		cause = hub.CauseDraining
	case errors.Is(err, hub.ErrEnded):
		return true
	case errors.Is(err, outbound.ErrControl):
		cause = hub.CauseSlow
	case errors.Is(err, hub.ErrFull):
		cause = hub.CauseInternal
	case errors.Is(err, errCut), errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr):
		c.session.End(hub.CauseGone)
		return false
	}
	// If coder/websocket has sent its own closing frame, ours is dropped.
	c.session.End(cause)
	return true
}

// startHeartbeat pings until stop is called, and ends the session if nothing
// came for two heartbeats.
func (c *conn) startHeartbeat() (stop func()) {
	if c.Heartbeat <= 0 {
		return func() {}
	}
	var timer *time.Timer
	ready := make(chan struct{})
	timer = time.AfterFunc(jitter(c.Heartbeat), func() {
		<-ready
		if c.session.Ended() != 0 {
			return
		}
		if time.Since(time.Unix(0, c.heard.Load())) > 2*c.Heartbeat {
			c.session.End(hub.CauseGone)
			_ = c.nc.SetReadDeadline(time.Unix(1, 0))
			return
		}
		_ = c.out.Control(pingFrame, false) // if it can't, its writer will find out
		timer.Reset(jitter(c.Heartbeat))
	})
	close(ready)
	return func() { timer.Stop() }
}

// jitter spreads d over its last tenth, so that connections of one moment
// don't beat together.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}

func (c *conn) logEnd() {
	sent, published := c.session.Counts()
	c.session.Logger().Debug("connection ended", "transport", "websocket", "cause", c.session.Ended().String(),
		"duration", time.Since(c.session.Since()), "sent", sent, "published", published)
}

// socket is what coder/websocket takes for the connection: it reads from the
// socket, and what it writes, which is control frames only, goes to outbound.
type socket struct {
	net.Conn
	conn  *conn
	early []byte // what came with the handshake and is not read yet
}

func (s *socket) Read(p []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.conn.heard.Store(time.Now().UnixNano())
	}
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

// errCut stands for io.EOF, which coder/websocket would take for the end of a
// message if it came between two fragments.
var errCut = errors.New("the connection was cut")

func (s *socket) Write(p []byte) (int, error) {
	if err := s.conn.out.Control(checkClose(p), p[0] == opClose); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close wakes the reader, for whom coder/websocket had no patience any more;
// outbound.Conn.Finish closes, when all is written.
func (s *socket) Close() error { return s.SetReadDeadline(time.Unix(1, 0)) }

// hijacker takes the connection from the innermost writer: wrappers would pin
// the request, and count bytes that are no longer theirs.
type hijacker struct {
	http.ResponseWriter
	conn *conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w := h.ResponseWriter
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.nc = nc
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	s := &socket{Conn: nc, conn: h.conn, early: bytes.Clone(early)}
	return s, bufio.NewReadWriter(bufio.NewReaderSize(s, readBuffer), bufio.NewWriterSize(s, writeBuffer)), nil
}
