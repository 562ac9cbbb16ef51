package realtime

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/templates"

	"github.com/caddy-realtime/realtime/access/link"
)

func init() { caddy.RegisterModule(new(TemplateLinks)) }

// TemplateLinks adds a function to templates that signs links to rooms:
//
//	{{realtimeLink .Req "board/7" "subscribe,publish" "24h"}}
//
// is the URL of the room `board/7` on the host of the page. Whoever has it may use these verbs there for
// a day, if `links` of the realtime handler accepts the key, the room and the verbs. A room that ends with
// `*` is a pattern; the URL then is that of the prefix. A fifth argument is the name that others see. The
// arguments must not come from the page's visitors, and a page with a link must not be cached for
// others.
type TemplateLinks struct {
	// The key that `links` of the handler has, too: `{env.*}`, `{file.*}`, or the key itself,
	// which is logged as a warning. At least 32 bytes.
	Key string `json:"key"`

	// The name of the handler's hub. Default: the hub without a name.
	Hub string `json:"hub,omitempty"`

	// The prefix of the handler. Default: `/rt/`.
	Prefix string `json:"prefix,omitempty"`

	// Set once, by Provision.
	key link.Key
}

// CaddyModule returns the Caddy module information.
func (*TemplateLinks) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.templates.functions.realtime",
		New: func() caddy.Module { return new(TemplateLinks) },
	}
}

// Provision reads the key.
func (t *TemplateLinks) Provision(ctx caddy.Context) error { return t.provision(ctx.Slogger()) }

func (t *TemplateLinks) provision(log *slog.Logger) error {
	if t.Prefix == "" {
		t.Prefix = defaultPrefix
	}
	if err := t.Validate(); err != nil {
		return err
	}
	text, plain, err := readKey(t.Key)
	if err != nil {
		return err
	}
	if plain {
		log.Warn("a key can be read in the configuration", "option", "key", "remedy", "write {env.*} or {file.*}, and a new key")
	}
	t.key, err = link.NewKey(text)
	return err
}

// Validate checks the options.
func (t *TemplateLinks) Validate() error {
	errs := []error{checkKey(t.Key, checkLinkKey), checkHubName(t.Hub)}
	if t.Prefix != "" {
		errs = append(errs, checkPrefix(t.Prefix))
	}
	return errors.Join(errs...)
}

// CustomTemplateFunctions returns the function realtimeLink.
func (t *TemplateLinks) CustomTemplateFunctions() template.FuncMap {
	return template.FuncMap{"realtimeLink": t.link}
}

// link returns the URL of a link: {{realtimeLink .Req "room" "verb,verb" "24h" "name"}}.
func (t *TemplateLinks) link(r *http.Request, room, verbs, expires string, name ...string) (string, error) {
	if len(name) > 1 {
		return "", errors.New("realtimeLink takes .Req, a room, verbs, a duration and perhaps a name")
	}
	l := link.Link{Hub: t.Hub, Room: room, Name: strings.Join(name, "")}
	if strings.HasSuffix(room, "*") {
		l.Room, l.Pattern = "", room
	}
	now := time.Now()
	var err error
	if l.Verbs, err = linkVerbs(strings.Split(verbs, ",")); err != nil {
		return "", err
	}
	if l.Expires, err = linkExpiry(expires, now); err != nil {
		return "", err
	}
	prefix := &url.URL{Scheme: "http", Host: hostOf(r), Path: t.Prefix}
	if isHTTPS(r) {
		prefix.Scheme = "https"
	}
	return signURL(t.key, prefix, l, now)
}

// hostOf returns the host of a request with its port, and nothing that would have a meaning in HTML.
func hostOf(r *http.Request) string {
	host := link.Host(r.Host)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	_, port, err := net.SplitHostPort(r.Host)
	if n, bad := strconv.ParseUint(port, 10, 16); err == nil && bad == nil {
		host = fmt.Sprintf("%s:%d", host, n)
	}
	return host
}

// UnmarshalCaddyfile sets up the functions from Caddyfile tokens, in the block of templates. Syntax:
//
//	templates {
//		extensions {
//			realtime {
//				key    <key>
//				hub    <name>
//				prefix <path>
//			}
//		}
//	}
func (t *TemplateLinks) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() {
		return d.Err("realtime takes no argument here, but a block with key")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := map[string]*string{"key": &t.Key, "hub": &t.Hub, "prefix": &t.Prefix}[d.Val()]
		switch {
		case option == nil:
			return d.Errf("unrecognized subdirective %q: must be key, hub or prefix", d.Val())
		case *option != "":
			return d.Errf("%s already specified", d.Val())
		}
		name, args := d.Val(), d.RemainingArgs()
		if len(args) != 1 {
			return d.Errf("%s takes one argument", name)
		}
		*option = args[0]
	}
	if err := t.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner         = (*TemplateLinks)(nil)
	_ caddy.Validator           = (*TemplateLinks)(nil)
	_ caddyfile.Unmarshaler     = (*TemplateLinks)(nil)
	_ templates.CustomFunctions = (*TemplateLinks)(nil)
)
