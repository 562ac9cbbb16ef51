package realtime

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/protocol"
)

// A body may end with the error of a handler before us, whose status counts.
func TestAnotherHandlersRefusalOfABody(t *testing.T) {
	h := &Handler{server: &serve.Server{Log: slog.New(slog.DiscardHandler)}}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/rt/lobby", nil)
	err := &protocol.Problem{Status: http.StatusBadRequest, Title: "bad request", Err: caddyhttp.Error(http.StatusUnsupportedMediaType, io.ErrUnexpectedEOF)}
	if err := h.refuse(w, r, err); err != nil || w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), "body refused") {
		t.Errorf("%v, %d %s", err, w.Code, w.Body)
	}
}
