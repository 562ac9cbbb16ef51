package realtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/link"
)

// Links accepts signed links: URLs that are good for a room, or the rooms of a pattern, some verbs
// and a time. `caddy realtime sign` and the template function `realtimeLink` make them.
type Links struct {
	// One or two keys of at least 32 bytes: the first is the present one; links signed with
	// the second are accepted, too. Without its key a link is worth nothing any more. A key is
	// `{env.*}`, `{file.*}` or the key itself, which is logged as a warning.
	Keys []string `json:"keys"`

	// The rooms that links may be about, whatever they say: names, or beginnings of names
	// followed by one `*`.
	Rooms []string `json:"rooms"`

	// The verbs that links may give, whatever they say; as in `allow`.
	Verbs []string `json:"verbs"`
}

// links is what a handler knows of links.
type links struct {
	keys    link.Keys         // empty: no link is accepted
	ceiling *access.Grants    // what no link exceeds; nil if keys is empty
	sources map[string]string // by the id of a key
}

// maxLinkKeys is the new key and the old one.
const maxLinkKeys = 2

func checkLinkKey(key string) error {
	_, err := link.NewKey(key)
	return err
}

func (l *Links) check() error {
	if len(l.Keys) == 0 || len(l.Keys) > maxLinkKeys {
		return fmt.Errorf("links: there must be 1 to %d keys", maxLinkKeys)
	}
	for _, key := range l.Keys {
		if err := checkKey(key, checkLinkKey); err != nil {
			return fmt.Errorf("links: %w", err)
		}
	}
	_, err := l.ceiling()
	return err
}

func (l *Links) ceiling() (*access.Grants, error) {
	switch {
	case len(l.Rooms) == 0:
		return nil, errors.New("links: rooms is required: the rooms that links may be about, like rooms board/*")
	case len(l.Verbs) == 0:
		return nil, errors.New("links: verbs is required: the verbs that links may give, like verbs subscribe publish")
	case slices.ContainsFunc(l.Rooms, func(room string) bool { return strings.HasPrefix(room, "-/") }):
		return nil, errors.New("links: rooms that begin with -/ are reserved: no link can be about them")
	}
	list, err := grantsOf([]BackendAllow{{Verbs: l.Verbs, Rooms: l.Rooms}})
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	return access.NewGrants("", list, nil)
}

// provisionLinks reads the keys.
func (h *Handler) provisionLinks() (err error) {
	if h.Links == nil {
		return nil
	}
	h.links.sources = make(map[string]string)
	warn := false
	for _, configured := range h.Links.Keys {
		text, plain, err := readKey(configured)
		if err != nil {
			return fmt.Errorf("links: %w", err)
		}
		key, err := link.NewKey(text)
		switch {
		case err != nil:
			return fmt.Errorf("links: %w", err)
		case len(h.links.keys) > 0 && h.links.keys[0].ID() == key.ID():
			return errors.New("links: both keys are the same")
		}
		h.links.keys = append(h.links.keys, key)
		if h.links.sources[key.ID()], err = sourceOf("link", key.ID(), h.Links.Rooms, h.Links.Verbs); err != nil {
			return err
		}
		warn = warn || plain
	}
	if warn {
		h.warnPlainKey("links", "write {env.*} or {file.*}, and a new key")
	}
	h.links.ceiling, err = h.Links.ceiling()
	return err
}
