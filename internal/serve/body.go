package serve

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/protocol"
)

// bodyTime is how long a body may take to arrive.
const bodyTime = 60 * time.Second

// readBody reads a body of at most limit bytes; detail is that of the refusal of a
// larger one.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, detail string) ([]byte, error) {
	tooLarge := &protocol.Problem{Status: http.StatusRequestEntityTooLarge, Title: "message too large", Detail: detail}
	if r.ContentLength > limit {
		return nil, tooLarge // a client that waits for 100 Continue need not send it
	}
	// A server without deadlines bounds the time itself.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	// Without a writer it does not close the connection: dropRest does, if it must.
	limit = min(limit, math.MaxInt64-1)
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	over, isOver := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		r.Body = http.NoBody // it has been read
		return body, nil
	case isOver:
		if over.Limit != limit {
			tooLarge.Detail = fmt.Sprintf("the site limits request bodies to %d bytes, as request_body does", over.Limit)
		}
		dropRest(w, r, true)
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &protocol.Problem{
			Status: http.StatusRequestTimeout, Title: "request timeout",
			Detail: "the body took longer than " + bodyTime.String(), Err: err,
		}
	default:
		// If another handler of the site has refused the body, Err says so.
		return nil, &protocol.Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "the body is incomplete", Err: err}
	}
}

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
