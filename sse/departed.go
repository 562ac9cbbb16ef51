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

// The part that distinguishes a client that ended its stream (hub.CauseLeft) from a
// connection that broke (hub.CauseGone), as far as the server can see.

// departedBy returns the cause for the error with which reading ended on a
// connection that has left net/http. A client sends nothing there, but closes. A
// reset counts as a break, although closing with unread messages causes one, too.
func departedBy(err error) hub.Cause {
	if err == nil || errors.Is(err, io.EOF) {
		return hub.CauseLeft
	}
	return hub.CauseGone
}

// departed returns the cause after net/http has cancelled the request, which it does
// for both.
func (s *stream) departed() hub.Cause {
	switch s.r.ProtoMajor {
	case 2:
		return departedHTTP2(s.w)
	case 3:
		s.bytes = s.Format.Heartbeat(s.bytes)
		return departedHTTP3(s.flush())
	default:
		// net/http has read the end, or an error. If the end was not a reset,
		// writing still works.
		s.bytes = s.Format.Heartbeat(s.bytes)
		if s.flush() != nil {
			return hub.CauseGone
		}
		return hub.CauseLeft
	}
}

// clientDisconnected is the text of net/http's error for an HTTP/2 connection that
// has ended. The error itself is not exported.
const clientDisconnected = "client disconnected"

// departedHTTP2 distinguishes a stream that its client has reset (RFC 9113, section
// 5.4.2) from one whose connection has ended. If nothing waits to be written, Flush
// returns the error that closed the stream; after a failed write, that write's error.
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

// departedHTTP3 decides by the error of a write. It is a net.Error if the stream or
// its connection broke, but not if the client ended either of them.
func departedHTTP3(err error) hub.Cause {
	if _, broken := errors.AsType[net.Error](err); broken {
		return hub.CauseGone
	}
	return hub.CauseLeft
}

// causeOf returns the cause with which a failed write ends the session.
func (s *stream) causeOf(err error) hub.Cause {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, hub.ErrForbidden):
		return hub.CauseSlow // the client comes back with its cursors
	case s.r.ProtoMajor == 2 && s.r.Context().Err() != nil:
		return departedHTTP2(s.w)
	case s.r.ProtoMajor == 3 && s.r.Context().Err() != nil:
		return departedHTTP3(err)
	default:
		return hub.CauseGone
	}
}
