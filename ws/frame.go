package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// Opcodes with FIN set (RFC 6455, section 5.2). Everything we send is whole.
const (
	opText   = 0x81
	opBinary = 0x82
	opClose  = 0x88
	opPing   = 0x89
)

// pingFrame is a ping without payload.
var pingFrame = []byte{opPing, 0}

// appendFrame appends one unmasked frame (RFC 6455, section 5.1: a server does
// not mask).
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, op)
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

// appendClose appends a closing frame with a code and a reason of at most 123
// bytes (RFC 6455, section 5.5).
func appendClose(b []byte, code uint16, reason string) []byte {
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reason)), code)
	return appendFrame(b, opClose, append(payload, reason...))
}

// frame returns the message's data as a frame, shared by all raw connections.
func frame(m *hub.Message) []byte {
	return m.Form(protocol.FormFrame, func(m *hub.Message) []byte {
		op := byte(opText)
		if m.Kind == hub.Binary {
			op = opBinary
		}
		return appendFrame(make([]byte, 0, len(m.Data)+10), op, m.Data)
	})
}

// frameEnvelope returns the message's envelope as a frame, shared likewise.
func frameEnvelope(m *hub.Message) []byte {
	return m.Form(protocol.FormFrameEnvelope, func(m *hub.Message) []byte {
		envelope := protocol.Envelope(m)
		return appendFrame(make([]byte, 0, len(envelope)+10), opText, envelope)
	})
}

// codec is how a connection is written to; it implements outbound.Codec.
type codec struct{ envelope bool }

func (c codec) Append(b []byte, it hub.Item) ([]byte, hub.Cause) {
	switch {
	case it.Message != nil && c.envelope:
		return append(b, frameEnvelope(it.Message)...), 0
	case it.Message != nil:
		return append(b, frame(it.Message)...), 0
	case it.Gap != nil && c.envelope:
		return appendFrame(b, opText, protocol.Gap(it.Gap)), 0
	case it.Gap != nil:
		// Raw data has no room for a gap, and silence is no answer.
		return b, hub.CauseOvertaken
	case c.envelope:
		return appendFrame(b, opText, it.Notice), 0
	default:
		return b, 0
	}
}

func (codec) Goodbye(b []byte, cause hub.Cause) []byte {
	if cause == hub.CauseGone {
		return b
	}
	e := protocol.EndingOf(cause)
	return appendClose(b, e.Close, e.Title)
}

// checkClose looks at control frames that coder/websocket wants to write. It
// echoes a peer's closing frame unseen, so a reason that is not UTF-8 comes by
// here; RFC 6455, section 8.1 wants the connection failed with 1007.
func checkClose(frames []byte) []byte {
	if len(frames) > 4 && frames[0] == opClose && !utf8.Valid(frames[4:]) {
		return appendClose(nil, protocol.CloseInvalidText, "close reason that is not UTF-8")
	}
	return frames
}
