package serve

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/protocol"
)

// admitOrigin refuses requests from pages of foreign origins, which would act with
// their visitors' cookies (RFC 6454, RFC 6455 section 10.2). For an origin that is
// listed it sets the headers that let the page read the answer (Fetch standard, "CORS
// protocol"). anyOrigin reports that the origin is admitted only by "*" or "null".
func (s *Server) admitOrigin(w http.ResponseWriter, r *http.Request) (anyOrigin bool, err error) {
	from := r.Header.Get("Origin")
	if from == "" || isOwn(from, r) {
		return false, nil
	}
	if from == nowhere && r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return false, nil // our own page, whose Referrer-Policy hides its origin
	}
	header := w.Header()
	switch {
	case s.listed(from):
		header.Set("Access-Control-Allow-Origin", from)
		header.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(s.Origins, "*"), isNowhere(from) && slices.ContainsFunc(s.Origins, isNull):
		anyOrigin = true
		header.Set("Access-Control-Allow-Origin", "*")
	default:
		return true, s.refuseOrigin(w, r, from)
	}
	header.Set("Access-Control-Expose-Headers", "ETag, Realtime-Can, Realtime-Conn, Realtime-Members, Realtime-User, Retry-After, Location")
	return anyOrigin, nil
}

// listed reports whether the option origins lists the origin, other than by "*" or
// "null", which every page can match.
func (s *Server) listed(from string) bool {
	return slices.ContainsFunc(s.Origins, func(p string) bool { return p != "*" && !isNull(p) && matchOrigin(p, from) })
}

func isNull(pattern string) bool { return strings.EqualFold(pattern, nowhere) }

// refuseOrigin refuses a page of a foreign origin. The page's script may read the
// refusal, which has no secrets and allows no credentials. A preflight passes, because
// otherwise the script would see only a network error; the request after it is refused.
func (s *Server) refuseOrigin(w http.ResponseWriter, r *http.Request, from string) error {
	s.Refused.warn(s.Log, from, r)
	if len(from) <= maxLoggedOrigin {
		w.Header().Set("Access-Control-Allow-Origin", from)
	}
	if isPreflight(r) {
		w.Header().Set("Access-Control-Max-Age", "0") // it may be listed soon
		return nil
	}
	return &protocol.Problem{
		Status: http.StatusForbidden, Title: "origin refused",
		Detail: "this page's origin, " + clip(from, maxLoggedOrigin) + ", is not among the origins of the handler; the server's log says what to set",
	}
}

// maxPreflightHeaders bounds what a preflight may ask for, in bytes.
const maxPreflightHeaders = 4096

// preflightHeaders are always allowed, so that one preflight is enough for many
// requests.
const preflightHeaders = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, Realtime-Conn, Realtime-Event, TTL"

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers a CORS preflight, and any other OPTIONS.
func preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Allow", allowedMethods)
	header.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	if isPreflight(r) && header.Get("Access-Control-Allow-Origin") != "" {
		header.Set("Access-Control-Allow-Methods", allowedMethods)
		header.Set("Access-Control-Allow-Headers", allowHeaders(r.Header.Values("Access-Control-Request-Headers")))
		if header.Get("Access-Control-Max-Age") == "" {
			header.Set("Access-Control-Max-Age", "7200")
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// allowHeaders returns the headers that a page may send: preflightHeaders and those that
// it asks for, since libraries add their own to every request and these have no effect
// here. Malformed names, and lists that are too long, are not allowed.
func allowHeaders(asked []string) string {
	allowed := preflightHeaders
	known := strings.Split(strings.ToLower(preflightHeaders), ", ")
	list := strings.Join(asked, ",")
	if len(list) > maxPreflightHeaders {
		return allowed
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.Trim(name, " \t")
		if lower := strings.ToLower(name); isToken(name) && !slices.Contains(known, lower) {
			known = append(known, lower)
			allowed += ", " + name
		}
	}
	return allowed
}

// formProtection refuses a form on a page of another site: browsers submit it without a
// preflight (http.CrossOriginProtection checks Sec-Fetch-Site or, without it, Origin and Host).
func (s *Server) formProtection(r *http.Request) error {
	if s.listed(r.Header.Get("Origin")) {
		return nil
	}
	var p http.CrossOriginProtection
	if err := p.Check(r); err != nil {
		return &protocol.Problem{Status: http.StatusForbidden, Title: "origin refused", Detail: "the form is on another site", Err: err}
	}
	return nil
}
