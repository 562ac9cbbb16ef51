package sse

import (
	"net"
	"strconv"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/detach"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// The part that serves streams over HTTP/1.1: the connection leaves net/http after
// the opening, and then costs no more than a WebSocket.

// detached is a stream that has left net/http.
type detached struct {
	detach.Conn
	codec     *chunks // set once
	discarded int     // bytes discarded after the request; owned by Receive
}

// maxDiscarded bounds how many bytes are read and discarded after the request.
const maxDiscarded = 64 << 10

// leave continues a stream without net/http.
func (s *stream) leave(nc net.Conn, out *outbound.Conn) {
	d := &detached{Conn: detach.Conn{Session: s.session, Out: out, Heartbeat: s.Heartbeat}}
	if d.codec = chunked[s.Format]; d.codec == nil {
		d.codec = &chunks{s.Format} // for this stream alone
	}
	d.Start(nc, s.Poller, d.codec, d)
}

// Receive implements [detach.Transport]: it discards what the client sends.
func (d *detached) Receive() error {
	var p [512]byte
	for d.discarded <= maxDiscarded {
		leaving := d.Leaving()
		if leaving && d.Session.Ended() != 0 {
			return nil // the end lingers
		}
		n, err := d.Read(p[:], leaving)
		if err != nil {
			return err
		}
		d.discarded += n
	}
	return nil
}

// End implements [detach.Transport].
func (d *detached) End(err error) (linger bool) {
	d.Session.End(departedBy(err)) // unless it has ended before
	cause := d.Session.Ended()
	return cause != hub.CauseLeft && cause != hub.CauseGone
}

// Beat implements [detach.Transport]: proxies, too, must see that the stream is alive.
func (d *detached) Beat() {
	_ = d.Out.Control(d.codec.chunk(nil, d.codec.format.Heartbeat)) // an error will end the writer
}

// Attrs implements [detach.Transport].
func (d *detached) Attrs() []any { return []any{"transport", d.codec.format.ContentType()} }

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
	return append(c.chunk(b, func(b []byte) []byte { return c.format.End(b, cause) }), "0\r\n\r\n"...)
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
