package realtime

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
)

// defaultUser is the template of the user's id: what authentication handlers set.
const defaultUser = "{http.auth.user.id}"

// userOf returns the user of a request, or nil. Every placeholder of the template must have
// a value: what is around them would be the id of all strangers.
func (h *Handler) userOf(repl *caddy.Replacer) *hub.User {
	id, err := repl.ReplaceOrErr(h.User, true, true)
	if err != nil || id == "" {
		return nil
	}
	if h.User != defaultUser {
		repl.Set("http.auth.user.id", id) // for the access log, and for matchers
	}
	name, err := repl.ReplaceOrErr(h.Name, true, true)
	if err != nil {
		name = ""
	}
	return &hub.User{ID: id, Name: name}
}

// placeholder matches a placeholder in a template.
var placeholder = regexp.MustCompile(`\{([^{}]+)\}`)

// checkIdentity checks the templates of user and name.
func (h *Handler) checkIdentity() error {
	if h.User != "" && !placeholder.MatchString(h.User) {
		return fmt.Errorf("invalid user %q: must contain a placeholder, or all clients would be the same user", h.User)
	}
	for _, o := range []struct{ name, template string }{{"user", h.User}, {"name", h.Name}} {
		for _, m := range placeholder.FindAllStringSubmatch(o.template, -1) {
			if isForgeable(m[1]) && !h.UserTrusted {
				return fmt.Errorf("invalid %s %q: clients may be able to set {%s} themselves; if forward_auth with copy_headers stands before every path of this handler, or a proxy before Caddy always sets it, write trusted after the template of user (JSON: user_trusted)",
					o.name, o.template, m[1])
			}
		}
	}
	return nil
}

// verified are the placeholders that clients cannot set: an authentication handler does, or
// the connection itself. (What a client certificate says is verified if client_auth
// requires it to be.)
var verified = []string{"http.auth.user.", "http.request.remote", "http.request.tls.client."}

// isForgeable reports whether a client may set what a placeholder gives.
func isForgeable(placeholder string) bool {
	return !slices.ContainsFunc(verified, func(prefix string) bool { return strings.HasPrefix(placeholder, prefix) })
}
