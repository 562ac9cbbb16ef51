package serve

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/protocol"
)

// Bounds for reading a body only to drop it.
const (
	maxRest  = 1 << 20
	restTime = time.Second
)

// dropRest reads and drops the rest of the body of a request that is about to be
// refused. Closing a connection while the client is still sending resets it, and the
// client may never see the answer. begun says that a part of the body has been read.
// Afterwards the request has no body.
//
// HTTP/2 and HTTP/3 can end a single stream and do not need this.
func dropRest(w http.ResponseWriter, r *http.Request, begun bool) {
	if r.ContentLength == 0 {
		return
	}
	body := r.Body
	r.Body, r.ContentLength = http.NoBody, 0
	switch {
	case body == http.NoBody, r.ProtoMajor != 1:
	case !begun && hasToken(r.Header.Values("Expect"), "100-continue"):
		// Reading would ask for the body (RFC 9110, section 10.1.1). Some clients send
		// it without being asked.
		closeGently(w)
	case !readRest(w, body):
		closeGently(w)
	}
}

// readRest reports whether the body has ended within the bounds.
func readRest(w http.ResponseWriter, body io.Reader) bool {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(restTime)); err != nil {
		return false // there would be no bound of time
	}
	if _, err := io.CopyN(io.Discard, body, maxRest+1); !errors.Is(err, io.EOF) {
		return false // net/http must not wait any longer either: the deadline stays
	}
	_ = rc.SetReadDeadline(time.Time{}) // it has been set before
	return true
}

// closeGently makes net/http end its side of the connection after the answer, and wait
// for half a second before closing it, as it does if a body exceeds an
// [http.MaxBytesReader].
func closeGently(w http.ResponseWriter) {
	exceeded := http.MaxBytesReader(protocol.Innermost(w), io.NopCloser(strings.NewReader("x")), 0)
	_, _ = io.Copy(io.Discard, exceeded)
}
