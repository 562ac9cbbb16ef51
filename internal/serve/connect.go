package serve

import (
	"context"
	"net"
	"net/http"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/internal/ui"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
	"github.com/caddy-realtime/realtime/ws"
)

// connKey is the key of a request's connection in its context.
type connKey struct{}

// WithConn adds a connection to the context of its requests, as
// [http.Server.ConnContext] does. Without it the system gives up a client that has
// silently gone only after its own, longer time.
func WithConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc)
}

// abandon has the system give up the connection of a client that has silently gone,
// whether the connection leaves net/http or not.
func (s *Server) abandon(r *http.Request) {
	if nc, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		outbound.Abandon(nc, s.Heartbeat)
	}
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

func (s *Server) stream(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	if req.members {
		for _, room := range rooms {
			if err := s.Hub.Caller(c).May(hub.VerbMembers, room); err != nil {
				return err
			}
		}
	}
	s.LiftWriteTimeout(r)
	s.abandon(r)
	s.tellRights(w, c, rooms)
	presence := sse.PresenceOptions{Presence: req.presence, Only: req.members}
	var format sse.Format = sse.Events{Envelope: req.envelope || len(rooms) > 1, PresenceOptions: presence}
	if req.mode == modeLines {
		format = sse.Lines{PresenceOptions: presence}
	}
	if req.mode == modeLog {
		format = sse.HTML{}
		ui.Frame(w.Header())
	}
	c.Alone = len(rooms) > 1 // each event's id is the cursor of all rooms
	return sse.Serve(w, r, sse.Options{
		Hub: s.Hub, Group: s.Group, Poller: s.Poller, Client: c, Rooms: req.joinRequests(rooms),
		Answered: req.answers && !req.members,
		Format:   format, Heartbeat: s.Heartbeat, Attached: s.Attached, Held: s.heldBack,
	})
}

// heldBack logs, once for each configuration, that a handler holds streams back.
func (s *Server) heldBack() {
	s.held.Do(func() {
		s.Log.Warn("a handler around realtime holds responses back, so every stream ends at once and clients come back as if they polled; move realtime out of templates, intercept, log_append with the response body and similar handlers")
	})
}
