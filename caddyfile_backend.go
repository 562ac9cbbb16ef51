package realtime

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// No error of these options repeats an argument that may be a key.

// unmarshalCredential reads the options about keys, links and guests.
func (h *Handler) unmarshalCredential(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "backend":
		return h.unmarshalBackend(d)
	case "as":
		return h.unmarshalAs(d)
	case "links":
		return h.unmarshalLinks(d)
	case "guests":
		return h.unmarshalGuests(d)
	default:
		return d.WrapErr(unknownOption(name))
	}
}

// unmarshalBackend reads the name, the keys and the rights of a backend.
func (h *Handler) unmarshalBackend(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return d.ArgErr()
	case len(args) < 2 || len(args) > 3:
		return d.Err("backend: wrong argument count: must be backend <name> <key> [<old key>]")
	}
	b := Backend{Name: args[0], Keys: args[1:]}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "allow" {
			return d.Errf("backend: unrecognized subdirective %q: must be allow", d.Val())
		}
		a, err := backendAllow(d)
		if err != nil {
			return err
		}
		b.Allow = append(b.Allow, a)
	}
	if err := b.check(); err != nil {
		return d.WrapErr(err)
	}
	h.Backends = append(h.Backends, b)
	if err := h.checkBackends(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// backendAllow reads verbs, and the rooms after the word on.
func backendAllow(d *caddyfile.Dispenser) (a BackendAllow, err error) {
	args := d.RemainingArgs()
	a.Verbs = args
	if i := slices.Index(args, "on"); i >= 0 {
		a.Verbs, a.Rooms = args[:i], args[i+1:]
		if len(a.Rooms) == 0 {
			return a, d.Err("backend: allow: a room must follow on")
		}
	}
	if len(a.Verbs) == 0 {
		return a, d.Errf("backend: allow: no verb specified: must be %s", verbForms)
	}
	return a, endOfOption(d, "allow")
}

// unmarshalAs reads the name of the backend that every client is.
func (h *Handler) unmarshalAs(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return d.ArgErr()
	case len(args) != 2 || args[0] != "backend":
		return d.Err("as: must be as backend <name>")
	}
	h.AsBackend = args[1]
	if err := h.checkBackends(); err != nil {
		return d.WrapErr(err)
	}
	return endOfOption(d, "as")
}

// unmarshalLinks reads the keys of links, and what no link exceeds.
func (h *Handler) unmarshalLinks(d *caddyfile.Dispenser) error {
	l := &Links{Keys: d.RemainingArgs()}
	switch {
	case len(l.Keys) == 0:
		return d.ArgErr()
	case len(l.Keys) > maxLinkKeys:
		return d.Err("links: wrong argument count: must be links <key> [<old key>]")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		list := map[string]*[]string{"rooms": &l.Rooms, "verbs": &l.Verbs}[d.Val()]
		switch {
		case list == nil:
			return d.Errf("links: unrecognized subdirective %q: must be rooms or verbs", d.Val())
		case *list != nil:
			return d.Errf("links: %s already specified", d.Val())
		}
		name := d.Val()
		if *list = d.RemainingArgs(); len(*list) == 0 {
			return d.ArgErr()
		}
		if err := endOfOption(d, name); err != nil {
			return err
		}
	}
	if err := l.check(); err != nil {
		return d.WrapErr(err)
	}
	h.Links = l
	return nil
}

// unmarshalGuests reads the name of the guests' cookie, if there is one.
func (h *Handler) unmarshalGuests(d *caddyfile.Dispenser) error {
	h.Guests = new(Guests)
	if d.NextArg() {
		h.Guests.Cookie = d.Val()
		if err := checkGuestCookie(h.Guests.Cookie); err != nil {
			return d.WrapErr(err)
		}
	}
	return endOfOption(d, "guests")
}
