package sse

import (
	"errors"
	"net"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// The part that serves streams over HTTP/1.1: the connection leaves net/http after
// the opening, and then costs no more than a WebSocket.

// detached is a stream that has left net/http.
type detached struct {
	// Set once.
	out      *outbound.Conn
	session  *hub.Session
	nc       net.Conn
	polled   *netpoll.Conn // nil: a goroutine waits in nc.Read
	codec    *chunks
	stopBeat func()

	leaving atomic.Bool // the end is near and bounded in time: do not park any more

	// Owned by the goroutine that executes run.
	farewell  bool // the read deadline is that of the end
	discarded int  // bytes discarded after the request
}

// maxDiscarded bounds how many bytes are read and discarded after the request.
const maxDiscarded = 64 << 10

// detach continues a stream without net/http.
func detach(nc net.Conn, session *hub.Session, out *outbound.Conn, o *Options) {
	d := &detached{out: out, session: session, nc: nc}
	if d.codec = chunked[o.Format]; d.codec == nil {
		d.codec = &chunks{o.Format} // for this stream alone
	}
	d.polled, _ = o.Poller.Watch(d.nc, d.run)
	d.out.Start(d.nc, d.session, d.codec, d)
	d.stopBeat = outbound.Beat(o.Heartbeat, d.beat)
	// It parks the connection, or ends with it: outbound.Group.Wait waits for that.
	go d.run()
}

// Wake implements hub.Waker, for the reader: see outbound.Conn.Start.
func (d *detached) Wake() {
	d.leaving.Store(true)
	if d.polled != nil {
		d.polled.Interrupt()
	}
}

// run waits until the client goes. It parks the connection, or finishes it.
func (d *detached) run() {
	parked, cause := false, hub.CauseInternal
	defer func() {
		if parked {
			return // another call of run may own it by now
		}
		if p := recover(); p != nil {
			d.session.Logger().Error("panic in a stream's reader", "panic", p, "stack", string(debug.Stack()))
		}
		d.session.End(cause) // unless it has ended before
		d.stopBeat()
		if d.polled != nil {
			d.polled.Stop()
		}
		ended := d.session.Ended()
		d.out.Finish(ended != hub.CauseLeft && ended != hub.CauseGone)
		d.logEnd()
	}()
	err := d.read()
	if parked = errors.Is(err, netpoll.ErrIdle); parked {
		d.polled.Arm()
		return
	}
	cause = departedBy(err)
}

// read discards what the client sends, until there is nothing to read or an error.
func (d *detached) read() (err error) {
	var p [512]byte
	for d.discarded <= maxDiscarded {
		leaving := d.leaving.Load()
		if leaving && !d.farewell {
			d.farewell = true
			_ = d.nc.SetReadDeadline(time.Now().Add(outbound.Farewell))
		}
		if leaving && d.session.Ended() != 0 {
			return nil // Finish lingers
		}
		var n int
		if d.polled != nil && !leaving {
			n, err = d.polled.TryRead(p[:])
		} else {
			n, err = d.nc.Read(p[:])
		}
		if err != nil {
			return err
		}
		d.discarded += n
	}
	return nil
}

// beat shows the client, and the proxies before it, that an idle stream is alive.
func (d *detached) beat() bool {
	if d.session.Ended() != 0 {
		return false
	}
	_ = d.out.Control(d.codec.chunk(nil, d.codec.format.Heartbeat)) // an error will end the writer
	return true
}

func (d *detached) logEnd() {
	sent, _ := d.session.Counts()
	d.session.Logger().Debug("connection ended", "transport", d.codec.format.ContentType(), "cause", d.session.Ended().String(),
		"duration", time.Since(d.session.Since()), "sent", sent)
}

// chunks is a Format in the chunks of HTTP/1.1 (RFC 9112, section 7.1); it
// implements outbound.Codec.
type chunks struct{ format Format }

// chunked holds one codec for each format, so that pointers can be compared:
// connections share what equal codecs encode.
var chunked = map[Format]*chunks{}

func init() {
	chunked[HTML{}] = &chunks{HTML{}}
	for _, p := range []PresenceOptions{{}, {Presence: hub.PresenceSome}, {Presence: hub.PresenceAll}, {hub.PresenceSome, true}, {hub.PresenceAll, true}} {
		for _, f := range []Format{Events{PresenceOptions: p}, Events{true, p}, Lines{p}} {
			chunked[f] = &chunks{f}
		}
	}
}

func (c *chunks) Append(b []byte, it hub.Item) ([]byte, hub.Cause) {
	return c.chunk(b, func(b []byte) []byte { return c.format.Append(b, it) }), 0
}

func (c *chunks) Goodbye(b []byte, cause hub.Cause) []byte {
	if cause == hub.CauseGone {
		return b
	}
	return append(c.chunk(b, c.format.End), "0\r\n\r\n"...)
}

// chunk appends what content appends, as one chunk. If that is nothing it appends
// nothing, since an empty chunk ends the body.
func (*chunks) chunk(b []byte, content func([]byte) []byte) []byte {
	const room = "0000\r\n" // for most sizes
	begin := len(b)
	b = content(append(b, room...))
	size := len(b) - begin - len(room)
	if size == 0 {
		return b[:begin]
	}
	var head [20]byte
	digits := strconv.AppendInt(head[:0], int64(size), 16)
	digits = append(digits, "\r\n"...)
	if n := len(digits); n <= len(room) {
		// Zeros in front are allowed: chunk-size is 1*HEXDIG.
		copy(b[begin+len(room)-n:], digits)
	} else {
		b = append(b, digits[:n-len(room)]...)
		copy(b[begin+n:], b[begin+len(room):begin+len(room)+size])
		copy(b[begin:], digits)
	}
	return append(b, "\r\n"...)
}
