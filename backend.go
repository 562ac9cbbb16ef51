package realtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

// Backend is a server that may use the rooms with a key: it sends `Authorization: Bearer
// <key>`. `allow` of the hub and of rooms does not bind it, only its own does.
type Backend struct {
	// The name: up to 64 letters, digits, `-`, `_` and `.`. Others see it.
	Name string `json:"name"`

	// One or two keys; both are accepted, so that the old one can be replaced without a gap.
	// A key is `sha256:<hex>`, `{env.*}`, `{file.*}` or the key itself, which is logged as
	// a warning. `caddy realtime key` makes one.
	Keys []string `json:"keys"`

	// What it may do in which rooms; several add up. Default: `all` in every room.
	Allow []BackendAllow `json:"allow,omitempty"`
}

// BackendAllow lets a backend use verbs in rooms.
type BackendAllow struct {
	// The verbs, as in `allow` of the hub.
	Verbs []string `json:"verbs"`

	// Names of rooms, or beginnings of names followed by one `*`. Default: `*`.
	Rooms []string `json:"rooms,omitempty"`
}

// backends is what a handler knows of backends.
type backends struct {
	keys    *backend.Set
	client  map[string]hub.Client // by the backend's name, who that is; without a key's source
	sources map[string]string     // by the id of a key
	as      string                // the source of as_backend
}

// checkBackendName checks the name of a backend. The error does not repeat it: it may be a key
// that stands in the wrong place.
func checkBackendName(name string) error {
	if !isName(name) || strings.HasPrefix(name, backend.Prefix) {
		return fmt.Errorf("the name of a backend must be 1 to 64 letters, digits, -, _ and ., and not begin with %s", backend.Prefix)
	}
	return nil
}

// checkBackendKey checks a key, or its hash.
func checkBackendKey(key string) error {
	if _, err := new(backend.Set).Add("", key); err != nil {
		return errors.New("the key must be sha256:<hex> or rtk_<id>_<secret>, as caddy realtime key prints it")
	}
	return nil
}

// checkBackends checks backends and as_backend.
func (h *Handler) checkBackends() error {
	seen := make(map[string]bool)
	for i := range h.Backends {
		b := &h.Backends[i]
		if err := b.check(); err != nil {
			return err
		}
		if seen[b.Name] {
			return fmt.Errorf("backend %s already specified", b.Name)
		}
		seen[b.Name] = true
	}
	if h.AsBackend != "" {
		if err := checkBackendName(h.AsBackend); err != nil {
			return fmt.Errorf("as backend: %w", err)
		}
	}
	return nil
}

func (b *Backend) check() error {
	if err := checkBackendName(b.Name); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	if len(b.Keys) == 0 || len(b.Keys) > backend.MaxKeys {
		return fmt.Errorf("backend %s: there must be 1 to %d keys", b.Name, backend.MaxKeys)
	}
	for _, key := range b.Keys {
		if err := checkKey(key, checkBackendKey); err != nil {
			return fmt.Errorf("backend %s: %w", b.Name, err)
		}
	}
	_, err := b.rights()
	return err
}

// rights returns what a backend may do.
func (b *Backend) rights() (*access.Grants, error) {
	allow := b.Allow
	if len(allow) == 0 {
		allow = []BackendAllow{{Verbs: []string{"all"}}}
	}
	list, err := grantsOf(allow)
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", b.Name, err)
	}
	return access.Backend(list)
}

// provisionBackends reads the keys.
func (h *Handler) provisionBackends() (err error) {
	h.backends = backends{keys: new(backend.Set), client: make(map[string]hub.Client), sources: make(map[string]string)}
	for i := range h.Backends {
		b := &h.Backends[i]
		if err := h.provisionKeys(b); err != nil {
			return fmt.Errorf("backend %s: %w", b.Name, err)
		}
		if err := h.backends.add(b); err != nil {
			return err
		}
	}
	if h.AsBackend == "" {
		return nil
	}
	as := Backend{Name: h.AsBackend}
	if i := slices.IndexFunc(h.Backends, func(b Backend) bool { return b.Name == as.Name }); i >= 0 {
		as.Allow = h.Backends[i].Allow
	}
	if h.backends.as, err = sourceOf("as backend", as.Name, as.Allow); err != nil {
		return err
	}
	return h.backends.add(&as)
}

// provisionKeys reads the keys of a backend. Each is a source of its own, together with what it is
// for: if that changes, or the key does where it stands, it has to be shown again.
func (h *Handler) provisionKeys(b *Backend) error {
	warn := false
	for _, configured := range b.Keys {
		text, plain, err := readKey(configured)
		if err != nil {
			return err
		}
		key, err := h.backends.keys.Add(b.Name, text)
		if err != nil {
			return err
		}
		if h.backends.sources[key.ID], err = sourceOf("backend", b.Name, b.Allow, key.Hash()); err != nil {
			return err
		}
		warn = warn || plain && !backend.IsHash(text)
	}
	if warn {
		h.warnPlainKey("backend "+b.Name, "write sha256:<hex>, as caddy realtime key prints it, or {env.*} or {file.*}; and make a new key")
	}
	return nil
}

// add notes who a backend is.
func (bs *backends) add(b *Backend) error {
	rights, err := b.rights()
	if err != nil {
		return err
	}
	bs.client[b.Name] = hub.Client{User: &hub.User{ID: message.BackendID(b.Name)}, Credential: &hub.Credential{Grants: rights}}
	return nil
}

// by returns who shows a backend's credential with the source.
func (bs *backends) by(name, source string, names ...string) hub.Client {
	c := bs.client[name]
	own := *c.Credential
	own.Sources, own.Names = []string{source}, names
	c.Credential = &own
	return c
}

// grantsOf parses verbs and rooms.
func grantsOf(list []BackendAllow) (grants []access.Grant, err error) {
	for _, a := range list {
		rooms := a.Rooms
		if len(rooms) == 0 {
			rooms = []string{"*"}
		}
		for _, pattern := range rooms {
			verbs, err := onlyVerbs(pattern, a.Verbs)
			switch {
			case pattern == "":
				err = errors.New("a room must not be empty")
			case err != nil:
			case len(verbs) == 0:
				err = errors.New("no verb specified")
			default:
				err = access.CheckPattern(pattern)
			}
			if err != nil {
				return nil, err
			}
			grants = append(grants, access.Grant{Verbs: verbs, Patterns: []string{pattern}})
		}
	}
	return grants, nil
}
