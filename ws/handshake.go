package ws

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
)

// NotAvailable returns the refusal of a WebSocket over HTTP/2 or HTTP/3.
func NotAvailable() *protocol.Problem {
	return &protocol.Problem{
		Status: http.StatusNotImplemented, Title: "not implemented",
		Detail: "WebSocket over HTTP/2 and HTTP/3 is not available; connect over HTTP/1.1",
	}
}

// CheckHandshake checks an HTTP/1.1 request for a WebSocket by RFC 6455, section
// 4.2.1. It returns nil, or a *protocol.Problem that names what is wrong; then it has
// set on h the headers that the answer must have.
func CheckHandshake(r *http.Request, h http.Header) error {
	if r.Method != http.MethodGet {
		return protocol.Bad("a WebSocket handshake must be a GET, not a %s", r.Method)
	}
	if !r.ProtoAtLeast(1, 1) {
		return protocol.Bad("a WebSocket handshake needs HTTP/1.1")
	}
	if r.ProtoMajor > 1 {
		// A proxy has translated the request. 426 would need the header Upgrade, which
		// HTTP/2 and HTTP/3 forbid (RFC 9113, section 8.6; RFC 9114, section 4.5).
		return NotAvailable()
	}
	if !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket") {
		setUpgrade(h)
		return &protocol.Problem{
			Status: http.StatusUpgradeRequired, Title: "not a WebSocket handshake",
			Detail: "a WebSocket handshake needs Connection: Upgrade and Upgrade: websocket; a proxy may have dropped them",
		}
	}
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != "13" {
		setUpgrade(h)
		h.Set("Sec-WebSocket-Version", "13")
		return &protocol.Problem{
			Status: http.StatusUpgradeRequired, Title: "unsupported WebSocket version",
			Detail: "Sec-WebSocket-Version must be 13",
		}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return protocol.Bad("a WebSocket handshake must have one Sec-WebSocket-Key, not %d", len(keys))
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
		return protocol.Bad("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// setUpgrade sets the headers that a 426 must have (RFC 9110, section 15.5.22).
func setUpgrade(h http.Header) {
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
}

// hasToken reports whether a header, which is a list, contains the token.
func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
