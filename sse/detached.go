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

// The part that serves streams over HTTP/1.1: the connection leaves net/http
// once the headers are written, and then costs what a WebSocket costs.

// detached is a stream that has left net/http.
type detached struct {
	out      *outbound.Conn
	session  *hub.Session
	nc       net.Conn
	polled   *netpoll.Conn // nil: a goroutine waits in nc.Read
	codec    *chunks
	stopBeat func()
	leaving  atomic.Bool // the end is near, and bounded in time
	farewell bool        // the peer must have gone by its time; run's
	heard    int         // bytes that the peer went on to send; run's
}

// maxHeard bounds what a client may send behind its request, in bytes. It is
// not looked at.
const maxHeard = 64 << 10

// detach goes on with a stream without net/http.
func detach(nc net.Conn, session *hub.Session, out *outbound.Conn, o *Options) {
	d := &detached{out: out, session: session, nc: nc}
	if d.codec = chunked[o.Format]; d.codec == nil {
		d.codec = &chunks{o.Format} // its own
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

// run waits for the client to go, and sees to the connection's end.
func (d *detached) run() {
	parked, cause := false, hub.CauseInternal
	defer func() {
		if parked {
			return // it may be another's by now
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

// read reads on until it can't: only the end matters.
func (d *detached) read() (err error) {
	var p [512]byte
	for d.heard <= maxHeard {
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
		d.heard += n
	}
	return nil
}

// beat shows an idle client, and who stands in between, that the stream lives.
func (d *detached) beat() bool {
	if d.session.Ended() != 0 {
		return false
	}
	_ = d.out.Control(d.codec.chunk(nil, d.codec.format.Heartbeat), false) // if it can't, its writer will find out
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

// chunked holds one for each format: connections share what equal codecs encode,
// and pointers are cheap to compare.
var chunked = map[Format]*chunks{}

func init() {
	chunked[HTML{}] = &chunks{HTML{}}
	for _, p := range []Told{{}, {Presence: hub.PresenceSome}, {Presence: hub.PresenceAll}, {hub.PresenceSome, true}, {hub.PresenceAll, true}} {
		for _, f := range []Format{Events{Told: p}, Events{true, p}, Lines{p}} {
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

// chunk appends what content appends, as one chunk. An empty one would be the
// stream's end, so nothing stays nothing.
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
