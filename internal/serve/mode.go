package serve

import (
	"net/http"
	"slices"
	"strings"

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

// opens reports whether a request of the mode opens a connection that stays, or publishes.
func (m mode) opens() bool {
	switch m {
	case modeWebSocket, modeEvents, modeLines, modeLog, modePublish, modeCommands, modeForm:
		return true
	default:
		return false
	}
}

// offers are the media types in which a room is available.
var offers = []offer{
	{"application/json", string(modePage)},
	{"text/event-stream", string(modeEvents)},
	{"application/x-ndjson", string(modeLines)},
}

// uiOffers are the offers with HTML as the last one.
var uiOffers = append(slices.Clip(offers), offer{"text/html", string(modeUI)})

func prefersHTML(h http.Header) bool {
	chosen, ok := accept(h.Values("Accept"), uiOffers)
	return ok && chosen == string(modeUI)
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
