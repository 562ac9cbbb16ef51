package serve

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
)

// Server serves the rooms of one handler. Its fields are set before the first request,
// and do not change; it is safe for concurrent use. Hub, Group, Poller, Log, Attached,
// Refused, Identify and LiftWriteTimeout must be set.
type Server struct {
	Hub      *hub.Hub
	Group    *outbound.Group // writes to connections that have left net/http
	Poller   *netpoll.Poller // where they wait while they are idle
	Log      *slog.Logger
	Attached *hub.Attached // the streams and polls that net/http still holds

	// Options of the handler; zero values switch them off.
	Heartbeat    time.Duration // between signs of life
	Compression  bool          // of what WebSockets are sent
	Origins      []string      // whose pages may use the rooms, besides the site's own
	Subprotocols []string      // of WebSockets, besides our own
	UI           bool          // browsers get the page of a room, and not the JSON page
	Prefix       string        // the path below which the rooms are, with a slash at both ends

	// MaxHeaderBytes bounds the headers that net/http takes; 0: there is no bound.
	MaxHeaderBytes int
	// Refused logs refused origins. All handlers of a configuration share it.
	Refused *RefusedOrigins

	// Identify returns the client that sent a request: its user, its address, its credential,
	// and the facts that the hub's authorizer goes by. An error refuses the request.
	Identify func(r *http.Request, shown Presented) (hub.Client, error)
	// LiftWriteTimeout removes a configured write timeout from one response: such
	// timeouts are for responses that end. Here each write has a bound of its own.
	LiftWriteTimeout func(r *http.Request)

	held    sync.Once // the warning that a stream was held back
	badUser sync.Once // the warning that a user is refused
}

// Serve serves a request; rest is its path after the prefix. An error refuses the
// request: nothing has been written, and [Server.Refuse] says what to answer.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, rest string) error {
	header := w.Header()
	header.Add("Vary", "Accept, Authorization, Cookie, Origin, Prefer, Sec-WebSocket-Protocol")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "private, no-store, no-transform")
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
	client, err := s.client(header, r, &req, rooms, anyOrigin)
	if err != nil {
		return err
	}
	if header.Get("Location") != "" { // a link was opened
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	if len(rooms) == 0 {
		return s.withoutRoom(w, r, client, req)
	}
	if len(rooms) > 1 && req.mode != modeWebSocket { // a WebSocket has a cursor for each room
		if err := s.checkReturn(r, client, rooms); err != nil {
			return err
		}
	}
	if err := s.admitAll(client, rooms, &req); err != nil {
		return err
	}
	return s.inRooms(w, r, client, rooms, req, rest)
}

// inRooms serves a request to rooms, by its mode.
func (s *Server) inRooms(w http.ResponseWriter, r *http.Request, client hub.Client, rooms []string, req request, rest string) error {
	switch req.mode {
	case modeHead:
		return s.head(w, r, client, rooms)
	case modePage:
		if req.members {
			return s.members(w, client, rooms, req)
		}
		return s.page(w, r, client, rooms, req)
	case modeUI:
		return s.ui(w, r, client, rooms, rest)
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
