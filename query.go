package realtime

import (
	"net/http"
	"net/url"
	"strings"
)

// parseQuery reads a query, or a form, as browsers do: a semicolon is a character
// like any other (URL standard, "application/x-www-form-urlencoded parsing").
// [url.ParseQuery] has an error for it, which the links of others would meet.
func parseQuery(raw string) (url.Values, error) {
	return url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
}

// queryOf returns what of the request's query can be read.
func queryOf(r *http.Request) url.Values {
	query, _ := parseQuery(r.URL.RawQuery)
	return query
}
