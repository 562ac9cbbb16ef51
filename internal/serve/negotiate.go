package serve

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws"
)

// mode is a way of serving a request.
type mode string

const (
	modeWebSocket mode = "websocket"
	modeEvents    mode = "sse"
	modeLines     mode = "ndjson"
	modePage      mode = "page"
	modeHead      mode = "head"
	modePublish   mode = "publish"
	modeCommands  mode = "commands"
	modeForm      mode = "form"
	modePreflight mode = "preflight"
	modeUI        mode = "ui"  // the page with the chat
	modeLog       mode = "log" // the log as a document that never ends, for the page's frame
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

// cursorOf returns the client's cursor for a room, or zero.
func (req *request) cursorOf(room string) hub.Position {
	if p, ok := req.cursors.Find(room); ok {
		return p
	}
	return req.after
}

// The subprotocols of every handler: bare data, and commands.
const (
	rawSubprotocol     = "realtime.raw"
	sessionSubprotocol = "realtime.v1"
)

// negotiate parses what a request asks for. It looks only at the method, the headers
// and the query. An error is a *protocol.Problem.
func negotiate(r *http.Request, subprotocols []string) (request, error) {
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

// negotiate is like the function of that name, but offers HTML if the option ui is on.
// HTML comes last: clients that accept anything get the JSON page.
func (s *Server) negotiate(r *http.Request) (request, error) {
	if s.UI == nil || r.Method != http.MethodGet || asksForWebSocket(r) || !prefersHTML(r.Header) {
		return negotiate(r, s.Subprotocols)
	}
	if !queryOf(r).Has("log") {
		return request{mode: modeUI}, nil
	}
	// Except for its bytes it is a stream of lines.
	lines := *r
	lines.Header = r.Header.Clone()
	lines.Header.Set("Accept", "application/x-ndjson")
	req, err := negotiate(&lines, s.Subprotocols)
	req.mode = modeLog
	return req, err
}

// uiOffers are the offers with HTML as the last one.
var uiOffers = append(slices.Clip(offers), offer{"text/html", string(modeUI)})

func prefersHTML(h http.Header) bool {
	chosen, ok := accept(h.Values("Accept"), uiOffers)
	return ok && chosen == string(modeUI)
}

// isOfType reports whether the body has the media type.
func isOfType(h http.Header, media string) bool {
	given, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(given), media)
}

// offers are the media types in which a room is available.
var offers = []offer{
	{"application/json", string(modePage)},
	{"text/event-stream", string(modeEvents)},
	{"application/x-ndjson", string(modeLines)},
}

// chooseMode returns how a request is to be served. If several modes fit, an upgrade
// wins, then the best one by Accept.
func chooseMode(r *http.Request) (mode, error) {
	switch r.Method {
	case http.MethodConnect:
		// Extended CONNECT (RFC 8441, RFC 9220). Any 2xx would open a socket.
		return "", ws.NotAvailable()
	case http.MethodGet:
		if asksForWebSocket(r) {
			return modeWebSocket, nil
		}
		chosen, ok := accept(r.Header.Values("Accept"), offers)
		if !ok {
			return "", &protocol.Problem{
				Status: http.StatusNotAcceptable, Title: "not acceptable",
				Detail: "a room is available as text/event-stream, application/x-ndjson, application/json, or over WebSocket",
			}
		}
		return mode(chosen), nil
	case http.MethodHead:
		return modeHead, nil
	case http.MethodPost:
		if isForm(r.Header) {
			return modeForm, nil
		}
		return modePublish, nil
	case http.MethodOptions:
		return modePreflight, nil
	default:
		return "", &protocol.Problem{
			Status: http.StatusMethodNotAllowed, Title: "method not allowed",
			Detail: "a room accepts " + allowedMethods,
		}
	}
}

// allowedMethods is the value of Allow.
const allowedMethods = "GET, HEAD, POST, OPTIONS"

// asksForWebSocket reports whether an HTTP/1.1 request is meant as a WebSocket
// handshake, even if a proxy has dropped some of its headers: then ws.CheckHandshake
// refuses it.
func asksForWebSocket(r *http.Request) bool {
	return r.Header.Get("Sec-Websocket-Key") != "" || hasToken(r.Header.Values("Upgrade"), "websocket")
}

// isForm reports whether a page's form posts, without a script: only a browser that
// navigates accepts HTML.
func isForm(h http.Header) bool {
	if !isOfType(h, "application/x-www-form-urlencoded") && !isFormData(h) {
		return false
	}
	for _, v := range h.Values("Accept") {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), "text/html") {
				return true
			}
		}
	}
	return false
}

// chooseSubprotocol returns the first known name in the client's offer (RFC 6455,
// section 4.2.2), or "" without an offer. An offer without a known name is an error,
// since a browser closes a connection for which none was chosen.
func chooseSubprotocol(h http.Header, known []string) (string, error) {
	known = append([]string{sessionSubprotocol, rawSubprotocol}, known...)
	offered := h.Values("Sec-Websocket-Protocol")
	for _, v := range offered {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.TrimSpace(name)
			if slices.Contains(known, name) {
				return name, nil
			}
		}
	}
	if len(offered) == 0 {
		return "", nil
	}
	return "", protocol.Bad("none of the offered subprotocols is supported; supported are: %s", strings.Join(known, ", "))
}

// CheckSubprotocol checks the name of a subprotocol, which is a token (RFC 6455, section
// 4.1; RFC 9110, section 5.6.2).
func CheckSubprotocol(name string) error {
	if strings.HasPrefix(name, "realtime.") {
		return fmt.Errorf("invalid subprotocol %q: names that begin with realtime. are reserved", name)
	}
	if name == "" || len(name) > 64 || !isToken(name) {
		return fmt.Errorf("invalid subprotocol %q: must be 1 to 64 letters, digits and !#$%%&'*+-.^_`|~", name)
	}
	return nil
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// begin parses where to begin. The first of these that is present decides: a last
// event id in the header (an EventSource always repeats its first URL, so the header is
// newer), or in the query; since; If-None-Match; last.
func (req *request) begin(h http.Header, query url.Values) error {
	if before := query.Get("before"); before != "" {
		if req.mode != modePage {
			return protocol.Bad("before pages backwards; it needs a GET with Accept: application/json")
		}
		var err error
		if req.before, err = hub.ParsePosition(before); err != nil {
			return protocol.Bad("before: %v", err)
		}
		return nil
	}
	name, cursor := "Last-Event-ID", h.Get("Last-Event-Id")
	if cursor == "" {
		name, cursor = lastEventID(query)
	}
	if cursor == "" {
		name, cursor = "since", query.Get("since")
	}
	switch {
	case cursor != "":
		if err := req.cursor(cursor); err != nil {
			if req.mode == modePage && req.wait == 0 {
				return protocol.Bad("%s: %v", name, err)
			}
			req.invalidCursor = true // a gap: a 400 would end the client for good
		}
	case req.mode == modePage:
		req.conditional = req.etag(h.Values("If-None-Match"))
	}
	last := query.Get("last")
	if last == "" || req.invalidCursor || !req.after.IsZero() {
		return nil
	}
	var err error
	if req.last, req.age, err = protocol.ParseLast(last); err != nil {
		return protocol.Bad("last=%s: %v", last, err)
	}
	return nil
}

// lastEventID returns the last event id of the query, and its parameter's name.
// EventSource libraries that cannot send headers write it lastEventId, last-event-id,
// lastEventID or Last-Event-ID.
func lastEventID(query url.Values) (name, id string) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if id := query.Get(name); id != "" && isLastEventID(name) {
			return name, id
		}
	}
	return "", ""
}

func isLastEventID(name string) bool {
	return strings.EqualFold(strings.NewReplacer("-", "", "_", "").Replace(name), "lasteventid")
}

// cursor parses a cursor of one room or of several.
func (req *request) cursor(s string) (err error) {
	if len(s) > protocol.MaxCursor {
		return fmt.Errorf("a cursor may have at most %d bytes, this one has %d", protocol.MaxCursor, len(s))
	}
	if req.after, err = hub.ParsePosition(s); err == nil || !strings.Contains(s, "=") {
		return err
	}
	req.cursors, err = protocol.ParseCursorSet(s)
	return err
}

// codings are the suffixes that proxies and other handlers add to the entity tag of a
// response that they compress.
var codings = []string{"-gzip", "-br", "-zstd", "-deflate", ";gzip", ";br"}

// etag takes the first cursor among entity tags, weak or strong (RFC 9110, section
// 13.1.2). It ignores tags that are not cursors.
func (req *request) etag(values []string) (found bool) {
	for _, v := range values {
		for {
			_, rest, opened := strings.Cut(v, `"`)
			tag, after, closed := strings.Cut(rest, `"`)
			if !opened || !closed {
				break
			}
			for _, coding := range codings {
				tag = strings.TrimSuffix(tag, coding)
			}
			if req.cursor(tag) == nil {
				return true
			}
			v = after
		}
	}
	req.after, req.cursors = hub.Position{}, nil
	return false
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
		if req.presenceCursor, err = hub.ParsePosition(asked); err != nil {
			return protocol.Bad("presence=%s: must be 0, 1, all, or the presence_cursor of a page", asked)
		}
		req.presence = hub.PresenceSome
	}
	return nil
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

// isSeconds reports whether s is a number of seconds from 0 to 2^31.
func isSeconds(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && n <= 1<<31
}

func boolean(query url.Values, name string, byDefault bool) (bool, error) {
	s := query.Get(name)
	if s == "" {
		return byDefault, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, protocol.Bad("%s=%s: must be 1 or 0", name, s)
	}
	return b, nil
}

// preference returns the value of a preference (RFC 7240, section 2). If there are
// several the first one counts.
func preference(values []string, name string) string {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			token, _, _ := strings.Cut(part, ";")
			k, value, _ := strings.Cut(token, "=")
			if strings.EqualFold(strings.TrimSpace(k), name) {
				return strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
	}
	return ""
}

// hasToken reports whether a comma-separated header has the token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}
