package realtime

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
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
	wayForm      way = "form"
	wayPreflight way = "preflight"
)

// Bounds of what a request may ask for.
const (
	defaultLimit = 50
	maxLimit     = 1000
	maxWait      = 60 * time.Second
	maxCursor    = 4 << 10 // bytes
)

// want is what a request asks for.
type want struct {
	way         way
	subprotocol string // chosen among those offered

	// Where to begin.
	foreign     bool         // a cursor came that is none of ours
	after       hub.Position // a cursor that came
	conditional bool         // it came as If-None-Match
	last        int
	age         time.Duration
	before      hub.Position

	limit    int
	wait     time.Duration
	envelope bool
	noEcho   bool
}

// rawSubprotocol is the subprotocol that every hub knows: section 5 of the
// protocol by name.
const rawSubprotocol = "realtime.raw"

// negotiate says what a request asks for, from its method, headers and query
// alone. An error is a *protocol.Problem.
func negotiate(r *http.Request, subprotocols []string) (want, error) {
	w := want{limit: defaultLimit}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return w, protocol.Bad("the query cannot be read: %v", err)
	}
	if w.way, err = chooseWay(r); err != nil {
		return w, err
	}
	for _, name := range []string{"members", "state"} {
		if query.Has(name) {
			return w, &protocol.Problem{Status: http.StatusNotImplemented, Title: "not implemented", Detail: "this version has no ?" + name}
		}
	}
	if w.way == wayWebSocket {
		if w.subprotocol, err = chooseSubprotocol(r.Header, subprotocols); err != nil {
			return w, err
		}
	}
	if r.Method != http.MethodGet {
		return w, nil
	}
	if err := w.begin(r.Header, query); err != nil {
		return w, err
	}
	return w, w.options(r.Header, query)
}

// chooseWay says by which way a request is to be served. Several may fit: an
// upgrade first, then the best of Accept.
func chooseWay(r *http.Request) (way, error) {
	switch r.Method {
	case http.MethodConnect:
		// Extended CONNECT (RFC 8441, RFC 9220). Any 2xx would open a socket.
		return "", &protocol.Problem{
			Status: http.StatusNotImplemented, Title: "not implemented",
			Detail: "WebSocket over HTTP/2 and HTTP/3 is not available; connect by HTTP/1.1",
		}
	case http.MethodGet:
		if asksForWebSocket(r) {
			return wayWebSocket, nil
		}
		chosen, ok := accept(r.Header.Values("Accept"), []offer{
			{"application/json", string(wayPage)},
			{"text/event-stream", string(wayEvents)},
			{"application/x-ndjson", string(wayLines)},
		})
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
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded") {
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
	offered := h.Values("Sec-Websocket-Protocol")
	for _, v := range offered {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.TrimSpace(name)
			if slices.Contains(append([]string{rawSubprotocol}, known...), name) {
				return name, nil
			}
		}
	}
	if len(offered) == 0 {
		return "", nil
	}
	return "", protocol.Bad("none of the offered subprotocols is known; known are: %s", strings.Join(append([]string{rawSubprotocol}, known...), ", "))
}

// begin finds where to begin: the Last-Event-ID header (an EventSource repeats
// its first URL for ever, so the header knows better), else since, else
// If-None-Match; else last.
func (w *want) begin(h http.Header, query url.Values) error {
	header, since := h.Get("Last-Event-Id"), query.Get("since")
	if len(header) > maxCursor || len(since) > maxCursor {
		return protocol.Bad("a cursor has at most %d bytes", maxCursor)
	}
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
	switch {
	case header != "":
		var err error
		if w.after, err = hub.ParsePosition(header); err != nil {
			w.foreign = true // a gap, never a 400: the client cannot help it
		}
		return nil
	case since != "":
		var err error
		if w.after, err = hub.ParsePosition(since); err != nil {
			return protocol.Bad("since: %v", err)
		}
		return nil
	case w.way == wayPage:
		if w.after = etagCursor(h.Values("If-None-Match")); !w.after.IsZero() {
			w.conditional = true
			return nil
		}
	}
	return w.rewind(query.Get("last"))
}

// rewind reads last=20 or last=10m.
func (w *want) rewind(last string) error {
	if last == "" {
		return nil
	}
	if n, err := strconv.Atoi(last); err == nil {
		if n < 0 {
			return protocol.Bad("last=%s: must not be negative", last)
		}
		w.last = n
		return nil
	}
	d, err := caddy.ParseDuration(last)
	if err != nil || d <= 0 {
		return protocol.Bad("last=%s: must be a number of messages, or a time like 10m", last)
	}
	w.age = d
	return nil
}

// etagCursor returns the first cursor of ours among entity tags (RFC 9110,
// section 13.1.2), weak ones too; what is not ours is ignored.
func etagCursor(values []string) hub.Position {
	for _, v := range values {
		for tag := range strings.SplitSeq(v, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			inner, ok := strings.CutPrefix(tag, `"`)
			if inner, ok2 := strings.CutSuffix(inner, `"`); ok && ok2 {
				if p, err := hub.ParsePosition(inner); err == nil {
					return p
				}
			}
		}
	}
	return hub.Position{}
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
