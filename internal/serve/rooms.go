package serve

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/protocol"
)

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
		if err := names.CheckRoom(name); err != nil {
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
