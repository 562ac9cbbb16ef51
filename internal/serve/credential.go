package serve

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
)

// maxCredential bounds a token, a key or a link, in bytes.
const maxCredential = 8 << 10

// Presented is what a request shows of its client beside what handlers before the server have
// found out.
type Presented struct {
	// Bearer is a token or a key, from the header Authorization or a WebSocket's
	// subprotocol; empty: none. It counts whoever has sent the request.
	Bearer string
	// AccessToken is one from the query, which an operator has to allow (RFC 6750, section 2.3).
	AccessToken string
	// Link is a signed link, from the query or the header Realtime-Link.
	Link string
	// Ambient says that what browsers send by themselves, such as cookies, counts: the
	// request is not another site's.
	Ambient bool
	// Anonymous says that the client asks to be nobody: nothing that it shows counts.
	Anonymous bool
	// Opens says that the request opens a stream or a WebSocket, or publishes.
	Opens bool
	// Answer has the headers of the answer, for cookies; a Location sends the browser there. nil: the
	// answer takes none.
	Answer http.Header
}

// bearerPrefix begins the subprotocol that carries a token, in base64url without padding.
const bearerPrefix = "bearer."

// present returns what the request presents. It refuses what is malformed, and two different
// credentials of one kind, and never repeats one in an error.
func present(r *http.Request, query url.Values) (p Presented, err error) {
	offered, err := offeredBearer(r.Header.Values("Sec-Websocket-Protocol"))
	if err != nil {
		return p, err
	}
	authorization, err := same("credential", r.Header["Authorization"]...)
	if err != nil {
		return p, err
	}
	if p.Bearer, err = same("credential", authorized(authorization), offered); err != nil {
		return p, err
	}
	if p.AccessToken, err = same("credential", query["access_token"]...); err != nil {
		return p, err
	}
	if p.Link, err = same("link", slices.Concat(r.Header["Realtime-Link"], query["link"])...); err != nil {
		return p, err
	}
	if len(p.Bearer) > maxCredential || len(p.AccessToken) > maxCredential || len(p.Link) > maxCredential {
		return p, BadCredential("it has more than 8192 bytes")
	}
	return p, nil
}

// BadCredential returns the refusal of a token, a key or a link, with the reason.
func BadCredential(reason string) *protocol.Problem {
	return &protocol.Problem{Status: http.StatusUnauthorized, Title: "bad credential", Detail: reason}
}

// same returns the one text that is not empty. Two different ones are an error: what stands before
// the server may go by the other.
func same(what string, texts ...string) (one string, err error) {
	for _, text := range texts {
		switch {
		case text == "" || text == one:
		case one == "":
			one = text
		default:
			return "", protocol.Bad("the request has two different %ss", what)
		}
	}
	return one, nil
}

// authorized returns the token of a header Authorization with the scheme Bearer (RFC 6750, section
// 2.1); empty for other schemes, which handlers before us know.
func authorized(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// OffersBearer reports whether a WebSocket's handshake has a token among the subprotocols.
func OffersBearer(h http.Header) bool {
	for _, v := range h.Values("Sec-Websocket-Protocol") {
		if strings.Contains(v, bearerPrefix) {
			return true
		}
	}
	return false
}

// offeredBearer returns the token among offered subprotocols.
func offeredBearer(offered []string) (token string, err error) {
	for _, v := range offered {
		for name := range strings.SplitSeq(v, ",") {
			text, ok := strings.CutPrefix(strings.TrimSpace(name), bearerPrefix)
			if !ok {
				continue
			}
			b, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil || len(b) == 0 {
				return "", protocol.Bad("the subprotocol bearer. must have a token in base64url without padding")
			}
			if token, err = same("credential", token, string(b)); err != nil {
				return "", err
			}
		}
	}
	return token, nil
}
