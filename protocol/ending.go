package protocol

import (
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// A client that is sent away comes back after a random time between these two, so that
// clients do not all come at once.
const (
	RetryFirst = 500 * time.Millisecond
	RetryLast  = 3 * time.Second
)

// Ending is one row of the table of endings. By its codes a client knows why its
// connection ended, and whether to come back.
type Ending struct {
	Status int    // HTTP
	Close  uint16 // WebSocket close code (RFC 6455, section 7.4); ours are 4000 and above
	Title  string // short, for people
}

// CloseInvalidText is the close code for a text frame that is not UTF-8 (RFC 6455,
// section 7.4.1).
const CloseInvalidText = 1007

// endings holds an Ending for each cause.
var endings = map[hub.Cause]Ending{
	hub.CauseLeft:       {http.StatusOK, 1000, ""},
	hub.CauseGone:       {http.StatusRequestTimeout, 1001, "no sign of life"},
	hub.CauseProtocol:   {http.StatusBadRequest, 1002, "protocol error"},
	hub.CauseInvalid:    {http.StatusBadRequest, CloseInvalidText, "text that is not UTF-8"},
	hub.CauseCommand:    {http.StatusBadRequest, 4400, "too many commands that make no sense"},
	hub.CauseTooLarge:   {http.StatusRequestEntityTooLarge, 1009, "message too large"},
	hub.CauseRate:       {http.StatusTooManyRequests, 4429, "too many messages"},
	hub.CauseSlow:       {http.StatusRequestTimeout, 4408, "too slow to read"},
	hub.CauseOvertaken:  {http.StatusGone, 4410, "cursor cannot be honoured: come back without since"},
	hub.CauseDraining:   {http.StatusServiceUnavailable, 1012, "restarting: come back with the cursor"},
	hub.CauseStopping:   {http.StatusServiceUnavailable, 1012, "stopping: come back with the cursor"},
	hub.CauseForbidden:  {http.StatusForbidden, 4403, "not allowed any more"},
	hub.CauseNoRoom:     {http.StatusNotFound, 4404, "the room does not exist any more"},
	hub.CauseCredential: {http.StatusUnauthorized, 4401, "the credential has expired, or does not count any more"},
	hub.CauseUser:       {http.StatusUnauthorized, 4401, "the token of another user: connect anew"},
	hub.CauseAgain:      {http.StatusServiceUnavailable, 1012, "the configuration has changed: come back with the cursor"},
	hub.CauseInternal:   {http.StatusInternalServerError, 1011, "internal error"},
}

// EndingOf returns the ending of a cause.
func EndingOf(c hub.Cause) Ending { return endings[c] }
