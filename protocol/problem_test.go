package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/protocol"
)

func TestProblemOf(t *testing.T) {
	refused := func(err error) error {
		return &limit.Error{Limit: "some_limit", Max: "7", RetryAfter: 3 * time.Second, Err: err}
	}
	tests := []struct {
		name   string
		err    error
		status int
		title  string
		detail string
		retry  time.Duration
	}{
		{"room name", names.ErrRoom, 400, "bad request", "bad room name", 0},
		{"broken rule", names.CheckRoom("a//b"), 400, "bad request", "empty segment", 0},
		{"event name", names.ErrEvent, 400, "bad request", "bad event name", 0},
		{"key", names.ErrKey, 400, "bad request", "bad idempotency key", 0},
		{"cursor", message.ErrPosition, 400, "bad request", "not a cursor", 0},
		{"content", protocol.ErrContent, 400, "bad request", "bad content", 0},
		{"key reused", hub.ErrKeyReused, 422, "idempotency key reused", "another message", 0},
		{"too large", refused(limit.ErrTooLarge), 413, "message too large", "some_limit is 7", 3 * time.Second},
		{"rate", refused(limit.ErrRate), 429, "too many messages", "some_limit is 7", 3 * time.Second},
		{"full", refused(limit.ErrFull), 503, "full", "some_limit is 7", 3 * time.Second},
		{"too large without a limit", limit.ErrTooLarge, 413, "message too large", "message too large", 0},
		{"draining", hub.ErrDraining, 503, "restarting", "closing", time.Second},
		{"ended", hub.ErrEnded, 503, "restarting", "ended", time.Second},
		{"engine unavailable", fmt.Errorf("dial secret: %w", hub.ErrUnavailable), 503, "engine unavailable", "", 5 * time.Second},
		{"outcome unknown", fmt.Errorf("secret: %w", hub.ErrOutcomeUnknown), 504, "outcome unknown", "may have been published", 0},
		{"storage full", fmt.Errorf("/secret: %w", hub.ErrStorageFull), 507, "storage full", "", 0},
		{"anything else", errors.New("pq: password of /etc/secret"), 500, "internal error", "", 0},
		{"cancelled", context.Canceled, 500, "internal error", "", 0},
		{"a problem", protocol.Bad("no %s", "thing"), 400, "bad request", "no thing", 0},
	}
	for _, test := range tests {
		for how, err := range map[string]error{"": test.err, ", wrapped": fmt.Errorf("while testing: %w", test.err)} {
			t.Run(test.name+how, func(t *testing.T) {
				p := protocol.ProblemOf(err)
				if p.Status != test.status || p.Title != test.title || p.RetryAfter != test.retry {
					t.Errorf("%+v, want %d %q, retry after %v", p, test.status, test.title, test.retry)
				}
				if !strings.Contains(p.Detail, test.detail) || test.detail == "" && p.Detail != "" {
					t.Errorf("detail %q, want %q", p.Detail, test.detail)
				}
				var problem *protocol.Problem
				if !errors.As(test.err, &problem) && !errors.Is(p, test.err) {
					t.Error("the cause is lost to logs")
				}
				if test.status >= 500 && strings.Contains(string(p.JSON())+string(protocol.Error(p)), "secret") {
					t.Error("a client is told what is none of its business")
				}
			})
		}
	}
}

func TestProblemError(t *testing.T) {
	cause := errors.New("cause")
	for want, p := range map[string]*protocol.Problem{
		"title": {Title: "title"}, "title: detail": {Title: "title", Detail: "detail", Err: cause}, "title: cause": {Title: "title", Err: cause},
	} {
		if p.Error() != want {
			t.Errorf("%q, want %q", p.Error(), want)
		}
	}
}

// Every cause has its row, and every row can be sent.
func TestEndingOf(t *testing.T) {
	for _, cause := range hub.Causes() {
		e := protocol.EndingOf(cause)
		if http.StatusText(e.Status) == "" {
			t.Errorf("%v: status %d", cause, e.Status)
		}
		// RFC 6455, sections 5.5 and 7.4; 4000 and above are ours.
		known := e.Close >= 1000 && e.Close <= 1014 && e.Close != 1004 && e.Close != 1005 && e.Close != 1006
		if !known && (e.Close < 4000 || e.Close > 4999) {
			t.Errorf("%v: close code %d", cause, e.Close)
		}
		if len(e.Title) > 123 {
			t.Errorf("%v: a reason of %d bytes", cause, len(e.Title))
		}
		if e.Title == "" && cause != hub.CauseLeft {
			t.Errorf("%v: no title", cause)
		}
	}
}
