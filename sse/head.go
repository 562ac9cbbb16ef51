package sse

import (
	"net/http"
	"reflect"

	"github.com/caddy-realtime/realtime/protocol"
)

// mayLeave returns net/http's own writer if a response can go on without
// net/http: that takes HTTP/1.1, for its chunks, and a request without a body. If the
// innermost writer is not net/http's, it may do anything to the response.
func mayLeave(w http.ResponseWriter, r *http.Request) (http.Hijacker, bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 {
		return nil, false
	}
	inner := protocol.Innermost(w)
	h, ok := inner.(http.Hijacker)
	t := reflect.TypeOf(inner)
	return h, ok && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "net/http"
}
