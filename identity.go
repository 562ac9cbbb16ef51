package realtime

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

// defaultUser is the template of the user's id: what authentication handlers set.
const defaultUser = "{http.auth.user.id}"

// userOf returns the user of a request by the template, or nil. A handler with jwt has none. Every
// placeholder of the template must have a value: what is around them would be the id of all
// strangers. It returns an error that wraps [names.ErrUser] for an id that nobody may have who has
// signed in.
func (h *Handler) userOf(repl *caddy.Replacer) (*hub.User, error) {
	if h.User == "" || repl == nil {
		return nil, nil //nolint:nilnil // nobody, which is not an error
	}
	id, err := repl.ReplaceOrErr(h.User, true, true)
	if err != nil || id == "" {
		return nil, nil //nolint:nilnil // nobody
	}
	id = h.UserPrefix + id
	if err := h.checkUser(id); err != nil {
		return nil, err
	}
	name, err := repl.ReplaceOrErr(h.Name, true, true)
	if err != nil {
		name = ""
	}
	return &hub.User{ID: id, Name: name}, nil
}

// userSources says where the users of one hub come from, by what their ids begin with.
type userSources map[string]string

// checkUser returns an error that wraps [names.ErrUser] if a user of the handler cannot have the id,
// which begins with the handler's prefix.
func (h *Handler) checkUser(id string) error {
	if err := names.CheckUserID(id); err != nil {
		return err
	}
	for prefix := range h.users {
		if len(prefix) > len(h.UserPrefix) && strings.HasPrefix(id, prefix) {
			return fmt.Errorf("%w: the id begins with the user_prefix of other users", names.ErrUser)
		}
	}
	return nil
}

// userSource says where the users of the handler come from; empty: there are none.
func (h *Handler) userSource() string {
	switch {
	case h.AsBackend != "":
		return ""
	case h.JWT == nil:
		return "user " + h.User
	case h.JWT.Issuer != "":
		return "jwt of " + h.JWT.Issuer + h.JWT.claimSource()
	case h.JWT.JWKS != "":
		return "jwt of " + h.JWT.JWKS + h.JWT.claimSource()
	default:
		source, _ := sourceOf("jwt", h.JWT.Secrets, h.JWT.Keys, h.JWT.KeyFiles) // strings alone, so there is no error
		return source + h.JWT.claimSource()
	}
}

// claimSource says which claim has the ids of users, unless it is the usual one: another one's
// ids are others.
func (j *JWT) claimSource() string {
	if j.UserClaim == "" || j.UserClaim == "sub" {
		return ""
	}
	return " by " + j.UserClaim
}

// checkUserPrefix checks what ids begin with.
func checkUserPrefix(prefix string) error {
	user := hub.User{ID: prefix + "x"}
	if len(prefix) > 32 || strings.HasPrefix(prefix, "~") || user.Check() != nil {
		return fmt.Errorf("invalid user_prefix %q: must be up to 32 bytes of UTF-8 that do not begin with ~", prefix)
	}
	return nil
}

// placeholder matches a placeholder in a template.
var placeholder = regexp.MustCompile(`\{([^{}]+)\}`)

// checkIdentity checks the templates of user and name.
func (h *Handler) checkIdentity() error {
	if err := checkUserPrefix(h.UserPrefix); err != nil {
		return err
	}
	switch {
	case h.JWT != nil && h.User != "":
		return errors.New("user cannot be combined with jwt: use two handlers with one hub, and user_prefix in one of them")
	case h.JWT != nil && h.Name != "":
		return errors.New("name cannot be combined with jwt: use name_claim in its block")
	}
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
