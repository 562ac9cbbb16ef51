package protocol

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Problem is a refusal: the body of an HTTP error (RFC 9457) and the content
// of an error object on a connection. It is an error.
type Problem struct { //nolint:errname // RFC 9457's word for it
	Status     int
	Title      string        // the kind of problem; the same for all of its kind
	Detail     string        // this problem, for people; may be empty
	Field      string        // the field of a command that is at fault; may be empty
	RetryAfter time.Duration // when to try again; 0: trying again does not help
	Err        error         // the cause, for logs; may be nil
}

// Bad returns the problem of a malformed request, with a detail.
func Bad(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: fmt.Sprintf(format, args...)}
}

// Error implements error.
func (p *Problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Title + ": " + p.Detail
	case p.Err != nil:
		return p.Title + ": " + p.Err.Error()
	default:
		return p.Title
	}
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// JSON returns the problem document.
func (p *Problem) JSON() []byte {
	return line(struct {
		Type    string `json:"type"`
		Title   string `json:"title"`
		Status  int    `json:"status"`
		Detail  string `json:"detail,omitempty"`
		RetryMS int64  `json:"retry_ms,omitempty"`
	}{"about:blank", p.Title, p.Status, p.Detail, p.RetryAfter.Milliseconds()})
}

// engineRetryAfter is when to come back to an engine that cannot be reached.
const engineRetryAfter = 5 * time.Second

// blame has the field of a command that is at fault for an error of the hub.
var blame = map[error]string{
	names.ErrRoom: "room", hub.ErrScope: "room", names.ErrEvent: "event", names.ErrKey: "key", hub.ErrState: "state",
	hub.ErrData: "data", names.ErrType: "data", ErrContent: "data",
}

// ProblemOf returns the problem with which err is reported to a client. A problem of
// the server has no detail.
func ProblemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	p = &Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: err.Error(), Err: err}
	for bad, field := range blame {
		if errors.Is(err, bad) {
			p.Field = field
		}
	}
	if limit, ok := errors.AsType[*limit.Error](err); ok {
		p.RetryAfter = limit.RetryAfter
		p.Detail = limit.Limit + " is " + limit.Max
	}
	switch {
	case p.atTheDoor(err):
	case errors.Is(err, names.ErrRoom), errors.Is(err, names.ErrEvent), errors.Is(err, names.ErrKey),
		errors.Is(err, message.ErrPosition), errors.Is(err, hub.ErrState), errors.Is(err, hub.ErrData),
		errors.Is(err, names.ErrType), errors.Is(err, ErrContent):
	case errors.Is(err, hub.ErrRooms):
		p.Title, p.Detail = "too many rooms", fmt.Sprintf("one connection may be in at most %d rooms", settings.MaxRoomsJoined)
	case errors.Is(err, hub.ErrConn):
		p.Title, p.Detail = "no connection", "conn= must name one of your connections: use the conn of its ready, or of the first page"
	case errors.Is(err, hub.ErrNotJoined):
		p.Title = "not joined"
	case errors.Is(err, hub.ErrPresence):
		p.Status, p.Title, p.Detail = http.StatusForbidden, "no presence", "presence is off in this room"
	case errors.Is(err, hub.ErrKeyReused):
		p.Status, p.Title = http.StatusUnprocessableEntity, "idempotency key reused"
	case errors.Is(err, limit.ErrTooLarge):
		p.Status, p.Title = http.StatusRequestEntityTooLarge, "message too large"
	case errors.Is(err, limit.ErrRate):
		p.Status, p.Title = http.StatusTooManyRequests, "too many messages"
	case errors.Is(err, limit.ErrFull):
		p.Status, p.Title = http.StatusServiceUnavailable, "full"
	case errors.Is(err, hub.ErrUnavailable):
		p.Status, p.Title, p.Detail, p.RetryAfter = http.StatusServiceUnavailable, "engine unavailable", "", engineRetryAfter
	case errors.Is(err, hub.ErrOutcomeUnknown):
		p.Status, p.Title, p.Detail = http.StatusGatewayTimeout, "outcome unknown", "the message may have been published"
	case errors.Is(err, hub.ErrStorageFull):
		p.Status, p.Title, p.Detail = http.StatusInsufficientStorage, "storage full", ""
	case errors.Is(err, hub.ErrDraining), errors.Is(err, hub.ErrEnded):
		p.Status, p.Title, p.RetryAfter = http.StatusServiceUnavailable, "restarting", time.Second
	default:
		p.Status, p.Title, p.Detail = http.StatusInternalServerError, "internal error", ""
	}
	return p
}

// atTheDoor fills the problem for an error of who the client is and what it may do, and reports whether
// it is one.
func (p *Problem) atTheDoor(err error) bool {
	switch {
	case errors.Is(err, names.ErrUser):
		p.Status, p.Title = http.StatusUnauthorized, "bad user"
	case errors.Is(err, hub.ErrScope):
		p.Status, p.Title = http.StatusForbidden, "not allowed"
		p.Detail = "this connection is limited to the rooms that its URL names; connect to the hub's own URL for others"
	case errors.Is(err, hub.ErrUnauthorized):
		p.Status, p.Title, p.Detail, p.Field = http.StatusUnauthorized, "not signed in", "this room does not allow that to anonymous clients", "room"
	case errors.Is(err, hub.ErrForbidden):
		p.Status, p.Title, p.Detail, p.Field = http.StatusForbidden, "not allowed", "this room does not allow that to you", "room"
	case errors.Is(err, hub.ErrCredential):
		p.Status, p.Title = http.StatusUnauthorized, "bad credential"
	case errors.Is(err, hub.ErrUserChanged):
		p.Status, p.Title, p.Detail, p.Field = http.StatusUnauthorized, "another user", "the token is another user's: connect anew with it", "token"
	case errors.Is(err, hub.ErrNoVerifier):
		p.Status, p.Title, p.Detail = http.StatusNotImplemented, "not implemented", "this server takes no tokens"
	case errors.Is(err, hub.ErrNoRoom):
		p.Status, p.Title, p.Detail, p.Field = http.StatusNotFound, "no such room", "the room does not exist, and you may not make it", "room"
	default:
		return false
	}
	return true
}
