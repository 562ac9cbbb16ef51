package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
)

// The subprotocols of every handler: bare data, and commands.
const (
	rawSubprotocol     = "realtime.raw"
	sessionSubprotocol = "realtime.v1"
)

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
	if strings.HasPrefix(name, bearerPrefix) {
		return fmt.Errorf("invalid subprotocol %q: names that begin with bearer. carry tokens", name)
	}
	if name == "" || len(name) > 64 || !isToken(name) {
		return fmt.Errorf("invalid subprotocol %q: must be 1 to 64 letters, digits and !#$%%&'*+-.^_`|~", name)
	}
	return nil
}
