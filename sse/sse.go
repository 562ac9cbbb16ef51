package sse

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
)

const (
	batchItems = 64       // items asked of a session at once
	batchBytes = 64 << 10 // bytes gathered for one write
)

// Options describes one stream. Hub, Group, Poller, Attached, Client and Format must be
// set, and there is at least one room. With several rooms the format must be one
// with envelopes, and the client's Alone must be set, since each event's id depends on
// what this stream has sent before. Over HTTP/1.1 the connection may leave net/http:
// then Group writes to it and it waits in Poller for the client to go.
type Options struct {
	Hub       *hub.Hub
	Group     *outbound.Group
	Poller    *netpoll.Poller
	Client    hub.Client
	Rooms     []protocol.JoinRequest
	Answered  bool // begin with an answer to each join
	Format    Format
	Heartbeat time.Duration // between signs of life; 0: none
	Attached  *hub.Attached // of the server, for streams that stay with it
	Held      func()        // called if a handler around us holds the stream back; may be nil
}

// Serve joins the rooms and streams until the client goes or the session ends. It
// writes the head and the opening through the whole chain of writers. Over HTTP/1.1,
// if they came through unchanged, the connection then leaves net/http and Serve
// returns at once; the stream lives on. Otherwise Serve returns when the stream has
// ended, also because the client has to move to another server.
//
// An error refuses the request: nothing has been written, and protocol.ProblemOf
// turns it into the answer. Once the head is written Serve returns nil.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	wake := make(hub.WakeChan, 1)
	waker, out := hub.Waker(wake), (*outbound.Conn)(nil)
	hijacker, leaves := mayLeave(w, r)
	if leaves {
		shardKey := o.Rooms[0].Room
		out = outbound.New(o.Group, shardKey, o.Hub.SubscriberCount(shardKey))
		waker = out
	}
	o.Client.Tell, o.Client.Bound = protocol.Change, len(o.Rooms) == 1
	session, err := o.Hub.Connect(o.Client, waker)
	if err != nil {
		return err
	}
	s := &stream{
		Options: o, r: r, session: session, wake: wake, w: w, rc: http.NewResponseController(w),
		items: make([]hub.Item, 0, batchItems),
	}
	opening, err := s.open(r.Context(), session)
	if err != nil {
		session.End(hub.CauseGone)
		return err
	}
	if s.begin(opening, hijacker, out) {
		return nil
	}
	defer o.Attached.Add(session)()
	defer session.End(hub.CauseInternal) // if nothing better was found
	if out != nil {
		out.Relay(wake)
	}
	s.run()
	s.logEnd()
	return nil
}

// begin writes the head and the opening through the whole chain of writers, so that
// every handler's headers are sent and logs have the status. gone reports whether the
// connection has left net/http, or has ended.
func (s *stream) begin(opening *Opening, hijacker http.Hijacker, out *outbound.Conn) (gone bool) {
	first := s.Format.Begin(nil, opening)
	through, spy := protocol.Plant(s.w, first)
	if out != nil {
		s.w.Header().Set("Connection", "close") // it serves the stream alone
	}
	s.w, s.rc = through, http.NewResponseController(through)
	Head(s.w, s.Format.ContentType())
	s.bytes = append(s.bytes, first...)
	if err := s.flush(); err != nil {
		s.session.End(s.causeOf(err))
		s.logEnd()
		return true
	}
	if spy == nil {
		return false
	}
	spy.Leave()
	if out != nil && spy.Unchanged() {
		// A wrapper may not have passed the flush on.
		if http.NewResponseController(spy.ResponseWriter).Flush() == nil {
			if nc, _, err := hijacker.Hijack(); err == nil {
				s.leave(nc, out)
				return true
			}
		}
	}
	s.once = spy.Status() == 0
	return false
}

// open joins the rooms, and returns the stream's opening. With several rooms it
// replaces the format with a format for this stream alone.
func (o *Options) open(ctx context.Context, session *hub.Session) (*Opening, error) {
	opening := new(Opening)
	opening.Conn, opening.User, opening.Expires, opening.Heartbeat = session.ID(), o.Client.User, o.Client.Expires(), o.Heartbeat
	opening.MaxMessage = o.Hub.Settings().LargestMessage()
	several, whole := len(o.Rooms) > 1, true
	cursors := make(protocol.CursorSet, len(o.Rooms))
	var only hub.Joined // if there is one room
	for i, room := range o.Rooms {
		start := room.Start
		if o.Answered || several {
			answer := room.Answered().Answer
			start.Answer = func(j hub.Joined) []byte {
				opening.Answers = append(opening.Answers, answer(j))
				return nil // Begin sends it
			}
		}
		joined, err := session.Subscribe(ctx, room.Room, start)
		if err != nil {
			return nil, err
		}
		only = joined
		cursors[i] = protocol.RoomCursor{Room: room.Room, Position: joined.Cursor}
		// A client whose cursor was not honoured keeps that cursor until the gap has
		// been sent.
		whole = whole && (joined.Gap == nil || several && !joined.Cursor.IsZero())
	}
	if several {
		opening.Cursor = cursors.String()
		if e, ok := o.Format.(Events); ok {
			o.Format = &multiRoom{e, cursors}
		}
	} else {
		opening.Cursor = cursors[0].Position.String()
		opening.MaxMessage = o.Hub.MaxMessageSize(o.Rooms[0].Room)
		opening.Rights = &only.Rights
	}
	if opening.ID = opening.Cursor; !whole {
		opening.ID = ""
	}
	return opening, nil
}

// Head writes the headers of a stream.
func Head(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx and others: do not buffer
	w.WriteHeader(http.StatusOK)
}

// stream is a stream that stays in its handler, whose goroutine owns it. Its loop is
// not outbound's, because a response is not a socket: every write passes through the
// handlers around us and may block, none may follow Serve's return, and only here can
// we find out why one has failed.
type stream struct {
	Options
	r       *http.Request
	session *hub.Session
	wake    hub.WakeChan
	w       http.ResponseWriter
	rc      *http.ResponseController
	items   []hub.Item // room for the session's items
	pending []hub.Item // the part of items that is not encoded yet
	bytes   []byte     // gathered for the next write
	revoked uint32     // the session's revocations when bytes were gathered
	once    bool       // write what is due and end: a handler holds the stream back until then
}

// run writes until there is a reason to end, which becomes the session's cause.
func (s *stream) run() {
	heartbeat := s.Heartbeat
	if heartbeat <= 0 {
		heartbeat = math.MaxInt64
	}
	idle := time.NewTimer(heartbeat)
	defer idle.Stop()
	for {
		if len(s.bytes) > 0 {
			if err := s.flush(); err != nil {
				s.session.End(s.causeOf(err))
				return
			}
			idle.Reset(heartbeat)
		}
		if s.once {
			s.once = false
			s.sendOnce()
			return
		}
		select {
		case <-s.wake:
			if s.session.Ended() == 0 {
				s.gather()
			} else {
				s.end()
				return
			}
		case <-idle.C:
			s.bytes = s.Format.Heartbeat(s.bytes)
		case <-s.r.Context().Done():
			s.session.End(s.departed())
			return
		}
	}
}

// sendOnce writes what is due and ends a stream that a handler around us holds back
// until we return. The client comes back as if it polled, and that handler does not
// buffer without a bound.
func (s *stream) sendOnce() {
	if s.Held != nil {
		s.Held()
	}
	s.gather()
	s.session.End(hub.CauseDraining)
	s.end()
}

// gather appends the session's items, until there are batchBytes. If there are more it
// wakes the stream again, instead of looping: run must notice the end in between.
func (s *stream) gather() {
	more := true
	if s.revoked = s.session.Revocations(); len(s.pending) > 0 && s.revoked > 0 {
		s.pending = s.session.Still(s.pending)
	}
	for len(s.bytes) < batchBytes {
		if len(s.pending) == 0 && more {
			s.pending, more = s.session.Next(s.items[:0])
		}
		if len(s.pending) == 0 {
			break
		}
		s.bytes = s.Format.Append(s.bytes, s.pending[0])
		s.pending[0] = hub.Item{}
		s.pending = s.pending[1:]
	}
	if more || len(s.pending) > 0 {
		s.wake.Wake()
	}
}

// flush writes what was gathered, in pieces, each of which the client has to accept
// within protocol.PieceTime. Once the stream must end, that is the time for all that
// is left.
func (s *stream) flush() error {
	var last time.Time
	for b := s.bytes; ; {
		until := time.Now().Add(protocol.PieceTime)
		if s.session.Ended() != 0 {
			if last.IsZero() {
				last = until
			}
			until = last
		}
		n := min(len(b), protocol.PieceSize)
		if err := protocol.WritePiece(s.w, s.rc, b[:n], until); err != nil {
			return err
		}
		if n < len(b) && s.session.Revocations() != s.revoked {
			return hub.ErrForbidden // the rest may be of a room that it may not be in any more
		}
		if b = b[n:]; len(b) == 0 {
			break
		}
	}
	_ = s.rc.SetWriteDeadline(time.Time{})
	if cap(s.bytes) > batchBytes {
		s.bytes = nil
	}
	s.bytes = s.bytes[:0]
	return nil
}

// end writes the bytes before a planned end.
func (s *stream) end() {
	s.pending, _ = s.session.Next(s.items[:0]) // only notices, since it has ended
	for _, it := range s.pending {
		s.bytes = s.Format.Append(s.bytes, it)
	}
	s.bytes = s.Format.End(s.bytes, s.session.Ended())
	_ = s.flush() // the client may have gone
}

func (s *stream) logEnd() {
	sent, _ := s.session.Counts()
	s.session.Logger().Debug("connection ended", "transport", s.Format.ContentType(), "cause", s.session.Ended().String(),
		"duration", time.Since(s.session.Since()), "sent", sent)
}
