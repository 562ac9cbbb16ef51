package protocol

import "net/http"

// Innermost returns the ResponseWriter that all others wrap (by a method
// Unwrap, as for http.ResponseController). A connection that leaves net/http is
// taken from there: wrappers would pin the request, and count bytes that are no
// longer theirs.
func Innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}
