// Package realtime is a Caddy module that serves live rooms. A room is a URL:
// WebSocket, server-sent events, NDJSON streaming, long-polling and plain polling all
// work on it, and one POST publishes.
package realtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/access/token"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/serve"
	"github.com/caddy-realtime/realtime/scripts"
)

func init() {
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(App))
}

// Handler serves rooms below a path prefix. A room is a URL, and standard HTTP chooses
// what to do with it: a request for a WebSocket gets one, a GET that accepts
// `text/event-stream` gets server-sent events, a GET that accepts
// `application/x-ndjson` gets an endless stream of lines, and any other GET gets a page
// of the newest messages, or with `Prefer: wait=25` the next ones as soon as there are
// any. A POST publishes.
//
// Rooms live in a hub in this process. A reload of the configuration keeps the hub,
// its rooms and its connections; only another name or engine of the hub makes a new one.
// Requests outside the prefix go to the next handler.
//
// Without further configuration every room is public: everybody who reaches the site
// can read and write. To change that, put an authentication handler before this one;
// messages then carry the user's id. `allow` says who may do what in which room.
type Handler struct {
	// The path below which rooms live. It must begin and end with a slash; letter
	// case is ignored. Requests outside it go to the next handler. If several
	// handlers in one list of routes match, the longest prefix wins. In a Caddyfile
	// it is taken from the path matcher. Default: `/rt/`.
	Prefix string `json:"prefix,omitempty"`

	// The name of the hub: up to 64 letters, digits, `-` and `_`. Handlers with the
	// same name share their rooms and settings, handlers with different names do
	// not. Default: the hub without a name.
	Hub string `json:"hub,omitempty"`

	// The engine of the hub, which orders and keeps its messages: an object with its `name`, and its
	// options. Another engine, or another storage of it, is another hub: its rooms begin
	// empty, and clients of the old one are sent to it. Default: `{"name": "memory"}`.
	EngineRaw json.RawMessage `json:"engine,omitempty" caddy:"namespace=http.handlers.realtime.engines inline_key=name"`

	// Options for some rooms. An exact name wins over a pattern, a longer pattern
	// over a shorter one. An option that a rule leaves out comes from the next less
	// specific rule that matches, then from the hub. When memory or `max_rooms` is used up,
	// rooms that match a pattern, other than `*`, are the last to make way.
	Rooms []Room `json:"rooms,omitempty"`

	// Which names are rooms: `open`: any name; `declared`: only those that match a pattern in
	// `rooms`, which must not be `*` then. Any other name is refused with 404, to those who have
	// the right to what they ask for. A reload ends connections to rooms that are not declared any more.
	// Default: `open`.
	RoomNames string `json:"room_names,omitempty"`

	// Who may do what in the rooms that no room's `allow` is about. A reload applies to
	// open connections, too. Default: everybody may do everything.
	Allow []Allow `json:"allow,omitempty"`

	// Placeholders that give the id of a request's user. If one of them is unknown or
	// empty, the client is anonymous. Default: `{http.auth.user.id}`, which authentication
	// handlers set. What clients can set themselves, like a header, needs `user_trusted`.
	User string `json:"user,omitempty"`

	// Clients cannot set what `user` and `name` read from requests: a proxy before Caddy,
	// or `forward_auth` with `copy_headers` in front of every path of this handler, sets
	// or removes it in every request. This is not checked. Default: off.
	UserTrusted bool `json:"user_trusted,omitempty"`

	// What the ids of the handler's users begin with, in the hub: where users of a hub come from two
	// sources, such as `jwt` in one handler and `user` in another, those of one have a prefix, or
	// one id would be two people. A handler with a shorter prefix, or none, refuses ids that begin so.
	// Default: none.
	UserPrefix string `json:"user_prefix,omitempty"`

	// Placeholders that give the name of a request's user, which others see. Default: none.
	Name string `json:"name,omitempty"`

	// JSON Web Tokens that say who a client is. Default: none are accepted.
	JWT *JWT `json:"jwt,omitempty"`

	// Servers that use the rooms with a key. Default: none.
	Backends []Backend `json:"backends,omitempty"`

	// Every client of this handler is the backend of this name, without a key. The handler must
	// be out of others' reach: on a unix socket or a loopback address, behind a
	// `remote_ip` or `client_ip` matcher, or behind client certificates that Caddy verifies.
	// Requests of browsers and through proxies are refused. Default: none.
	AsBackend string `json:"as_backend,omitempty"`

	// Signed links, which give whoever has one some rights for a time. Default: none are
	// accepted.
	Links *Links `json:"links,omitempty"`

	// Know browsers of people without an account again, by a cookie. Default: off.
	Guests *Guests `json:"guests,omitempty"`

	// The maximum size of a message's data, in bytes; -1 for no limit. A larger
	// message is refused with 413, or close code 1009. It must not exceed
	// `history_memory`, so -1 requires -1 there. Default: 65536 (64 KiB).
	MaxMessageSize int64 `json:"max_message_size,omitempty"`

	// The maximum number of rooms in the hub; -1 for no limit. Beyond it a new room
	// replaces the least recently used room without members, and one that matches a pattern
	// of `rooms` (other than `*`) only if there is no other; if all rooms have
	// members it is refused with 503. Default: 10000.
	MaxRooms int `json:"max_rooms,omitempty"`

	// The maximum number of connections of the hub: WebSockets, streams, waiting
	// polls and pages that are being written, all together; -1 for no limit. More are
	// refused with 503. Default: 100000, or 90 % of the process's limit of open files
	// if that is less.
	MaxConnections int `json:"max_connections,omitempty"`

	// The maximum number of connections of one client address (IPv6: of one /64); -1
	// for no limit. More are refused with 503. Behind a proxy, set `trusted_proxies`,
	// or all clients share the proxy's address. Default: 200.
	MaxConnectionsPerAddress int `json:"max_connections_per_address,omitempty"`

	// The maximum number of connections of one user, counted like those of
	// `max_connections`; -1 for no limit. More are refused with 503. Default: -1.
	MaxConnectionsPerUser int `json:"max_connections_per_user,omitempty"`

	// The maximum number of different users with connections; -1 for no limit. If there
	// are as many, further users are refused with 503; anonymous clients are not counted.
	// Default: -1.
	MaxUsers int `json:"max_users,omitempty"`

	// How often one connection, all that one user does, and all that one client address
	// does, may publish; signals have the same rate, counted for themselves. Also how
	// often a user and an address may create a room. With a burst of at least 100, it is
	// how often each may join a room or show a state, and, counted for itself, ask for
	// history by command. More is refused with 429, or close code 4429. Default: 10 per
	// second with a burst of 20.
	Rate *Rate `json:"rate,omitempty"`

	// How many bytes the hub may keep: messages (their data and 400 bytes each),
	// cached encoded forms, presence frames, and members' states, which take no more
	// than half of it; -1 for no limit. When it is used up the oldest messages are
	// removed, those of rooms that match a pattern of `rooms` (other than `*`) last: other
	// rooms have a sixteenth of it in any case. Default: 67108864 (64 MiB).
	HistoryMemory int64 `json:"history_memory,omitempty"`

	// How often an idle connection is sent a sign of life: a WebSocket gets a ping,
	// and is ended if nothing comes back for two heartbeats; a stream gets a comment
	// or an empty line. From 1s to 1h, or -1 for never. A change applies to new
	// connections. Default: `25s`.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// How long clients are sent away for: when Caddy exits or the hub ends, all of them, and at a
	// reload those on HTTP/2 and 3 and those that wait for an answer. Each goes at a time of its
	// own, and comes back with its cursor. From 1s to 1h, or -1 for all at once. Default: `5s`.
	Drain caddy.Duration `json:"drain,omitempty"`

	// The origins whose pages may use the rooms, in addition to the site's own:
	// `https://app.example.com`, `https://*.example.com`, `app.example.com` (any
	// scheme), `null` (pages loaded from files, and sandboxed frames), or `*` (any).
	// A client that only `*` or `null` admits is anonymous, whatever its credentials.
	// Requests from other origins are refused with 403, and the first from each origin
	// is logged. Default: only the site's own.
	Origins []string `json:"origins,omitempty"`

	// The WebSocket subprotocols that clients may ask for, in addition to
	// `realtime.v1` and `realtime.raw`. The first known one in a client's offer is
	// chosen; an offer without a known one is refused with 400. Except for
	// `realtime.v1`, the choice does not change what is sent. Default: none.
	Subprotocols []string `json:"subprotocols,omitempty"`

	// Accept permessage-deflate (RFC 7692), without context takeover, from WebSocket
	// clients that offer it. A message of 256 bytes or more is compressed, once for
	// all of them. It saves bytes and costs time. A change applies to new
	// connections. Default: off.
	Compression bool `json:"compression,omitempty"`

	// Keep a goroutine for each WebSocket and each HTTP/1.1 stream, about 5 KB more
	// for each, instead of waiting for all idle ones in one place (epoll, on Linux).
	// On other systems there always is one. A change applies to new connections.
	// Default: off.
	DisablePoller bool `json:"disable_poller,omitempty"`

	// Serve a page with a chat to browsers that open a room's URL. It works without
	// JavaScript, too. Nothing changes for other clients. Default: off; browsers get
	// the JSON page.
	UI bool `json:"ui,omitempty"`

	// Set once, by Provision.
	log      *slog.Logger
	app      *App
	astray   astray
	server   *serve.Server     // serves the requests that are ours
	srv      *caddyhttp.Server // may be nil
	tokens   *token.Verifier   // of JWT; nil: tokens are not accepted
	family   string            // see Family
	ceiling  *access.Grants    // of tokens; nil: they grant nothing
	users    userSources       // of the hub, complete when requests come
	facts    *facts            // what the matchers of allow tell; nil: there are none
	backends backends
	links    links
	asHosts  caddyhttp.MatchHost          // the hosts that the site names, for AsBackend
	errors   []*caddyhttp.HTTPErrorConfig // the error routes that our refusals may meet
	late     *caddyhttp.HTTPErrorConfig   // the one of them that has no route of ours; may be nil
	patience time.Duration                // of Caddy with open requests (grace_period); 0: unlimited

	// Set once, by attach; see App.ready.
	hub      *hub.Hub
	attached *hub.Attached // the streams and polls that the handler's server holds
	uses     *link.Uses    // of the hub's links
	guestKey [32]byte      // signs the cookies of guests
	forget   func()        // undoes Hub.Trust; nil: it was not called

	moved sync.Once // see shutDown
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.realtime",
		New: func() caddy.Module { return new(Handler) },
	}
}

const (
	defaultPrefix    = "/rt/"
	defaultHeartbeat = caddy.Duration(25 * time.Second)
)

// Provision checks the options, and leaves those of the hub to [App], which takes the hub from
// the pool when the configuration is started. They come into force when the whole configuration can no
// longer be refused.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Slogger()
	asked := h.Prefix != ""
	h.Prefix = h.prefix()
	if h.Heartbeat == 0 {
		h.Heartbeat = defaultHeartbeat
	}
	if h.User == "" && h.JWT == nil {
		h.User = defaultUser
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := h.provisionCredentials(); err != nil {
		return err
	}
	loaded, err := ctx.App("realtime")
	if err != nil {
		return fmt.Errorf("loading the realtime app: %w", err)
	}
	h.app = loaded.(*App)
	if h.facts, err = h.provisionFacts(ctx, h.app.generation); err != nil {
		return err
	}
	if err := h.provisionTokens(); err != nil {
		return err
	}
	if err := h.provisionHub(ctx); err != nil {
		return err
	}
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		h.srv = srv
		h.app.keepConns(srv)
		srv.RegisterOnShutdown(h.shutDown)
	}
	h.patience = patience(ctx)
	h.server = h.newServer()
	h.documentErrors(ctx)
	around := lookAround(ctx, h.srv, h)
	if err := h.provisionAsBackend(ctx, around); err != nil {
		return err
	}
	h.findAstray(around, asked)
	h.logShared(around)
	h.app.handlers = append(h.app.handlers, h)
	return nil
}

// provisionHub leaves the options and the users of the handler to its hub.
func (h *Handler) provisionHub(ctx caddy.Context) error {
	options, err := h.hubOptions()
	if err != nil {
		return err
	}
	engine, err := h.provisionEngine(ctx)
	if err != nil {
		return err
	}
	if err := h.app.adopt(h.Hub, options, engine, h.log); err != nil {
		return err
	}
	return h.app.noteUsers(h)
}

// attach gives the handler its hub, which is open, and the hub the handler's credentials. Cleanup undoes that.
func (h *Handler) attach(p *pooledHub) {
	h.hub, h.uses, h.guestKey = p.hub, &p.uses, p.hub.Subkey("guest")
	h.attached = hub.NewAttached(h.hub)
	if h.JWT != nil {
		p.noteTokens(time.Duration(h.JWT.MaxLifetime))
	}
	if len(h.Sources()) > 0 {
		h.forget = h.hub.Trust(h)
	}
	s := h.server
	s.Hub, s.Group, s.Attached = p.hub, &p.conns, h.attached
	if s.Poller == nil {
		s.Poller = &p.idle
	}
}

// newServer returns the server of the handler's rooms, which attach completes. It hands over every option
// that is not the hub's.
func (h *Handler) newServer() *serve.Server {
	s := &serve.Server{
		Log:              h.log,
		Heartbeat:        max(time.Duration(h.Heartbeat), 0),
		Compression:      h.Compression,
		Origins:          h.Origins,
		Subprotocols:     h.Subprotocols,
		UI:               h.UI,
		Prefix:           h.Prefix,
		Refused:          &h.app.refused,
		Identify:         h.identify,
		LiftWriteTimeout: liftWriteTimeout,
	}
	if h.DisablePoller {
		s.Poller = &netpoll.Poller{Goroutines: true} // nothing waits in it, so it need not be closed
	}
	if h.srv != nil {
		s.MaxHeaderBytes = h.srv.MaxHeaderBytes
	}
	return s
}

// Validate checks the configuration. (Provision has done so already, since what
// it does is of no use with invalid options.)
func (h *Handler) Validate() error { return h.check() }

// Cleanup ends what the handler has begun. It is also called after a Provision that failed.
func (h *Handler) Cleanup() error {
	if h.app != nil {
		h.app.endOpening()
		h.shutDown()
	}
	if h.forget != nil {
		h.forget()
	}
	if h.tokens != nil {
		h.tokens.Close()
	}
	return nil
}

// shutDown sends the clients of the streams and polls that the handler's server still holds to the
// new server, where they miss nothing.
func (h *Handler) shutDown() {
	select {
	case <-h.app.opened:
	default:
		return // nobody is there; Cleanup comes later
	}
	if h.attached == nil {
		return // the hubs could not be taken
	}
	h.moved.Do(func() {
		within := h.hub.Settings().Drain
		hurry := h.patience > 0 && h.patience < within
		if h.hub.Draining() && !hurry {
			return // they go with all others
		}
		if hurry {
			within = h.patience
		}
		h.attached.Move(spread(within), cmp.Or(within, goodbyeTime))
	})
}

// ServeHTTP serves paths below the prefix, and passes other requests on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rest, owned := h.match(r)
	if !owned {
		return h.pass(w, r, next)
	}
	var err error
	if script, ok := strings.CutPrefix(rest, "-/"); ok {
		err = scripts.Serve(w, r, script, encode.AcceptedEncodings(r, scripts.Codings))
	} else {
		logged := h.logOwn(r)
		if err = h.app.ready(r.Context()); err == nil {
			err = h.server.Serve(w, r, rest)
		}
		logged(err)
	}
	if err != nil {
		return h.refuse(w, r, err)
	}
	return nil
}

// match returns the path after the prefix, and whether the handler owns the path at
// all.
func (h *Handler) match(r *http.Request) (rest string, owned bool) {
	path := r.URL.Path
	if !isBelow(path, h.Prefix) || slices.ContainsFunc(h.astray.deeper, func(p string) bool { return isBelow(path, p) }) {
		return "", false
	}
	return path[len(h.Prefix):], true
}

// check checks the handler's own options. Those of the hub are checked when they
// become settings.
func (h *Handler) check() error {
	if h.Prefix != "" {
		if err := checkPrefix(h.Prefix); err != nil {
			return err
		}
	}
	if err := checkHubName(h.Hub); err != nil {
		return err
	}
	if err := cmp.Or(checkSeconds("heartbeat", h.Heartbeat), checkSeconds("drain", h.Drain)); err != nil {
		return err
	}
	if err := h.checkRooms(); err != nil {
		return err
	}
	if err := h.checkIdentity(); err != nil {
		return err
	}
	if err := h.checkCredentials(); err != nil {
		return err
	}
	var errs []error
	for _, o := range h.Origins {
		errs = append(errs, serve.CheckOrigin(o))
	}
	for _, s := range h.Subprotocols {
		errs = append(errs, serve.CheckSubprotocol(s))
	}
	return errors.Join(errs...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
