package serve

import (
	"net/http"
	"net/url"
	"strings"
)

// parseQuery parses a query, or a form, as browsers do: a semicolon is an ordinary
// character (URL standard, "application/x-www-form-urlencoded parsing").
// [url.ParseQuery] rejects semicolons, but links from elsewhere may have them.
func parseQuery(raw string) (url.Values, error) {
	return url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
}

// queryOf returns the parameters of the request's query that can be parsed.
func queryOf(r *http.Request) url.Values {
	query, _ := parseQuery(r.URL.RawQuery)
	return query
}
