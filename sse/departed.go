package sse

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// The part that tells a client that has ended its stream (hub.CauseLeft) from a
// connection that broke (hub.CauseGone), as far as that can be seen.

// departedBy says what it means that reading a connection, which has left
// net/http, ended like this. Its client says nothing, but closes. A reset is a
// break, although a client whose messages wait unread resets when it closes.
func departedBy(err error) hub.Cause {
	if err == nil || errors.Is(err, io.EOF) {
		return hub.CauseLeft
	}
	return hub.CauseGone
}

// departed says what it means that the request was cancelled, as net/http does
// for either reason.
func (s *stream) departed() hub.Cause {
	switch s.r.ProtoMajor {
	case 2:
		return departedHTTP2(s.w)
	case 3:
		s.bytes = s.Format.Heartbeat(s.bytes)
		return departedHTTP3(s.flush())
	default:
		// net/http has read an end or an error. After an end that was no reset
		// it is still possible to write.
		s.bytes = s.Format.Heartbeat(s.bytes)
		if s.flush() != nil {
			return hub.CauseGone
		}
		return hub.CauseLeft
	}
}

// clientDisconnected is what net/http says of an HTTP/2 connection that is no
// more. It does not export the error.
const clientDisconnected = "client disconnected"

// departedHTTP2 tells a stream that its client has reset (RFC 9113, section 5.4.2)
// from one whose connection has ended. Flush, where nothing waits to be written,
// returns what has closed the stream; after a write that failed, what that did.
func departedHTTP2(w http.ResponseWriter) hub.Cause {
	inner := protocol.Innermost(w)
	// The request is cancelled a moment before the stream is closed.
	if n, ok := inner.(http.CloseNotifier); ok { //nolint:staticcheck // the context, which replaces it, comes too early
		<-n.CloseNotify()
	}
	if err := http.NewResponseController(inner).Flush(); err != nil && err.Error() == clientDisconnected {
		return hub.CauseGone
	}
	return hub.CauseLeft
}

// departedHTTP3 tells by the error of a write. What the client says, of its
// stream or of its whole connection, is no net.Error, but what befell the two is.
func departedHTTP3(err error) hub.Cause {
	if _, broken := errors.AsType[net.Error](err); broken {
		return hub.CauseGone
	}
	return hub.CauseLeft
}

// causeOf says what a failed write means.
func (s *stream) causeOf(err error) hub.Cause {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hub.CauseSlow
	case s.r.ProtoMajor == 2 && s.r.Context().Err() != nil:
		return departedHTTP2(s.w)
	case s.r.ProtoMajor == 3 && s.r.Context().Err() != nil:
		return departedHTTP3(err)
	default:
		return hub.CauseGone
	}
}
