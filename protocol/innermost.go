package protocol

import "net/http"

// Innermost returns the ResponseWriter below all wrappers that have a method Unwrap,
// as for http.ResponseController. A connection that leaves net/http is taken from
// there: wrappers would keep the request in memory, and go on counting bytes.
func Innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}
