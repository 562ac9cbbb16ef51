package realtime

import (
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"

	scripts "github.com/caddy-realtime/realtime/client"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
	"github.com/caddy-realtime/realtime/ws"
)

// serve serves a path below the prefix. The caller has to answer its error.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, rest string) error {
	if name, ok := strings.CutPrefix(rest, "-/"); ok {
		return scripts.Serve(w, r, name, encode.AcceptedEncodings(r, scripts.Codings))
	}
	header := w.Header()
	header.Add("Vary", "Accept, Origin, Prefer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store, no-transform")
	anyOrigin, err := h.admitOrigin(w, r)
	if err != nil {
		return err
	}
	req, err := h.negotiate(r)
	if err != nil {
		return err
	}
	if req.mode == modePreflight {
		preflight(w, r)
		return nil
	}
	rooms, err := roomNames(r, rest)
	if err != nil {
		return err
	}
	client, err := h.client(r, &req, anyOrigin)
	if err != nil {
		return err
	}
	if len(rooms) > 0 {
		client.Scope = rooms // handlers before us have judged by the URL
	}
	if req.mode != modeWebSocket && len(rooms) > 1 { // a WebSocket has a cursor for each room
		if err := h.checkReturn(r, client, rooms); err != nil {
			return err
		}
	}
	client.Presence = req.presence
	if client.Observer = req.members; len(rooms) == 0 {
		return h.withoutRoom(w, r, client, req)
	}
	switch req.mode {
	case modeHead:
		return h.head(w, r, client, rooms)
	case modePage:
		if req.members {
			return h.members(w, client, rooms, req)
		}
		return h.page(w, r, client, rooms, req)
	case modeUI:
		return h.ui(w, r, rooms, rest)
	case modeWebSocket:
		return h.webSocket(w, r, client, rooms, req)
	case modeEvents, modeLines, modeLog:
		return h.stream(w, r, client, rooms, req)
	default:
		if len(rooms) > 1 {
			return protocol.Bad("a POST publishes to one room; for several, POST commands to the hub's own URL")
		}
		return h.publish(w, r, client, rooms[0], req.mode == modeForm)
	}
}

// client returns the client that sent a request, as far as its credentials count. It
// removes effects from the request if a page of another site has sent it.
func (h *Handler) client(r *http.Request, req *request, anyOrigin bool) (hub.Client, error) {
	client := identify(r)
	foreign := crossSite(r)
	if anyOrigin || foreign || req.anonymous {
		// Any page may have sent this with the cookies of its visitor, without acting
		// for them. Or the client asks for it.
		client.User = nil
	}
	if err := req.sameUser(client.User); err != nil {
		return client, err
	}
	if foreign {
		if err := req.withoutEffect(); err != nil {
			return client, err
		}
	}
	if h.pooled.hub.Owns(req.conn, client.User) {
		client.ID = strings.Clone(req.conn)
	}
	return client, nil
}

// withoutRoom serves requests to the hub's own URL that name no room.
func (h *Handler) withoutRoom(w http.ResponseWriter, r *http.Request, c hub.Client, req request) error {
	switch {
	case req.mode == modeCommands:
		return h.commands(w, r, c)
	case req.mode == modeHead:
		return h.head(w, r, c, nil)
	case req.mode == modeWebSocket && req.subprotocol == sessionSubprotocol:
		return h.webSocket(w, r, c, nil, req)
	default:
		return protocol.Bad("missing room; add it to the path, as in %slobby, or use ?room=lobby", r.URL.Path)
	}
}

// roomNames returns the rooms of a request: the rest of the path or, for the hub's own
// URL, those of the query, without duplicates.
func roomNames(r *http.Request, rest string) ([]string, error) {
	if rest == "-" {
		return nil, &protocol.Problem{Status: http.StatusNotFound, Title: "not found", Detail: "there is nothing here"}
	}
	asked := []string{rest}
	if rest == "" {
		asked = queryOf(r)["room"]
	}
	rooms := make([]string, 0, len(asked))
	for _, name := range asked {
		if err := hub.CheckRoomName(name); err != nil {
			return nil, err
		}
		if !slices.Contains(rooms, name) {
			rooms = append(rooms, strings.Clone(name))
		}
		if len(rooms) > protocol.MaxRooms {
			return nil, protocol.Bad("a URL may name at most %d rooms", protocol.MaxRooms)
		}
	}
	return rooms, nil
}

// checkReturn refuses a request for several rooms if it would be too large for the
// server once the client comes back with a cursor.
func (h *Handler) checkReturn(r *http.Request, c hub.Client, rooms []string) error {
	if h.server == nil || h.server.MaxHeaderBytes <= 0 {
		return nil
	}
	tail, err := h.pooled.hub.Caller(c).Tail(r.Context(), rooms[0])
	if err != nil {
		return err
	}
	line := len(": \r\n")
	if r.ProtoMajor > 1 {
		line = 32 // RFC 9113, section 6.5.2
	}
	size := len(r.RequestURI) + len(r.Host) + 2*line + protocol.CursorSetSize(rooms, len(tail.String())+1)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + line
		}
	}
	// The cursor of this request will be replaced.
	size -= len(r.Header.Get("Last-Event-Id")) + len(r.Header.Get("If-None-Match"))
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if name, _, _ := strings.Cut(part, "="); name == "since" || isLastEventID(name) {
			size -= len(part)
		}
	}
	if limit := h.server.MaxHeaderBytes; size > limit {
		return protocol.Bad("the names of these rooms are too long together: with a cursor the request would have %d bytes, but the server's max_header_bytes is %d; use several connections, or a WebSocket with the subprotocol %s",
			size, limit, sessionSubprotocol)
	}
	return nil
}

// joinRequests returns where a stream begins in its rooms.
func (req *request) joinRequests(rooms []string) []protocol.JoinRequest {
	requests := make([]protocol.JoinRequest, len(rooms))
	for i, room := range rooms {
		start := hub.Start{InvalidCursor: req.invalidCursor, After: req.cursorOf(room), State: req.state}
		if start.After.IsZero() {
			start.Last, start.Age = req.last, req.age
		}
		requests[i] = protocol.JoinRequest{Room: room, Start: start}
	}
	return requests
}

func (h *Handler) webSocket(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	session := req.subprotocol == sessionSubprotocol
	if !session && len(rooms) > 1 {
		return protocol.Bad("several rooms on one WebSocket need the subprotocol %s", sessionSubprotocol)
	}
	if err := ws.CheckHandshake(r, w.Header()); err != nil {
		return err
	}
	h.abandon(r)
	c.NoEcho = req.noEcho
	return ws.Serve(w, r, ws.Options{
		Hub: h.pooled.hub, Group: &h.pooled.conns, Poller: h.poller, Client: c, Rooms: req.joinRequests(rooms),
		Session: session, Envelope: req.envelope, Compression: h.Compression, Subprotocol: req.subprotocol, Heartbeat: h.heartbeat(),
	})
}

// abandon has the system give up the connection of a client that has silently gone,
// whether the connection leaves net/http or not.
func (h *Handler) abandon(r *http.Request) {
	if nc, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		outbound.Abandon(nc, h.heartbeat())
	}
}

func (h *Handler) stream(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	liftWriteTimeout(r)
	h.abandon(r)
	presence := sse.PresenceOptions{Presence: req.presence, Only: req.members}
	var format sse.Format = sse.Events{Envelope: req.envelope || len(rooms) > 1, PresenceOptions: presence}
	if req.mode == modeLines {
		format = sse.Lines{PresenceOptions: presence}
	}
	if req.mode == modeLog {
		format = sse.HTML{}
		frame(w.Header())
	}
	c.Alone = len(rooms) > 1 // each event's id is the cursor of all rooms
	return sse.Serve(w, r, sse.Options{
		Hub: h.pooled.hub, Group: &h.pooled.conns, Poller: h.poller, Log: h.log, Client: c, Rooms: req.joinRequests(rooms),
		Answered: req.answers && !req.members,
		Format:   format, Heartbeat: h.heartbeat(), Down: h.down, Held: h.heldBack,
	})
}

// heldBack logs, once for each configuration, that a handler holds streams back.
func (h *Handler) heldBack() {
	h.held.Do(func() {
		h.log.Warn("a handler around realtime holds responses back, so every stream ends at once and clients come back as if they polled; move realtime out of templates, intercept, log_append with the response body and similar handlers")
	})
}

func (h *Handler) page(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	o := poll.Options{
		Hub: h.pooled.hub, Client: c, Several: len(rooms) > 1, Limit: req.limit, Wait: req.wait,
		Conditional: req.conditional, State: req.state, PresenceCursor: req.presenceCursor, Down: h.down,
	}
	waits := req.wait > 0 && req.before.IsZero()
	if waits {
		liftWriteTimeout(r)
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(req.wait.Seconds())))
	}
	if len(rooms) > 1 && !req.before.IsZero() {
		return protocol.Bad("before works in one room only")
	}
	for _, s := range req.joinRequests(rooms) {
		q := hub.Query{InvalidCursor: s.Start.InvalidCursor, After: s.Start.After, Before: req.before, Last: s.Start.Last, Age: s.Start.Age}
		if !waits && !q.InvalidCursor && q.After.IsZero() && q.Before.IsZero() && q.Last == 0 && q.Age == 0 {
			q.Last = req.limit
		}
		o.Rooms = append(o.Rooms, poll.Room{Name: s.Room, Query: q})
	}
	if req.last > 0 && len(rooms) == 1 {
		o.Limit = min(req.last, maxLimit)
	}
	return poll.Serve(w, r, o)
}

// members answers with the members of a room.
func (h *Handler) members(w http.ResponseWriter, c hub.Client, rooms []string, req request) error {
	if len(rooms) > 1 {
		return protocol.Bad("members works for one room only")
	}
	caller := h.pooled.hub.Caller(c)
	p, err := caller.Presence(rooms[0])
	if err != nil {
		return err
	}
	leave, err := caller.Occupy()
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Content-Type", "application/json")
	poll.Write(w, protocol.Members(p, req.presence == hub.PresenceAll))
	return nil
}

// head answers with the state of the rooms, or with the status with which a connection
// would be refused. Scripts ask for it, since a refused WebSocket shows them only 1006.
func (h *Handler) head(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string) error {
	if c.User != nil {
		w.Header().Set("Realtime-User", url.PathEscape(c.User.ID))
	}
	caller := h.pooled.hub.Caller(c)
	if err := caller.CanConnect(); err != nil {
		return err
	}
	cursor := make(protocol.CursorSet, len(rooms))
	for i, room := range rooms {
		tail, err := caller.Tail(r.Context(), room)
		if err != nil {
			return err
		}
		cursor[i] = protocol.RoomCursor{Room: room, Position: tail}
	}
	switch len(rooms) {
	case 0:
	case 1:
		w.Header().Set("ETag", `"`+cursor[0].Position.String()+`"`)
		if n, err := caller.MemberCount(rooms[0]); err == nil {
			w.Header().Set("Realtime-Members", strconv.Itoa(n))
		}
	default:
		w.Header().Set("ETag", `"`+cursor.String()+`"`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return nil
}

// heartbeat returns the time between signs of life; 0 means none.
func (h *Handler) heartbeat() time.Duration { return max(time.Duration(h.Heartbeat), 0) }

// liftWriteTimeout removes a configured write timeout from one response: such timeouts
// are for responses that end. Here each write has a bound of its own.
func liftWriteTimeout(r *http.Request) {
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		writer.Deadline.HardDeadline = time.Time{}
	}
}

// refuse answers an error. If the site has error routes they decide how it looks;
// otherwise it is a problem document (RFC 9457).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	p := protocol.ProblemOf(err)
	dropRest(w, r, false)
	if p.Status == http.StatusInternalServerError {
		h.log.Error("serving a room", "error", err)
	}
	header := w.Header()
	if p.Status == http.StatusMethodNotAllowed && header.Get("Allow") == "" {
		header.Set("Allow", allowedMethods)
	}
	retry := p.RetryAfter > 0
	if retry {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	if retry && p.Status != http.StatusForbidden && r.Method == http.MethodGet {
		// Any status except 200 would end an EventSource for good.
		if mode, err := chooseMode(r); err == nil && mode == modeEvents {
			sse.Head(w, sse.Events{}.ContentType())
			_, _ = w.Write(sse.Bye(nil, p.Status, p.RetryAfter))
			return nil
		}
	}
	if raised, err := h.raise(w, r, p); raised {
		return err
	}
	writeProblem(w, r, p)
	return nil
}
