package serve

import (
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
	"github.com/caddy-realtime/realtime/ws"
)

// Serve serves a request; rest is its path after the prefix. An error refuses the
// request: nothing has been written, and [Server.Refuse] says what to answer.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, rest string) error {
	header := w.Header()
	header.Add("Vary", "Accept, Origin, Prefer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store, no-transform")
	anyOrigin, err := s.admitOrigin(w, r)
	if err != nil {
		return err
	}
	req, err := s.negotiate(r)
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
	client, err := s.client(r, &req, anyOrigin)
	if err != nil {
		return err
	}
	if len(rooms) > 0 {
		client.Scope = rooms // handlers before us have judged by the URL
	}
	if req.mode != modeWebSocket && len(rooms) > 1 { // a WebSocket has a cursor for each room
		if err := s.checkReturn(r, client, rooms); err != nil {
			return err
		}
	}
	client.Presence = req.presence
	if client.Observer = req.members; len(rooms) == 0 {
		return s.withoutRoom(w, r, client, req)
	}
	switch req.mode {
	case modeHead:
		return s.head(w, r, client, rooms)
	case modePage:
		if req.members {
			return s.members(w, client, rooms, req)
		}
		return s.page(w, r, client, rooms, req)
	case modeUI:
		return s.UI(w, r, rooms, rest)
	case modeWebSocket:
		return s.webSocket(w, r, client, rooms, req)
	case modeEvents, modeLines, modeLog:
		return s.stream(w, r, client, rooms, req)
	default:
		if len(rooms) > 1 {
			return protocol.Bad("a POST publishes to one room; for several, POST commands to the hub's own URL")
		}
		return s.publish(w, r, client, rooms[0], req.mode == modeForm)
	}
}

// client returns the client that sent a request, as far as its credentials count. It
// removes effects from the request if a page of another site has sent it.
func (s *Server) client(r *http.Request, req *request, anyOrigin bool) (hub.Client, error) {
	client := s.Identify(r)
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
	if s.Hub.Owns(req.conn, client.User) {
		client.ID = strings.Clone(req.conn)
	}
	return client, nil
}

// withoutRoom serves requests to the hub's own URL that name no room.
func (s *Server) withoutRoom(w http.ResponseWriter, r *http.Request, c hub.Client, req request) error {
	switch {
	case req.mode == modeCommands:
		return s.commands(w, r, c)
	case req.mode == modeHead:
		return s.head(w, r, c, nil)
	case req.mode == modeWebSocket && req.subprotocol == sessionSubprotocol:
		return s.webSocket(w, r, c, nil, req)
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
func (s *Server) checkReturn(r *http.Request, c hub.Client, rooms []string) error {
	if s.MaxHeaderBytes <= 0 {
		return nil
	}
	tail, err := s.Hub.Caller(c).Tail(r.Context(), rooms[0])
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
	if limit := s.MaxHeaderBytes; size > limit {
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

func (s *Server) webSocket(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	session := req.subprotocol == sessionSubprotocol
	if !session && len(rooms) > 1 {
		return protocol.Bad("several rooms on one WebSocket need the subprotocol %s", sessionSubprotocol)
	}
	if err := ws.CheckHandshake(r, w.Header()); err != nil {
		return err
	}
	s.abandon(r)
	c.NoEcho = req.noEcho
	return ws.Serve(w, r, ws.Options{
		Hub: s.Hub, Group: s.Group, Poller: s.Poller, Client: c, Rooms: req.joinRequests(rooms),
		Session: session, Envelope: req.envelope, Compression: s.Compression, Subprotocol: req.subprotocol, Heartbeat: s.Heartbeat,
	})
}

// abandon has the system give up the connection of a client that has silently gone,
// whether the connection leaves net/http or not.
func (s *Server) abandon(r *http.Request) {
	if nc, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		outbound.Abandon(nc, s.Heartbeat)
	}
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	s.LiftWriteTimeout(r)
	s.abandon(r)
	presence := sse.PresenceOptions{Presence: req.presence, Only: req.members}
	var format sse.Format = sse.Events{Envelope: req.envelope || len(rooms) > 1, PresenceOptions: presence}
	if req.mode == modeLines {
		format = sse.Lines{PresenceOptions: presence}
	}
	if req.mode == modeLog {
		format = sse.HTML{}
		s.Frame(w.Header())
	}
	c.Alone = len(rooms) > 1 // each event's id is the cursor of all rooms
	return sse.Serve(w, r, sse.Options{
		Hub: s.Hub, Group: s.Group, Poller: s.Poller, Log: s.Log, Client: c, Rooms: req.joinRequests(rooms),
		Answered: req.answers && !req.members,
		Format:   format, Heartbeat: s.Heartbeat, Down: s.Down, Held: s.heldBack,
	})
}

// heldBack logs, once for each configuration, that a handler holds streams back.
func (s *Server) heldBack() {
	s.held.Do(func() {
		s.Log.Warn("a handler around realtime holds responses back, so every stream ends at once and clients come back as if they polled; move realtime out of templates, intercept, log_append with the response body and similar handlers")
	})
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	o := poll.Options{
		Hub: s.Hub, Client: c, Several: len(rooms) > 1, Limit: req.limit, Wait: req.wait,
		Conditional: req.conditional, State: req.state, PresenceCursor: req.presenceCursor, Down: s.Down,
	}
	waits := req.wait > 0 && req.before.IsZero()
	if waits {
		s.LiftWriteTimeout(r)
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(req.wait.Seconds())))
	}
	if len(rooms) > 1 && !req.before.IsZero() {
		return protocol.Bad("before works in one room only")
	}
	for _, join := range req.joinRequests(rooms) {
		q := hub.Query{InvalidCursor: join.Start.InvalidCursor, After: join.Start.After, Before: req.before, Last: join.Start.Last, Age: join.Start.Age}
		if !waits && !q.InvalidCursor && q.After.IsZero() && q.Before.IsZero() && q.Last == 0 && q.Age == 0 {
			q.Last = req.limit
		}
		o.Rooms = append(o.Rooms, poll.Room{Name: join.Room, Query: q})
	}
	if req.last > 0 && len(rooms) == 1 {
		o.Limit = min(req.last, maxLimit)
	}
	return poll.Serve(w, r, o)
}

// members answers with the members of a room.
func (s *Server) members(w http.ResponseWriter, c hub.Client, rooms []string, req request) error {
	if len(rooms) > 1 {
		return protocol.Bad("members works for one room only")
	}
	caller := s.Hub.Caller(c)
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
func (s *Server) head(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string) error {
	if c.User != nil {
		w.Header().Set("Realtime-User", url.PathEscape(c.User.ID))
	}
	caller := s.Hub.Caller(c)
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

// Refuse prepares the answer to a request that is refused: it sets headers, and drops
// the body. It returns the problem that the caller has to write, or nil if it has
// written the answer itself, as to an EventSource that shall come back.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, err error) *protocol.Problem {
	p := protocol.ProblemOf(err)
	dropRest(w, r, false)
	if p.Status == http.StatusInternalServerError {
		s.Log.Error("serving a room", "error", err)
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
	return p
}
