package realtime

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

// way is one way to be served.
type way string

const (
	wayWebSocket way = "websocket"
	wayEvents    way = "sse"
	wayLines     way = "ndjson"
	wayPage      way = "page"
	wayHead      way = "head"
	wayPublish   way = "publish"
	wayCommands  way = "commands"
	wayForm      way = "form"
	wayPreflight way = "preflight"
)

// Bounds of what a request may ask for.
const (
	defaultLimit = protocol.DefaultPage
	maxLimit     = protocol.MaxPage
	maxWait      = 60 * time.Second
)

// want is what a request asks for.
type want struct {
	way         way
	subprotocol string // chosen among those offered

	// Where to begin.
	invalidCursor bool               // a cursor came that is none of ours
	after         hub.Position       // a cursor that came
	cursors       protocol.CursorSet // or one of several rooms
	conditional   bool               // it came as If-None-Match
	last          int
	age           time.Duration
	before        hub.Position

	limit    int
	wait     time.Duration
	envelope bool
	noEcho   bool

	// Who is there.
	presence  hub.PresenceLevel
	told      hub.Position // what a page has told before
	state     []byte       // JSON to show; nil: none
	answers   bool         // of each room how it was joined
	members   bool         // nothing but who is there
	conn      string       // that the client says is its own
	anonymous bool         // whoever the credentials say it is
	user      *string      // who the client takes itself for; nil: it does not say
}

// cursorOf returns the cursor that came for a room, or zero.
func (w *want) cursorOf(room string) hub.Position {
	if p, ok := w.cursors.Find(room); ok {
		return p
	}
	return w.after
}

// The subprotocols that every hub knows: data as it is, and commands.
const (
	rawSubprotocol     = "realtime.raw"
	sessionSubprotocol = "realtime.v1"
)

// negotiate says what a request asks for, from its method, headers and query
// alone. An error is a *protocol.Problem.
func negotiate(r *http.Request, subprotocols []string) (want, error) {
	w := want{limit: defaultLimit}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return w, protocol.Bad("the query cannot be read: %v", err)
	}
	if w.way, err = chooseWay(r); err != nil {
		return w, err
	}
	if w.conn = r.Header.Get("Realtime-Conn"); w.conn == "" {
		w.conn = query.Get("conn")
	}
	w.anonymous = query.Has("anonymous")
	if query.Has("user") {
		user := query.Get("user")
		w.user = &user
	}
	if w.way == wayPublish && !query.Has("room") && (isOfType(r.Header, "application/x-ndjson") || query.Has("commands")) {
		w.way = wayCommands
		return w, nil
	}
	if w.way == wayWebSocket {
		if w.subprotocol, err = chooseSubprotocol(r.Header, subprotocols); err != nil {
			return w, err
		}
	}
	if r.Method != http.MethodGet {
		return w, nil
	}
	if err := w.options(r.Header, query); err != nil {
		return w, err
	}
	if err := w.begin(r.Header, query); err != nil {
		return w, err
	}
	return w, w.membership(query)
}

// isOfType reports whether a body is of the media type.
func isOfType(h http.Header, media string) bool {
	given, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(given), media)
}

// offers is what a room can be had as.
var offers = []offer{
	{"application/json", string(wayPage)},
	{"text/event-stream", string(wayEvents)},
	{"application/x-ndjson", string(wayLines)},
}

// chooseWay says by which way a request is to be served. Several may fit: an
// upgrade first, then the best of Accept.
func chooseWay(r *http.Request) (way, error) {
	switch r.Method {
	case http.MethodConnect:
		// Extended CONNECT (RFC 8441, RFC 9220). Any 2xx would open a socket.
		return "", ws.NotAvailable()
	case http.MethodGet:
		if asksForWebSocket(r) {
			return wayWebSocket, nil
		}
		chosen, ok := accept(r.Header.Values("Accept"), offers)
		if !ok {
			return "", &protocol.Problem{
				Status: http.StatusNotAcceptable, Title: "not acceptable",
				Detail: "a room can be had as text/event-stream, application/x-ndjson, application/json, or by WebSocket",
			}
		}
		return way(chosen), nil
	case http.MethodHead:
		return wayHead, nil
	case http.MethodPost:
		if isForm(r.Header) {
			return wayForm, nil
		}
		return wayPublish, nil
	case http.MethodOptions:
		return wayPreflight, nil
	default:
		return "", &protocol.Problem{
			Status: http.StatusMethodNotAllowed, Title: "method not allowed",
			Detail: "a room takes " + allowedMethods,
		}
	}
}

// allowedMethods is the value of Allow.
const allowedMethods = "GET, HEAD, POST, OPTIONS"

// asksForWebSocket reports whether an HTTP/1.1 request means to be upgraded. A
// request that a proxy has robbed of half of its headers means it, too, and is
// told so by ws.CheckHandshake.
func asksForWebSocket(r *http.Request) bool {
	return r.Header.Get("Sec-Websocket-Key") != "" || hasToken(r.Header.Values("Upgrade"), "websocket")
}

// isForm reports whether a page's form posts, which no script does: only a
// browser that navigates accepts HTML.
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

// chooseSubprotocol chooses the first name offered that is known (RFC 6455,
// section 4.2.2). Without an offer there is none; an offer of unknown names
// alone is an error, since a browser would drop a connection without a choice.
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
	return "", protocol.Bad("none of the offered subprotocols is known; known are: %s", strings.Join(known, ", "))
}

// begin finds where to begin. The first that is there decides: a last event id,
// in the header (an EventSource repeats its first URL for ever, so the header
// knows better) or in the query; since; If-None-Match; last.
func (w *want) begin(h http.Header, query url.Values) error {
	if before := query.Get("before"); before != "" {
		if w.way != wayPage {
			return protocol.Bad("before pages backwards and is for GET with Accept: application/json")
		}
		var err error
		if w.before, err = hub.ParsePosition(before); err != nil {
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
		if err := w.cursor(cursor); err != nil {
			if w.way == wayPage && w.wait == 0 {
				return protocol.Bad("%s: %v", name, err)
			}
			w.invalidCursor = true // a gap, never a 400: the client would end for good
		}
	case w.way == wayPage:
		w.conditional = w.etag(h.Values("If-None-Match"))
	}
	last := query.Get("last")
	if last == "" || w.invalidCursor || !w.after.IsZero() {
		return nil
	}
	var err error
	if w.last, w.age, err = protocol.ParseLast(last); err != nil {
		return protocol.Bad("last=%s: %v", last, err)
	}
	return nil
}

// lastEventID returns the last event id of the query, under whichever name an
// EventSource that can't send headers gives it: lastEventId, last-event-id,
// lastEventID, Last-Event-ID.
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

// cursor reads a cursor, of one room or of several.
func (w *want) cursor(s string) (err error) {
	if len(s) > protocol.MaxCursor {
		return fmt.Errorf("a cursor has at most %d bytes, this one %d", protocol.MaxCursor, len(s))
	}
	if w.after, err = hub.ParsePosition(s); err == nil || !strings.Contains(s, "=") {
		return err
	}
	w.cursors, err = protocol.ParseCursorSet(s)
	return err
}

// codings end the entity tag of an answer that a proxy, or another handler, has
// compressed.
var codings = []string{"-gzip", "-br", "-zstd", "-deflate", ";gzip", ";br"}

// etag takes the first cursor of ours among entity tags (RFC 9110, section
// 13.1.2), weak ones too; what is not ours is ignored.
func (w *want) etag(values []string) (found bool) {
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
			if w.cursor(tag) == nil {
				return true
			}
			v = after
		}
	}
	w.after, w.cursors = hub.Position{}, nil
	return false
}

// membership reads who the client is in the room, and what of it he is told.
func (w *want) membership(query url.Values) error {
	if state := query.Get("state"); state != "" {
		w.state = []byte(state)
	}
	if w.state != nil || w.subprotocol == sessionSubprotocol {
		w.presence = hub.PresenceSome
	}
	asked := query.Get("presence")
	w.answers = asked != "" || w.state != nil
	if w.members = query.Has("members"); w.members {
		w.presence = hub.PresenceSome
		if asked == "" {
			asked = query.Get("members")
		}
		if w.way == wayWebSocket {
			return protocol.Bad("members is for GET with Accept: application/json or text/event-stream")
		}
	}
	switch asked {
	case "":
	case "0":
		w.presence = hub.PresenceNothing
	case "1":
		w.presence = hub.PresenceSome
	case "all":
		w.presence = hub.PresenceAll
	default:
		var err error
		if w.told, err = hub.ParsePosition(asked); err != nil {
			return protocol.Bad("presence=%s: must be 0, 1, all, or the presence_cursor of a page", asked)
		}
		w.presence = hub.PresenceSome
	}
	return nil
}

// options reads what shapes the answer.
func (w *want) options(h http.Header, query url.Values) error {
	var err error
	if w.envelope, err = boolean(query, "envelope", false); err != nil {
		return err
	}
	echo, err := boolean(query, "echo", true)
	if err != nil {
		return err
	}
	w.noEcho = !echo
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return protocol.Bad("limit=%s: must be a number from 1 to %d", s, maxLimit)
		}
		w.limit = min(n, maxLimit)
	}
	wait := query.Get("wait")
	if wait == "" {
		wait = preference(h.Values("Prefer"), "wait")
	} else if !isSeconds(wait) {
		return protocol.Bad("wait=%s: must be a number of seconds", wait)
	}
	if isSeconds(wait) { // a preference that cannot be read is ignored (RFC 7240, section 2)
		n, _ := strconv.Atoi(wait)
		w.wait = min(time.Duration(n)*time.Second, maxWait)
	}
	return nil
}

// isSeconds reports whether s is a number that is not negative and not absurd.
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

// preference returns the value of a preference (RFC 7240, section 2); the first
// one counts.
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
