package ws

import (
	"net/http"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws/frame"
)

// compressAbove is the size in bytes from which a message is worth compressing.
const compressAbove = 256

// pingFrame is a ping without payload.
var pingFrame = frame.AppendFrame(nil, frame.Ping, nil)

// appendData appends the frame of a message. The payload is deflated if the peer has
// agreed to that and it saves bytes.
func appendData(b []byte, op frame.Op, payload []byte, deflate bool) []byte {
	if deflate && len(payload) >= compressAbove {
		if small := frame.Compress(nil, payload); len(small) < len(payload) {
			return frame.AppendFrame(b, op|frame.RSV1, small)
		}
	}
	return frame.AppendFrame(b, op, payload)
}

// encode returns the message as a frame, which is made once for all connections with
// the same form.
func (c *codec) encode(m *hub.Message) []byte {
	return m.Form(c.form(), func(m *hub.Message) []byte {
		op, payload := frame.Text, m.Data
		switch {
		case c.envelope:
			payload = protocol.Envelope(m)
		case m.Kind == message.Binary:
			op = frame.Binary
		}
		return appendData(make([]byte, 0, len(payload)+frame.MaxHeader), op, payload, c.deflate)
	})
}

// encodePresence returns the members as a frame, shared in the same way.
func (c *codec) encodePresence(p *hub.Presence) []byte {
	form := protocol.FormPresenceFrame
	if c.deflate {
		form = protocol.FormPresenceDeflated
	}
	all := c.presence == hub.PresenceAll
	return p.Form(form, all, func(p *hub.Presence, _ bool) []byte {
		return appendData(nil, frame.Text, protocol.Presence(p, all), c.deflate)
	})
}

func (c *codec) form() hub.Form {
	switch {
	case c.envelope && c.deflate:
		return protocol.FormDeflatedEnvelope
	case c.envelope:
		return protocol.FormFrameEnvelope
	case c.deflate:
		return protocol.FormDeflated
	default:
		return protocol.FormFrame
	}
}

// codec encodes what a connection is sent; it implements outbound.Codec.
type codec struct {
	envelope, deflate bool
	presence          hub.PresenceLevel
}

// codecs holds one codec for each combination, so that pointers can be compared:
// connections share what equal codecs encode.
var codecs = map[codec]*codec{}

func init() {
	for _, deflate := range []bool{false, true} {
		raw := &codec{deflate: deflate}
		for _, level := range []hub.PresenceLevel{hub.PresenceNothing, hub.PresenceSome, hub.PresenceAll} {
			codecs[codec{false, deflate, level}] = raw // bare data cannot express presence
			codecs[codec{true, deflate, level}] = &codec{true, deflate, level}
		}
	}
}

func (c *codec) Append(b []byte, it hub.Item) ([]byte, hub.Cause) {
	switch {
	case it.Message != nil:
		return append(b, c.encode(it.Message)...), 0
	case it.Presence != nil && c.presence != hub.PresenceNothing:
		return append(b, c.encodePresence(it.Presence)...), 0
	case it.Presence != nil:
		return b, 0
	case it.Gap != nil && c.envelope:
		return frame.AppendFrame(b, frame.Text, protocol.Gap(it.Gap)), 0
	case it.Gap != nil:
		// Bare data cannot express a gap, and a gap must not pass in silence.
		return b, hub.CauseOvertaken
	case c.envelope:
		return frame.AppendFrame(b, frame.Text, it.Notice), 0
	default:
		return b, 0
	}
}

func (c *codec) Goodbye(b []byte, cause hub.Cause) []byte {
	if cause == hub.CauseGone {
		return b
	}
	e := protocol.EndingOf(cause)
	if c.envelope && e.Status == http.StatusServiceUnavailable {
		b = frame.AppendFrame(b, frame.Text, protocol.Bye(e.Status, protocol.RetryFirst, protocol.RetryLast))
	}
	return frame.AppendClose(b, e.Close, e.Title)
}
