package serve

import (
	"math"
	"net/http"
	"strconv"

	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
)

// Refuse prepares the answer to a request that is refused: it sets headers, and drops
// the body. It returns the problem that the caller has to write, or nil if it has
// written the answer itself, as to an EventSource that shall come back.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, err error) *protocol.Problem {
	p := protocol.ProblemOf(err)
	dropRest(w, r, false)
	if p.Status == http.StatusInternalServerError {
		s.Log.Error("serving a room", "error", err)
	}
	header := w.Header()
	if p.Status == http.StatusMethodNotAllowed && header.Get("Allow") == "" {
		header.Set("Allow", allowedMethods)
	}
	if p.Status == http.StatusUnauthorized && header.Get("WWW-Authenticate") == "" {
		header.Set("WWW-Authenticate", "Bearer") // RFC 9110, section 11.6.1; no browser asks for a password then
	}
	retry := p.RetryAfter > 0
	if retry {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	if retry && p.Status != http.StatusForbidden && r.Method == http.MethodGet {
		// Any status except 200 would end an EventSource for good.
		if mode, err := chooseMode(r); err == nil && mode == modeEvents {
			sse.Head(w, sse.Events{}.ContentType())
			_, _ = w.Write(sse.Bye(nil, p.Status, p.RetryAfter))
			return nil
		}
	}
	return p
}
