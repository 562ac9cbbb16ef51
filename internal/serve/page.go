package serve

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/ui"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
)

func (s *Server) page(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, req request) error {
	o := poll.Options{
		Hub: s.Hub, Client: c, Several: len(rooms) > 1, Limit: req.limit, Wait: req.wait,
		Conditional: req.conditional, State: req.state, PresenceCursor: req.presenceCursor, Attached: s.Attached,
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

// ui answers with the page that shows a room to people. rest is the path after the
// prefix, which is empty if the query names the room.
func (s *Server) ui(w http.ResponseWriter, r *http.Request, c hub.Client, rooms []string, rest string) error {
	if len(rooms) > 1 {
		return protocol.Bad("a page can show only one room")
	}
	if err := s.Hub.Caller(c).May(hub.VerbSubscribe, rooms[0]); err != nil {
		return err
	}
	return ui.Serve(w, r, ui.Options{Room: rooms[0], RoomInQuery: rest == "", Prefix: s.Prefix})
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
	s.tellRights(w, c, rooms)
	switch len(rooms) {
	case 0:
		if c.ID == "" {
			c.ID = s.Hub.NewConn(c.User)
		}
		w.Header().Set("Realtime-Conn", c.ID)
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

// tellRights sets the header Realtime-Can, if there is one room in which the client may not do
// everything.
func (s *Server) tellRights(w http.ResponseWriter, c hub.Client, rooms []string) {
	if len(rooms) != 1 {
		return
	}
	if rights := s.Hub.Caller(c).Rights(rooms[0]); rights.Can.Has(hub.VerbSubscribe) && rights.Can != hub.AllVerbs {
		w.Header().Set("Realtime-Can", strings.Join(protocol.Can(rights), ", "))
	}
}
