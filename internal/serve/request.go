package serve

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// Bounds for the options of a request.
const (
	defaultLimit = protocol.DefaultPage
	maxLimit     = protocol.MaxPage
	maxWait      = 60 * time.Second
)

// request is what an HTTP request asks for.
type request struct {
	mode        mode
	subprotocol string // chosen among those offered

	// Where to begin.
	invalidCursor bool               // the client sent a cursor that cannot be parsed
	after         hub.Position       // the client's cursor
	cursors       protocol.CursorSet // or its cursor of several rooms
	conditional   bool               // the cursor came as If-None-Match
	last          int
	age           time.Duration
	before        hub.Position

	limit    int
	wait     time.Duration
	envelope bool
	noEcho   bool

	// Presence and the client.
	presence       hub.PresenceLevel
	presenceCursor hub.Position // the presence cursor of an earlier page
	state          []byte       // JSON that the client shows; nil: none
	answers        bool         // begin with an answer to each join
	members        bool         // presence alone
	conn           string       // the conn that the client claims
	anonymous      bool         // ignore the credentials
	user           *string      // the user that the client expects to be; nil: not given
}

// negotiate returns what a request asks for. With a UI it also offers HTML, as the last
// one: clients that accept anything get the JSON page.
func (s *Server) negotiate(r *http.Request) (request, error) {
	if !s.UI || r.Method != http.MethodGet || asksForWebSocket(r) || !prefersHTML(r.Header) {
		return parseRequest(r, s.Subprotocols)
	}
	if !queryOf(r).Has("log") {
		return request{mode: modeUI}, nil
	}
	// Except for its bytes it is a stream of lines.
	lines := *r
	lines.Header = r.Header.Clone()
	lines.Header.Set("Accept", "application/x-ndjson")
	req, err := parseRequest(&lines, s.Subprotocols)
	req.mode = modeLog
	return req, err
}

// parseRequest parses what a request asks for, apart from HTML. It looks only at the
// method, the headers and the query. An error is a *protocol.Problem.
func parseRequest(r *http.Request, subprotocols []string) (request, error) {
	req := request{limit: defaultLimit}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return req, protocol.Bad("the query cannot be read: %v", err)
	}
	if req.mode, err = chooseMode(r); err != nil {
		return req, err
	}
	if req.conn = r.Header.Get("Realtime-Conn"); req.conn == "" {
		req.conn = query.Get("conn")
	}
	req.anonymous = query.Has("anonymous")
	if query.Has("user") {
		user := query.Get("user")
		req.user = &user
	}
	if req.mode == modePublish && !query.Has("room") && (isOfType(r.Header, "application/x-ndjson") || query.Has("commands")) {
		req.mode = modeCommands
		return req, nil
	}
	if req.mode == modeWebSocket {
		if req.subprotocol, err = chooseSubprotocol(r.Header, subprotocols); err != nil {
			return req, err
		}
	}
	if r.Method != http.MethodGet {
		return req, nil
	}
	if err := req.options(r.Header, query); err != nil {
		return req, err
	}
	if err := req.begin(r.Header, query); err != nil {
		return req, err
	}
	return req, req.membership(query)
}

// options parses the options for the form of the answer.
func (req *request) options(h http.Header, query url.Values) error {
	var err error
	if req.envelope, err = boolean(query, "envelope", false); err != nil {
		return err
	}
	echo, err := boolean(query, "echo", true)
	if err != nil {
		return err
	}
	req.noEcho = !echo
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return protocol.Bad("limit=%s: must be a number from 1 to %d", s, maxLimit)
		}
		req.limit = min(n, maxLimit)
	}
	wait := query.Get("wait")
	if wait == "" {
		wait = preference(h.Values("Prefer"), "wait")
	} else if !isSeconds(wait) {
		return protocol.Bad("wait=%s: must be a number of seconds", wait)
	}
	if isSeconds(wait) { // a malformed preference is ignored (RFC 7240, section 2)
		n, _ := strconv.Atoi(wait)
		req.wait = min(time.Duration(n)*time.Second, maxWait)
	}
	return nil
}

// membership parses the client's state, and how much presence it asks for.
func (req *request) membership(query url.Values) error {
	if state := query.Get("state"); state != "" {
		req.state = []byte(state)
	}
	if req.state != nil || req.subprotocol == sessionSubprotocol {
		req.presence = hub.PresenceSome
	}
	asked := query.Get("presence")
	req.answers = asked != "" || req.state != nil
	if req.members = query.Has("members"); req.members {
		req.presence = hub.PresenceSome
		if asked == "" {
			asked = query.Get("members")
		}
		if req.mode == modeWebSocket {
			return protocol.Bad("members needs a GET with Accept: application/json or text/event-stream")
		}
	}
	switch asked {
	case "":
	case "0":
		req.presence = hub.PresenceNothing
	case "1":
		req.presence = hub.PresenceSome
	case "all":
		req.presence = hub.PresenceAll
	default:
		var err error
		if req.presenceCursor, err = message.ParsePosition(asked); err != nil {
			return protocol.Bad("presence=%s: must be 0, 1, all, or the presence_cursor of a page", asked)
		}
		req.presence = hub.PresenceSome
	}
	return nil
}
