package serve

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
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

func boolean(query url.Values, name string, byDefault bool) (bool, error) {
	s := query.Get(name)
	if s == "" {
		return byDefault, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, protocol.Bad("%s=%s: must be 1 or 0", name, s)
	}
	return b, nil
}

// isSeconds reports whether s is a number of seconds from 0 to 2^31.
func isSeconds(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && n <= 1<<31
}
