// Package realtime is a Caddy module that serves live rooms: a room is a URL,
// and WebSocket, server-sent events, NDJSON streaming, long-polling and plain
// polling all work on it, as does publishing with one POST.
package realtime

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/internal/netpoll"
)

func init() {
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(App))
}

// Handler serves rooms below a path prefix. A room is a URL, and standard HTTP
// chooses what to do with it: a request that asks for a WebSocket gets one, one
// that accepts `text/event-stream` gets server-sent events, one that accepts
// `application/x-ndjson` an endless stream of lines, any other GET a page of the
// newest messages, with `Prefer: wait=25` as soon as there is something; a POST
// publishes.
//
// Rooms live in a hub in this process. A reload of the configuration keeps the
// hub, its rooms and its connections; only a change of its name makes a new one.
//
// Without further configuration every room is public: whoever reaches the site
// can read and write in it. Put an authentication handler before it to change
// that; messages then carry the user's id.
type Handler struct {
	// The path below which rooms live; it begins and ends with a slash.
	// Requests outside of it go to the next handler. Letter case is ignored.
	// In a Caddyfile it is taken from the path matcher. Of handlers in one list of
	// routes the one with the longest prefix takes a path. Default: `/rt/`.
	Prefix string `json:"prefix,omitempty"`

	// The name of the hub. Handlers that name the same hub share its rooms;
	// different names part them. At most 64 letters, digits, `-` and `_`.
	// Default: the hub without a name.
	Hub string `json:"hub,omitempty"`

	// Limits for some rooms. An exact name wins over a pattern, a longer pattern
	// over a shorter one; what a rule leaves out comes from the next less
	// specific rule that matches, then from the hub's options.
	Rooms []Room `json:"rooms,omitempty"`

	// The bytes that the data of one message may have; -1 for no limit. A
	// larger one is refused with 413, or close code 1009. It cannot be above
	// `history_memory`, so -1 needs -1 there. Default: 65536 (64 KiB).
	MaxMessageSize int64 `json:"max_message_size,omitempty"`

	// How many rooms the hub may have; -1 for no limit. The least used room
	// without members makes way for a new one; when all have members a new one
	// is refused with 503. Default: 10000.
	MaxRooms int `json:"max_rooms,omitempty"`

	// How many connections the hub may have, WebSockets, streams, waiting polls
	// and pages that are being written together; -1 for no limit. More are refused with 503. Default: 100000,
	// or 90 % of the process's limit of open files if that is less.
	MaxConnections int `json:"max_connections,omitempty"`

	// How many connections one client address may have (IPv6: one /64); -1 for
	// no limit. More are refused with 503. Behind a proxy, set `trusted_proxies`,
	// or all clients have one address. Default: 200.
	MaxConnectionsPerAddress int `json:"max_connections_per_address,omitempty"`

	// How often one connection, and all requests of one client address together,
	// may publish, and how often an address may make a new room. More is refused
	// with 429, or close code 4429. Default: 10 a second, 20 at once.
	Rate *Rate `json:"rate,omitempty"`

	// The bytes that the hub may keep: messages with 400 each beside their data,
	// cached encoded forms, frames of presence, and the states that members show,
	// which have no more than half of it; -1 for no limit. When it is reached the
	// oldest messages go. Default: 67108864 (64 MiB).
	HistoryMemory int64 `json:"history_memory,omitempty"`

	// How often an idle connection shows a sign of life: a WebSocket is pinged
	// (and ended if nothing comes back for two heartbeats), a stream gets a
	// comment or an empty line; -1 for never. Between 1s and 1h. It holds for
	// connections made after a change. Default: `25s`.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// Origins of pages that may use the rooms beside the site's own:
	// `https://app.example.com`, `https://*.example.com`, `app.example.com` (any
	// scheme), `null` (pages of files, and sandboxed frames), or `*` for any;
	// whoever only `*` or `null` lets in is anonymous, whatever credentials come
	// along. Requests from other origins are refused with 403, and the first of
	// each origin is logged. Default: the site's own alone.
	Origins []string `json:"origins,omitempty"`

	// WebSocket subprotocols that clients may ask for beside `realtime.raw`. The
	// first one offered that is known is chosen; an offer of unknown names alone
	// is refused with 400. They change nothing in what is sent.
	Subprotocols []string `json:"subprotocols,omitempty"`

	// Agree on permessage-deflate (RFC 7692) with WebSocket clients that offer it,
	// without context takeover. Messages from 256 bytes on are compressed, each
	// once for all. It holds for connections made after a change. Default: off,
	// since it saves bytes and costs time.
	Compression bool `json:"compression,omitempty"`

	// Keep a goroutine for each WebSocket and each HTTP/1.1 stream, instead of
	// waiting for all that are idle in one place (epoll, on Linux). It costs some
	// 5 KB a connection more, and is what other systems always do. It holds for
	// connections made after a change. Default: off.
	DisablePoller bool `json:"disable_poller,omitempty"`

	// Show a room to people: a browser that opens a room's URL gets a page with
	// a chat in it, which works without JavaScript, too. Other clients get what
	// they got. Default: off, and a browser gets a page of JSON.
	UI bool `json:"ui,omitempty"`

	log     *slog.Logger
	astray  astray
	pooled  *pooledHub
	poller  *netpoll.Poller // where idle connections wait
	poolKey string
	taken   bool // the hub, and not given back; Provision's and Cleanup's
	server  *caddyhttp.Server
	errors  []*caddyhttp.HTTPErrorConfig // that decide how our refusals look, before us
	late    *caddyhttp.HTTPErrorConfig   // of them, the one that calls no route of ours
	refused *refusedOrigins
	down    chan struct{} // closed when the server of this handler shuts down
	downed  sync.Once
	held    sync.Once // a stream was held back, and that was said
}

// Room sets limits for the rooms that match a pattern.
type Room struct {
	// The name of a room, or the beginning of names followed by one `*`, which
	// also spans slashes.
	Pattern string `json:"pattern"`
	// What the room keeps. Default: 100 messages, none older than 24 hours.
	History *History `json:"history,omitempty"`
	// The bytes that the data of one message may have; -1 for no limit.
	MaxMessageSize int64 `json:"max_message_size,omitempty"`
	// How often one connection or address may publish in it.
	Rate *Rate `json:"rate,omitempty"`
	// What the room tells of who is there. Default: all, with a grace of 10s.
	Presence *Presence `json:"presence,omitempty"`
}

// Presence says what a room tells of who is there.
type Presence struct {
	// `on`: who shows himself, and how many there are; `count`: how many;
	// `off`: nothing. Default: `on`.
	Mode string `json:"mode,omitempty"`
	// How long somebody whose connection has ended is still there, so that a
	// page that is loaded anew, or the time between two polls, is no leaving and
	// coming; -1 for not at all. At most 1h. Default: `10s`.
	Grace caddy.Duration `json:"grace,omitempty"`
}

// History says what a room keeps for those who come later or come back.
type History struct {
	// How many messages; 0 for none, -1 for no limit but `history_memory`.
	Count int `json:"count"`
	// How old they may get; -1 for any age. Default: `24h`.
	Age caddy.Duration `json:"age,omitempty"`
}

// Rate bounds how often something may be done.
type Rate struct {
	// How many a second, on average; -1 for no limit.
	PerSecond float64 `json:"per_second"`
	// How many at once. Default: twice as many as a second brings, at least 1.
	Burst int `json:"burst,omitempty"`
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

// Provision takes the hub, making it if it is new. Its settings come into force
// when the whole configuration can no longer be refused: see [App].
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Slogger()
	h.down = make(chan struct{})
	asked := h.Prefix != ""
	h.Prefix = h.prefix()
	if h.Heartbeat == 0 {
		h.Heartbeat = defaultHeartbeat
	}
	if err := h.check(); err != nil {
		return err
	}
	settings, own, err := h.settings()
	if err != nil {
		return err
	}
	app, err := ctx.App("realtime")
	if err != nil {
		return fmt.Errorf("loading the realtime app: %w", err)
	}
	h.refused = &app.(*App).refused
	h.poolKey = poolKey(h.Hub)
	var made bool
	if h.pooled, made, err = takeHub(h.poolKey, settings, h.log); err != nil {
		return err
	}
	h.taken = true
	if h.poller = &h.pooled.idle; h.DisablePoller {
		h.poller = &netpoll.Poller{Goroutines: true} // nothing waits there, so nothing is to be closed
	}
	if err := app.(*App).adopt(h.Hub, h.pooled, made, settings, own, h.log); err != nil {
		return err
	}
	if srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		h.server = srv
		app.(*App).keepConns(srv)
		srv.RegisterOnShutdown(h.shutDown)
	}
	h.documentErrors(ctx)
	around := lookAround(ctx, h.server, h)
	h.findAstray(around, asked)
	h.tellShared(around)
	return nil
}

// Validate checks the configuration. (Provision has done so already, since a
// hub cannot be made of settings that cannot be.)
func (h *Handler) Validate() error { return h.check() }

// Cleanup gives the hub back. It is also called after a Provision that failed.
func (h *Handler) Cleanup() error {
	if h.down != nil {
		h.shutDown()
	}
	if !h.taken {
		return nil
	}
	h.taken = false
	// A request may still be under way, so pooled stays.
	return releaseHub(h.poolKey)
}

// shutDown ends the streams and polls that this handler's server still holds. Their
// clients come back to the new one and lose nothing.
func (h *Handler) shutDown() { h.downed.Do(func() { close(h.down) }) }

// ServeHTTP serves what lies below the prefix, and passes on the rest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	name, owned := h.room(r)
	if !owned {
		return h.pass(w, r, next)
	}
	err := h.serve(w, r, name)
	if err == nil {
		return nil
	}
	return h.refuse(w, r, err)
}

// room returns the rest of the path after the prefix, and whether the path is
// the handler's at all.
func (h *Handler) room(r *http.Request) (rest string, owned bool) {
	path := r.URL.Path
	if !isBelow(path, h.Prefix) || slices.ContainsFunc(h.astray.deeper, func(p string) bool { return isBelow(path, p) }) {
		return "", false
	}
	return path[len(h.Prefix):], true
}

// check says what is wrong with the handler's own options; the hub's options
// are checked where they become settings.
func (h *Handler) check() error {
	if h.Prefix != "" {
		if err := checkPrefix(h.Prefix); err != nil {
			return err
		}
	}
	if err := checkHubName(h.Hub); err != nil {
		return err
	}
	if err := checkHeartbeat(h.Heartbeat); err != nil {
		return err
	}
	if err := h.checkRooms(); err != nil {
		return err
	}
	var errs []error
	for _, o := range h.Origins {
		errs = append(errs, checkOrigin(o))
	}
	for _, s := range h.Subprotocols {
		errs = append(errs, checkSubprotocol(s))
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
