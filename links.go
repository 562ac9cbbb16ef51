package realtime

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/protocol"
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

// defaultLinkCookie has the link of a browser that has opened one.
const defaultLinkCookie = hostCookie + "realtime-link"

// linkCookie returns the name of that cookie for one request.
func (h *Handler) linkCookie(r *http.Request) string {
	return cookieFor(r, cookieOf(defaultLinkCookie, h.Hub))
}

// addLink adds what a link gives to a client, who is the link if nobody else. A bad cookie counts
// as none.
func (h *Handler) addLink(c *hub.Client, r *http.Request, shown serve.Presented) error {
	if len(h.links.keys) == 0 {
		return nil
	}
	if shown.Link == "" {
		// A page that the browser opens shows nothing to the site that has led to it.
		if cookie, err := r.Cookie(h.linkCookie(r)); err == nil && (shown.Ambient || opensDocument(r)) {
			if l, credential, err := h.verifyLink(r, cookie.Value, shown.Opens); err == nil { // old ones stay in browsers
				follow(c, l, credential)
			}
		}
		return nil
	}
	l, credential, err := h.verifyLink(r, shown.Link, shown.Opens)
	if err != nil && errors.Is(err, errLinkAltered) {
		err = h.failed(addressOf(r), err, "kind", "link")
	}
	if err != nil {
		return err
	}
	follow(c, l, credential)
	if shown.Answer != nil && r.URL.Query().Get("link") != "" && opensDocument(r) {
		h.sendOn(shown.Answer, r, l, shown.Link)
	}
	return nil
}

// sendOn sends a browser to the same URL without the link, which it gets as a cookie: so it is
// not in the history, and in no Referer.
func (h *Handler) sendOn(answer http.Header, r *http.Request, l *link.Link, text string) {
	path := h.Prefix
	if isHTTPS(r) {
		path = "/" // as __Host- requires
	}
	cookie := http.Cookie{ //nolint:gosec // Secure where there is HTTPS
		Name: h.linkCookie(r), Value: text, Path: path, MaxAge: max(int(time.Until(l.Expires).Seconds()), 1),
		Secure: isHTTPS(r), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	answer.Add("Set-Cookie", cookie.String())
	var kept []string
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(name); part != "" && (err != nil || decoded != "link") {
			kept = append(kept, part)
		}
	}
	to := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: strings.Join(kept, "&")}
	answer.Set("Location", "/"+strings.TrimLeft(to.String(), "/"))
	answer.Set("Referrer-Policy", "no-referrer")
}

// opensDocument reports whether a browser opens the URL as a page of its own.
func opensDocument(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Upgrade") != "" {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "navigate":
		dest := r.Header.Get("Sec-Fetch-Dest")
		return dest == "" || dest == "document"
	case "": // an older browser
		return strings.Contains(r.Header.Get("Accept"), "text/html")
	default:
		return false
	}
}

// verifyLink returns what a link says, and the credential that it is. opens says that the request
// counts as a use of it.
func (h *Handler) verifyLink(r *http.Request, text string, opens bool) (*link.Link, *hub.Credential, error) {
	l, err := h.links.keys.Verify(text, time.Now())
	switch {
	case errors.Is(err, link.ErrExpired):
		return nil, nil, badLink("link expired", "the link has expired: ask for another one")
	case errors.Is(err, link.ErrMalformed):
		return nil, nil, alteredLink("the link is not complete: copy all of it")
	case err != nil:
		return nil, nil, alteredLink("the link was altered, or its key is not accepted any more")
	case l.Hub != h.Hub || l.Host != link.Host(r.Host):
		return nil, nil, badLink("link of another site", "the link is for another site or hub")
	}
	grants, err := h.linkGrants(&l)
	if err != nil {
		return nil, nil, badLink("link altered", "the link has a room or a verb that this server does not know")
	}
	credential := &hub.Credential{
		Sources: []string{h.links.sources[l.KeyID]}, Grants: grants, Expires: l.Expires,
		Names: []string{"link:" + l.ID, "key:" + l.KeyID},
	}
	if h.hub.Revoked(&hub.Client{Credential: credential}) {
		return nil, nil, badLink("link revoked", "the link has been revoked: ask for another one")
	}
	if opens && !h.uses.Use(&l, time.Now()) {
		return nil, nil, badLink("link used up", "the link has been used as often as it may be")
	}
	return &l, credential, nil
}

// linkGrants returns what a link gives, below the handler's ceiling.
func (h *Handler) linkGrants(l *link.Link) (*access.Grants, error) {
	verbs, err := onlyVerbs("", l.Verbs)
	if err != nil {
		return nil, errors.New("unknown verb")
	}
	room := l.Room
	if room == "" {
		room = l.Pattern
	}
	return access.NewGrants("", []access.Grant{{Verbs: verbs, Patterns: []string{room}}}, h.links.ceiling)
}

// follow adds what a link gives to a client. To a backend it gives nothing.
func follow(c *hub.Client, l *link.Link, credential *hub.Credential) {
	if c.User.Kind() == message.UserBackend {
		return
	}
	if c.User == nil {
		c.User = &hub.User{ID: message.LinkID(l.ID), Name: l.Name}
	}
	if c.Credential == nil {
		c.Credential = credential
		return
	}
	grants := credential.Grants
	if c.Credential.Grants != nil {
		grants = access.Union{c.Credential.Grants, grants}
	}
	c.Credential = c.Credential.With(credential, grants)
}

// errLinkAltered is the cause of the refusal of a link that was not signed as it is: somebody may be trying.
var errLinkAltered = errors.New("not signed by a key that is accepted")

func alteredLink(detail string) *protocol.Problem {
	p := badLink("link altered", detail)
	p.Err = errLinkAltered
	return p
}

func badLink(title, detail string) *protocol.Problem {
	return &protocol.Problem{Status: http.StatusForbidden, Title: title, Detail: detail}
}
