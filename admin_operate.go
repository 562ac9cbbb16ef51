package realtime

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
)

// The part of the admin API whose requests may take long, since they are about all that a hub keeps.

const (
	// maxOperations is how many of these there may be at once.
	maxOperations = 4
	// idleTime is how long a client may take to accept some bytes of an answer, or to send some of a request.
	idleTime = 5 * time.Minute
	// answerTime is how long it may take to accept the end of an answer.
	answerTime = 10 * time.Second
)

// operations counts them.
var operations atomic.Int32

// operation is one of these requests.
type operation struct {
	*pooledHub
	http.ResponseWriter

	ctx     context.Context //nolint:containedctx // that of the request, until the hub or the process ends
	control *http.ResponseController
	written bool // something of the answer
}

// errExiting is why an operation ends with the process.
var errExiting = errors.New("the process exits")

// operate does something that may take long. It ends with the client and the hub, and when the process begins to exit,
// which would wait for it.
func operate(w http.ResponseWriter, r *http.Request, hubName string, do func(*operation) error) error {
	defer operations.Add(-1)
	if operations.Add(1) > maxOperations {
		return unavailable(fmt.Errorf("there are %d exports, imports and the like already", maxOperations))
	}
	p, err := findHub(hubName)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	ctx, done, err := p.hub.Operate(r.Context())
	if err != nil {
		return unavailable(err)
	}
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	o := &operation{pooledHub: p, ResponseWriter: w, ctx: ctx, control: http.NewResponseController(w)}
	err = o.watched(cancel, do)
	switch {
	case err == nil:
		return nil
	case o.written: // Caddy's error would look like more of the answer
		if r.Context().Err() == nil {
			p.hub.Logger().Error("an answer of the admin API is cut off", "path", r.URL.Path, "hub", hubName, "error", err)
		}
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
	if _, ok := errors.AsType[caddy.APIError](err); ok {
		return err
	}
	status := statusOf(ctx, err)
	if cause := o.ended(); cause != nil && errors.Is(err, context.Canceled) {
		err = cause // which says more
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// watched runs do. When the context ends, or the process begins to exit, whoever waits for the client does not
// wait any longer.
func (o *operation) watched(cancel context.CancelCauseFunc, do func(*operation) error) error {
	finished := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-finished:
			return
		case <-exiting.begun:
			cancel(errExiting)
		case <-o.ctx.Done():
		}
		_ = o.control.SetReadDeadline(time.Unix(1, 0)) // in the past
		_ = o.control.SetWriteDeadline(time.Unix(1, 0))
	})
	defer func() {
		close(finished)
		watch.Wait()
		_ = o.control.SetWriteDeadline(time.Now().Add(answerTime)) // for the error, or the end of the answer
	}()
	return do(o)
}

// ended returns why the operation has to end, or nil.
func (o *operation) ended() error { return context.Cause(o.ctx) }

// Write implements io.Writer: it writes a part of an answer that may be long.
func (o *operation) Write(b []byte) (int, error) {
	if err := o.control.SetWriteDeadline(time.Now().Add(idleTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	if err := o.ended(); err != nil { // which may have set the deadline before
		return 0, err
	}
	o.written = true
	return o.ResponseWriter.Write(b)
}

// statusOf returns the status for the error of an operation.
func statusOf(ctx context.Context, err error) int {
	switch {
	case ctx.Err() != nil, errors.Is(err, hub.ErrDraining), errors.Is(err, hub.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, hub.ErrStorageFull):
		return http.StatusInsufficientStorage
	case errors.Is(err, hub.ErrBegunAnew), errors.Is(err, hub.ErrKeyReused):
		return http.StatusConflict
	case errors.Is(err, errors.ErrUnsupported):
		return http.StatusNotImplemented
	default:
		return http.StatusInternalServerError
	}
}

func unavailable(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
}
