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
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	o := &operation{pooledHub: p, ResponseWriter: w, ctx: ctx, control: http.NewResponseController(w)}
	watch.Go(func() {
		select {
		case <-exiting.begun:
			cancel(errExiting)
		case <-ctx.Done():
		}
	})
	err = o.within(do)
	switch {
	case err == nil:
		return nil
	case o.written: // Caddy's error would look like more of the answer
		if r.Context().Err() == nil {
			p.hub.Logger().Error("an answer of the admin API is cut off", "path", r.URL.Path, "hub", hubName, "error", err)
		}
		panic(http.ErrAbortHandler) // so that the client does not take it for whole
	}
	return operationError(ctx, err)
}

// within runs do. Whoever waits for the client then, or for it to take something, fails when ctx ends.
func (o *operation) within(do func(*operation) error) error {
	if err := o.control.SetReadDeadline(time.Now().Add(idleTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	stop := context.AfterFunc(o.ctx, func() {
		_ = o.control.SetReadDeadline(time.Unix(1, 0)) // in the past
		_ = o.control.SetWriteDeadline(time.Unix(1, 0))
	})
	defer func() {
		if stop() {
			_ = o.control.SetReadDeadline(time.Time{})
			_ = o.control.SetWriteDeadline(time.Time{})
		}
	}()
	return do(o)
}

// Write implements io.Writer: it writes a part of an answer that may be long.
func (o *operation) Write(b []byte) (int, error) {
	if err := o.control.SetWriteDeadline(time.Now().Add(idleTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	if o.ctx.Err() != nil { // which may have set the deadline before
		return 0, context.Cause(o.ctx)
	}
	o.written = true
	return o.ResponseWriter.Write(b)
}

// operationError returns the error of an operation as the admin API shows it.
func operationError(ctx context.Context, err error) error {
	if _, ok := errors.AsType[caddy.APIError](err); ok {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, errExiting), errors.Is(err, context.Canceled), errors.Is(err, hub.ErrDraining), errors.Is(err, hub.ErrUnavailable):
		status = http.StatusServiceUnavailable
	case errors.Is(err, hub.ErrStorageFull):
		status = http.StatusInsufficientStorage
	case errors.Is(err, hub.ErrBegunAnew):
		status = http.StatusConflict
	case errors.Is(err, errors.ErrUnsupported):
		status = http.StatusNotImplemented
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

func unavailable(err error) error {
	return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
}
