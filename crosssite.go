package realtime

import (
	"net/http"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// crossSite reports whether a page of another site has a browser send a request
// that does not say its origin, as an image, a link and a fetch without CORS do.
// Its visitor's cookies come along, so it does not speak for them. What is of the
// same site but of another origin counts as another site (Fetch Metadata Request
// Headers, "The Sec-Fetch-Site HTTP Request Header").
func crossSite(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		return false // admitOrigin knows better
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	default:
		return true
	}
}

// withoutEffect takes from what a page of another site asks for all that would
// change something: nobody is shown, joins, or waits. What is nothing but that is
// refused.
func (req *request) withoutEffect() error {
	switch req.mode {
	case modePage, modeHead, modeUI:
		req.state, req.presence, req.wait, req.conn = nil, hub.PresenceNothing, 0, ""
		return nil
	default:
		return &protocol.Problem{
			Status: http.StatusForbidden, Title: "origin refused",
			Detail: "a page of another site sent this without an Origin header (Sec-Fetch-Site); use fetch with CORS, EventSource or WebSocket, and list the page's origin in origins",
		}
	}
}
