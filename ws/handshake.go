package ws

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
)

// CheckHandshake checks an HTTP/1.1 request that asks for a WebSocket as RFC
// 6455, section 4.2.1 wants it, and returns a *protocol.Problem that names what
// is wrong, or nil. Headers that the answer must have are set on h.
func CheckHandshake(r *http.Request, h http.Header) error {
	if r.Method != http.MethodGet {
		return protocol.Bad("a WebSocket handshake is a GET, not a %s", r.Method)
	}
	if !r.ProtoAtLeast(1, 1) {
		return protocol.Bad("a WebSocket handshake needs HTTP/1.1")
	}
	if !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket") {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		return &protocol.Problem{
			Status: http.StatusUpgradeRequired, Title: "not a WebSocket handshake",
			Detail: "it needs Connection: Upgrade and Upgrade: websocket; a proxy may have dropped them",
		}
	}
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != "13" {
		h.Set("Sec-WebSocket-Version", "13")
		return &protocol.Problem{
			Status: http.StatusUpgradeRequired, Title: "unsupported WebSocket version",
			Detail: "Sec-WebSocket-Version must be 13",
		}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return protocol.Bad("a WebSocket handshake has one Sec-WebSocket-Key, not %d", len(keys))
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != 16 {
		return protocol.Bad("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// hasToken reports whether a header that is a list has the token.
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
