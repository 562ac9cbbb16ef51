package serve

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/protocol"
)

// client returns the client that sent a request, as far as its credentials count. It may set cookies.
// anyOrigin says that any page may have sent it. It removes effects from the request if
// a page of another site has sent it.
func (s *Server) client(answer http.Header, r *http.Request, req *request, rooms []string, anyOrigin bool) (hub.Client, error) {
	foreign := crossSite(r)
	shown, err := present(r, queryOf(r))
	if err != nil {
		return hub.Client{}, err
	}
	// Any page may have sent this with the cookies of its visitor, without acting
	// for them. Or the client asks for it. What matchers tell goes by cookies and
	// addresses, too.
	shown.Ambient = !anyOrigin && !foreign
	if req.anonymous {
		shown = Presented{Anonymous: true}
	}
	shown.Opens, shown.Answer = req.mode.opens(), answer
	client, err := s.Identify(r, shown)
	if err == nil {
		err = client.User.Check()
	}
	if errors.Is(err, names.ErrUser) {
		s.badUser.Do(func() {
			s.Log.Warn("an authentication handler has set a user whom no room accepts; more of them are not logged", "error", err)
		})
	}
	if err != nil {
		return client, err
	}
	if err := req.sameUser(client.User); err != nil {
		return client, err
	}
	if foreign {
		if err := req.withoutEffect(); err != nil {
			return client, err
		}
	}
	if s.Hub.Owns(req.conn, client.User) {
		client.ID = strings.Clone(req.conn)
	}
	if len(rooms) > 0 {
		client.Scope = rooms // handlers before us have judged by the URL
	}
	client.Presence, client.Observer = req.presence, req.members
	return client, nil
}

// admitAll refuses a request to read several rooms if one of them is refused, before it has any
// effect in the others.
func (s *Server) admitAll(c hub.Client, rooms []string, req *request) error {
	if len(rooms) < 2 || req.mode == modePublish || req.mode == modeForm {
		return nil
	}
	caller := s.Hub.Caller(c)
	for _, room := range rooms {
		if err := caller.May(hub.VerbSubscribe, room); err != nil {
			return err
		}
	}
	return nil
}

// sameUser refuses a request whose ?user= is not the user of its credentials: the user
// has signed in or out meanwhile.
func (req *request) sameUser(u *hub.User) error {
	id := ""
	if u != nil {
		id = u.ID
	}
	if req.user == nil || *req.user == id {
		return nil
	}
	return &protocol.Problem{
		Status: http.StatusPreconditionFailed, Title: "another user", Field: "user",
		Detail: "the request names another user than its credentials do; a HEAD tells which one (Realtime-User)",
	}
}

// crossSite reports whether a page of another site has made a browser send a request
// without an Origin, as images, links and fetch without CORS do. The visitor's cookies
// come with it, but the page does not act for the visitor. Another origin of the same
// site counts as another site (Fetch Metadata Request Headers, "The Sec-Fetch-Site HTTP
// Request Header").
func crossSite(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		return false // admitOrigin decides
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	default:
		return true
	}
}

// withoutEffect removes from the request of another site's page everything that has an
// effect: it shows no member, joins no room, and does not wait. Requests that consist
// of an effect are refused.
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
