package ws

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws/frame"
)

// hijacker lets coder/websocket answer the handshake through the whole chain of
// writers, then takes the connection from the innermost one.
type hijacker struct {
	http.ResponseWriter
	spy *protocol.Spy // nil: it could not be planted
	in  *frame.Reader // gets what came with the request
	nc  net.Conn      // what Hijack took
}

// answerHeaders are the headers that make an answer a handshake (RFC 6455, section
// 4.2.2), and those that choose from the client's offers.
var answerHeaders = []string{"Connection", "Upgrade", "Sec-Websocket-Accept", "Sec-Websocket-Protocol"}

// WriteHeader implements [http.ResponseWriter]. It protects the answer's headers from
// those that a site sets on every answer, such as "Connection: keep-alive".
func (h *hijacker) WriteHeader(status int) {
	if h.spy != nil && status == http.StatusSwitchingProtocols {
		answer := h.Header().Clone()
		h.spy.Before = func(header http.Header) {
			for _, name := range answerHeaders {
				if v, ok := answer[name]; ok {
					header[name] = v
				} else {
					delete(header, name)
				}
			}
		}
	}
	h.ResponseWriter.WriteHeader(status)
}

// errAnswered is returned by Hijack if the handshake cannot be completed any more.
var errAnswered = errors.New("a handler before us has answered the handshake")

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner := protocol.Innermost(h.ResponseWriter)
	if h.spy != nil {
		inner = h.spy.ResponseWriter
		switch h.spy.Status() {
		case http.StatusSwitchingProtocols:
		case 0: // the chain holds the answer back
			h.spy.WriteHeader(http.StatusSwitchingProtocols)
		default:
			return nil, nil, errAnswered
		}
		h.spy.Deafen() // what the chain still writes must not reach the socket
	}
	nc, brw, err := http.NewResponseController(inner).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.nc = nc
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	h.in.Feed(early)
	// The library gets a connection that it cannot read, write or close.
	return handshaken{nc}, bufio.NewReadWriter(bufio.NewReaderSize(handshaken{}, 16), bufio.NewWriterSize(io.Discard, 16)), nil
}

// handshaken is the connection as coder/websocket sees it after the handshake.
type handshaken struct{ net.Conn }

func (handshaken) Read([]byte) (int, error)    { return 0, io.EOF }
func (handshaken) Write(p []byte) (int, error) { return len(p), nil }
func (handshaken) Close() error                { return nil }
