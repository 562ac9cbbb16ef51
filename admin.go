package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/token"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
)

func init() {
	caddy.RegisterModule(new(AdminAPI))
}

// AdminAPI adds to Caddy's admin API what operators do with running hubs:
//
//   - `POST /realtime/revoke` revokes credentials, and ends the sessions that were opened with
//     them. The body is an object with one of `user`, `token` (its `jti`), `link` (its id), `key` (its id)
//     and `issuer` (its `iss`). Optional are `hub`, the hub's name; `before`, a time as in RFC 3339: what
//     was issued later is not refused (default: now); and `for`, how long the revocation is kept: up
//     to `366d`. By default it is kept as long as such a credential can be good: `366d` for links, keys
//     and users that begin with `~`, otherwise the longest `max_lifetime` of the hub's tokens, at
//     least `24h`.
//   - `GET /realtime/backup` streams a copy of the file of a hub, with everything that was published before. Optional in the
//     query is `hub`. The hub's engine must be one with a file.
//   - `POST /realtime/compact` writes the file of a hub anew without what is free. The body is an object, in which `hub` is
//     optional. The answer has the size `before` and `after`, in bytes.
//   - `POST /realtime/erase` takes everything that a user has published out of all rooms. The body is an object with `user`, the
//     user's id; `hub` is optional. The answer has how many messages were `erased`.
//   - `GET /realtime/export` streams the messages of a hub, one in a line (NDJSON). Optional in the query are `hub`;
//     `room`, a room or a pattern like `board/*`; and `after_room` and `after`, a room and the id of a message in it, behind
//     which the export begins.
//   - `GET /realtime/hubs` lists the hubs: their names, whether they are `serving` or `draining`, and how many
//     `connections`, `rooms` and `bytes` of messages they have. With `Accept: application/x-ndjson` it is a stream
//     with a line whenever that has changed, at most one a second. When Caddy exits, the stream goes on until
//     all hubs have ended. There may be 16 streams at once.
//   - `POST /realtime/import` stores the messages of an export, which are the body. Optional in the query is `hub`. The answer
//     is an object with how many messages were `kept` with their ids' offsets, published `anew`, `known` already, and
//     `expired`. It stops at the first line that is wrong; the error says which one and what was done before.
//   - `GET /realtime/revocations` lists revocations by kind and id. Optional in the query are `hub`; `limit`,
//     from 1 to 1000 (default: 100); and `after`, which is `next` of the page before.
//
// It has no options, and finds hubs also while a configuration is being replaced. If a hub got another engine,
// there are two of its name for a while: the newest is meant, and revocations hold in both.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.realtime",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Routes implements [caddy.AdminRouter]. Permissions of remote administrators are by path and
// method, so what only reads is a GET.
func (*AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "POST /realtime/revoke", Handler: caddy.AdminHandlerFunc(serveRevoke)},
		{Pattern: "GET /realtime/backup", Handler: caddy.AdminHandlerFunc(serveBackup)},
		{Pattern: "POST /realtime/compact", Handler: caddy.AdminHandlerFunc(serveCompact)},
		{Pattern: "POST /realtime/erase", Handler: caddy.AdminHandlerFunc(serveErase)},
		{Pattern: "GET /realtime/export", Handler: caddy.AdminHandlerFunc(serveExport)},
		{Pattern: "POST /realtime/import", Handler: caddy.AdminHandlerFunc(serveImport)},
		{Pattern: "GET /realtime/hubs", Handler: caddy.AdminHandlerFunc(serveHubs)},
		{Pattern: "GET /realtime/revocations", Handler: caddy.AdminHandlerFunc(serveRevocations)},
	}
}

const (
	maxAdminBody    = 64 << 10
	maxRevokedID    = 1024                 // bytes
	maxRevokedFor   = 366 * 24 * time.Hour // longer than any token or link lives
	revocationsPage = 100
	maxRevocations  = 1000 // in a page
)

// subject is what a revocation is about: one of these.
type subject struct {
	User   string `json:"user,omitempty"`
	Token  string `json:"token,omitempty"`
	Link   string `json:"link,omitempty"`
	Key    string `json:"key,omitempty"`
	Issuer string `json:"issuer,omitempty"`
}

// subjectField is a field of a subject, with its name in JSON, which the hub's names begin with.
type subjectField struct {
	kind string
	id   *string
}

func (s *subject) fields() []subjectField {
	return []subjectField{{"user", &s.User}, {"token", &s.Token}, {"link", &s.Link}, {"key", &s.Key}, {"issuer", &s.Issuer}}
}

// only returns the kind and the id of the one field that is set. Its errors don't repeat the id,
// which may be a secret in the wrong place.
func (s *subject) only() (kind, id string, err error) {
	for _, f := range s.fields() {
		switch {
		case *f.id == "":
		case kind != "":
			return "", "", errors.New("specify one of user, token, link, key and issuer, not several")
		default:
			kind, id = f.kind, *f.id
		}
	}
	switch {
	case kind == "":
		return "", "", errors.New("specify one of user, token, link, key and issuer")
	case len(id) > maxRevokedID || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return "", "", fmt.Errorf("invalid %s: must be up to %d bytes of UTF-8 without control characters", kind, maxRevokedID)
	case kind == "key" && strings.HasPrefix(id, backend.Prefix):
		return "", "", errors.New("invalid key: must be the id of the key, not the key itself; of rtk_<id>_<secret> only what is between the underscores")
	case kind == "token" && strings.HasPrefix(id, "eyJ") && strings.Count(id, ".") == 2:
		return "", "", errors.New("invalid token: must be the jti of the token, not the token itself")
	case kind == "link" && (strings.Contains(id, "/") || strings.Count(id, ".") == 3):
		return "", "", errors.New("invalid link: must be the id of the link, not the link itself")
	case kind == "user":
		if (&hub.User{ID: id}).Check() != nil {
			return "", "", errors.New("invalid user: no user can have this id")
		}
	}
	return kind, id, nil
}

// revocationRequest is the body of POST /realtime/revoke.
type revocationRequest struct {
	subject

	Hub    string    `json:"hub,omitempty"`
	Before time.Time `json:"before,omitzero"`
	For    string    `json:"for,omitempty"`
}

// revocationAnswer is the answer to it, and an element of the answer to GET /realtime/revocations.
type revocationAnswer struct {
	subject

	Before time.Time `json:"before"`
	Until  time.Time `json:"until"`
}

// revocationsAnswer is the answer to GET /realtime/revocations.
type revocationsAnswer struct {
	Revocations []revocationAnswer `json:"revocations"`
	Next        string             `json:"next,omitempty"` // to be given as after; empty: there are no more
}

func answerOf(r hub.Revocation) (a revocationAnswer) {
	kind, id, _ := strings.Cut(r.Name, ":")
	for _, f := range a.fields() {
		if f.kind == kind {
			*f.id = id
		}
	}
	a.Before, a.Until = r.Before.UTC(), r.Until.UTC()
	return a
}

// serveRevoke serves POST /realtime/revoke.
func serveRevoke(w http.ResponseWriter, r *http.Request) error {
	var asked revocationRequest
	if err := decodeBody(w, r, &asked); err != nil {
		return err
	}
	p, err := findHub(asked.Hub)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	revocation, err := asked.revocation(time.Now(), p.tokenLife())
	if err != nil {
		return badRequest(err)
	}
	now, err := p.hub.Revoke(r.Context(), revocation)
	switch {
	case errors.Is(err, limit.ErrFull), errors.Is(err, hub.ErrDraining), errors.Is(err, hub.ErrUnavailable):
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	case err != nil:
		return fmt.Errorf("revoking: %w", err)
	}
	for _, older := range hubsNamed(asked.Hub) {
		if older != p { // it ends with what it knows, and until then has the sessions that it had
			_, _ = older.hub.Revoke(r.Context(), revocation)
		}
	}
	p.hub.Logger().Info("credentials were revoked", audited(r, "revocation", asked.Hub, "revoked", now.Name, "before", now.Before.UTC(), "until", now.Until.UTC())...)
	return writeAdminJSON(w, answerOf(now))
}

// decodeBody reads the only object of a request's body.
func decodeBody(w http.ResponseWriter, r *http.Request, into any) error {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	body.DisallowUnknownFields()
	if err := body.Decode(into); err != nil {
		return badRequest(fmt.Errorf("reading the body: %w", err))
	}
	if body.More() {
		return badRequest(errors.New("reading the body: there is something after the object"))
	}
	return nil
}

// revocation returns what is asked for. tokenLife is how long tokens can be good.
func (asked *revocationRequest) revocation(now time.Time, tokenLife time.Duration) (r hub.Revocation, err error) {
	kind, id, err := asked.only()
	if err != nil {
		return r, err
	}
	keep := tokenLife
	if kind == "link" || kind == "key" || strings.HasPrefix(id, "~") {
		keep = maxRevokedFor
	}
	if asked.For != "" {
		keep, err = caddy.ParseDuration(asked.For)
		if err != nil || keep < time.Second || keep > maxRevokedFor {
			return r, fmt.Errorf("invalid for %q: must be a duration like 90m, 24h or 30d, at most %dd", asked.For, maxRevokedFor/(24*time.Hour))
		}
	}
	before := asked.Before
	if before.IsZero() {
		before = now
	}
	// The clock of an issuer may be that far ahead.
	if before.After(now.Add(token.MaxLeeway)) {
		return r, errors.New("invalid before: must not be in the future")
	}
	return hub.Revocation{Name: kind + ":" + id, Before: before, Until: now.Add(keep)}, nil
}

// serveRevocations serves GET /realtime/revocations.
func serveRevocations(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	n := revocationsPage
	if text := query.Get("limit"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxRevocations {
			return badRequest(fmt.Errorf("invalid limit %q: must be from 1 to %d", text, maxRevocations))
		}
	}
	p, err := findHub(query.Get("hub"))
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	list := p.hub.Revocations(query.Get("after"), n+1)
	answer := revocationsAnswer{Revocations: []revocationAnswer{}}
	if len(list) > n {
		list = list[:n]
		answer.Next = list[n-1].Name
	}
	for _, revocation := range list {
		answer.Revocations = append(answer.Revocations, answerOf(revocation))
	}
	return writeAdminJSON(w, answer)
}

// audited returns the attributes of a line of the log that says what a request has done.
func audited(r *http.Request, what, hubName string, more ...any) []any {
	attributes := append([]any{"audit", what, "by", "admin API", "hub", hubName}, more...)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil { // there is none on a unix socket
		attributes = append(attributes, "address", host)
	}
	return attributes
}

func badRequest(err error) error { return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err} }

func writeAdminJSON(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

var _ caddy.AdminRouter = (*AdminAPI)(nil)
