package ws

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/caddy-realtime/realtime/protocol"
)

// hijacker takes the connection from the innermost writer, once the handshake has
// been answered through the whole chain.
type hijacker struct {
	http.ResponseWriter
	spy  *protocol.Spy // nil: nobody knows what the chain does
	conn *conn
}

// answerHeaders are those without which an answer is no handshake (RFC 6455,
// section 4.2.2), or chooses what was not offered.
var answerHeaders = []string{"Connection", "Upgrade", "Sec-Websocket-Accept", "Sec-Websocket-Protocol"}

// WriteHeader implements [http.ResponseWriter]. What a site sets on all its
// answers, such as "Connection: keep-alive", must not spoil a handshake.
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

// errAnswered is told when there is no handshake any more.
var errAnswered = errors.New("a handler before us has answered the handshake")

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner := protocol.Innermost(h.ResponseWriter)
	if h.spy != nil {
		inner = h.spy.ResponseWriter
		switch h.spy.Status() {
		case http.StatusSwitchingProtocols:
		case 0: // it is held back
			h.spy.WriteHeader(http.StatusSwitchingProtocols)
		default:
			return nil, nil, errAnswered
		}
		h.spy.Deafen() // what the chain still writes is not for the socket
	}
	nc, brw, err := http.NewResponseController(inner).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.nc = nc
	early, _ := brw.Reader.Peek(brw.Reader.Buffered())
	h.conn.in.Feed(early)
	// What the library is given reads nothing, writes nothing, and cannot close.
	return handshaken{nc}, bufio.NewReadWriter(bufio.NewReaderSize(handshaken{}, 16), bufio.NewWriterSize(io.Discard, 16)), nil
}

// handshaken is the connection as coder/websocket may have it.
type handshaken struct{ net.Conn }

func (handshaken) Read([]byte) (int, error)    { return 0, io.EOF }
func (handshaken) Write(p []byte) (int, error) { return len(p), nil }
func (handshaken) Close() error                { return nil }
