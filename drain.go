package realtime

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/protocol"
)

// Bounds of what is read of a body only to drop it.
const (
	maxRest  = 1 << 20
	restTime = time.Second
)

// dropRest reads and drops what is left of the body of a request that is about
// to be refused. Closing a connection while the client is still sending resets
// it, and then the client may never see the answer. begun says that the body has
// been read from. Whoever answers after this finds a request without a body.
//
// Other versions of HTTP end one stream without such harm.
func dropRest(w http.ResponseWriter, r *http.Request, begun bool) {
	if r.ContentLength == 0 {
		return
	}
	body := r.Body
	r.Body, r.ContentLength = http.NoBody, 0
	switch {
	case body == http.NoBody, r.ProtoMajor != 1:
	case !begun && hasToken(r.Header.Values("Expect"), "100-continue"):
		// Reading would ask for the body (RFC 9110, section 10.1.1). Some send it
		// without being asked.
		closeGently(w)
	case !readRest(w, body):
		closeGently(w)
	}
}

// readRest reports whether the body has come to its end within the bounds.
func readRest(w http.ResponseWriter, body io.Reader) bool {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(restTime)); err != nil {
		return false // nothing would bound the time
	}
	if _, err := io.CopyN(io.Discard, body, maxRest+1); !errors.Is(err, io.EOF) {
		return false // net/http must not wait any longer either: the deadline stays
	}
	_ = rc.SetReadDeadline(time.Time{}) // it has been set before
	return true
}

// closeGently makes net/http end its side of the connection after the answer and
// wait for half a second before it closes it: what it does to whoever exceeds an
// [http.MaxBytesReader].
func closeGently(w http.ResponseWriter) {
	exceeded := http.MaxBytesReader(protocol.Innermost(w), io.NopCloser(strings.NewReader("x")), 0)
	_, _ = io.Copy(io.Discard, exceeded)
}
