package sse

import (
	"context"
	"log/slog"
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

// Options says how to serve one stream.
type Options struct {
	Hub       *hub.Hub
	Group     *outbound.Group // of streams that leave net/http
	Poller    *netpoll.Poller // where these wait for their client to go
	Log       *slog.Logger
	Client    hub.Client
	Rooms     []protocol.JoinRequest // at least one; several need envelopes
	Answered  bool                   // say of each room how it was joined
	Format    Format
	Heartbeat time.Duration   // between signs of life; 0: none
	Down      <-chan struct{} // closed when the server shuts down
	Held      func()          // called if a handler around us holds the stream back; may be nil
}

// Serve joins the rooms and streams until the client goes or the session ends.
// Over HTTP/1.1 the connection leaves net/http and Serve returns, unless a wrapper
// of w changes what is written. Otherwise it returns in the end, which is also when
// the server shuts down. An error is a refusal that protocol.ProblemOf explains, and
// nothing has been written; later nothing is returned.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	wake := make(hub.WakeChan, 1)
	waker, out := hub.Waker(wake), (*outbound.Conn)(nil)
	hijacker, leaves := mayLeave(w, r)
	if leaves {
		shardKey := o.Rooms[0].Room
		out = outbound.New(o.Group, shardKey, o.Hub.SubscriberCount(shardKey))
		waker = out
	}
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
	defer session.End(hub.CauseInternal) // if nothing better was found
	if out != nil {
		out.Relay(wake)
	}
	s.run()
	s.logEnd()
	return nil
}

// begin writes the head and the opening through the whole chain, so that
// everybody's headers are written and logs know of the status. It reports whether
// the connection has left net/http, or has ended.
func (s *stream) begin(opening *Opening, hijacker http.Hijacker, out *outbound.Conn) (gone bool) {
	first := s.Format.Begin(nil, opening)
	through, spy := protocol.Plant(s.w, first)
	if out != nil {
		s.w.Header().Set("Connection", "close") // it is the stream's own
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
		// Not all that wrap the writer need have flushed it.
		if http.NewResponseController(spy.ResponseWriter).Flush() == nil {
			if nc, _, err := hijacker.Hijack(); err == nil {
				detach(nc, s.session, out, &s.Options)
				return true
			}
		}
	}
	s.once = spy.Status() == 0
	return false
}

// open joins the rooms, and returns what the client is told first. The format of
// several rooms is the stream's own from here on.
func (o *Options) open(ctx context.Context, session *hub.Session) (*Opening, error) {
	opening := new(Opening)
	opening.Conn, opening.User, opening.Heartbeat = session.ID(), o.Client.User, o.Heartbeat
	opening.MaxMessage = o.Hub.LargestMessage()
	several, whole := len(o.Rooms) > 1, true
	cursors := make(protocol.CursorSet, len(o.Rooms))
	for i, room := range o.Rooms {
		start := room.Start
		if o.Answered || several {
			answer := room.Answered().Answer
			start.Answer = func(j hub.Joined) []byte {
				opening.Answers = append(opening.Answers, answer(j))
				return nil // Begin tells it
			}
		}
		joined, err := session.Subscribe(ctx, room.Room, start)
		if err != nil {
			return nil, err
		}
		cursors[i] = protocol.RoomCursor{Room: room.Room, Position: joined.Cursor}
		// A client whose cursor was not honoured keeps it until it has been told
		// of the gap.
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
	}
	if opening.ID = opening.Cursor; !whole {
		opening.ID = ""
	}
	return opening, nil
}

// Head writes the headers of a stream.
func Head(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Accel-Buffering", "no") // nginx and its kin: don't gather
	w.WriteHeader(http.StatusOK)
}

// stream is one client that streams.
type stream struct {
	Options
	r       *http.Request
	session *hub.Session
	wake    hub.WakeChan
	w       http.ResponseWriter
	rc      *http.ResponseController
	items   []hub.Item // room for what the session tells
	left    []hub.Item // of items, what is not encoded yet
	bytes   []byte
	once    bool // tell what is due now, and end: the client has it only then
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
			s.tellOnce()
			return
		}
		select {
		case <-s.wake:
			if s.ending() { // also a stream that is always behind sees its end
				s.session.End(hub.CauseDraining)
				s.end()
				return
			}
			s.gather()
		case <-idle.C:
			s.bytes = s.Format.Heartbeat(s.bytes)
		case <-s.Down:
			s.session.End(hub.CauseDraining)
			s.end()
			return
		case <-s.r.Context().Done():
			s.session.End(s.departed())
			return
		}
	}
}

// tellOnce ends a stream that a handler around us holds back until we return: the
// client comes back as a poll does, and nothing gathers without a bound.
func (s *stream) tellOnce() {
	if s.Held != nil {
		s.Held()
	}
	s.gather()
	s.session.End(hub.CauseDraining)
	s.end()
}

// gather appends what the session has to tell, until there are batchBytes. If
// that is not all it wakes itself again: a stream that is always behind must see
// its end too.
func (s *stream) gather() {
	more := true
	for len(s.bytes) < batchBytes {
		if len(s.left) == 0 && more {
			s.left, more = s.session.Next(s.items[:0])
		}
		if len(s.left) == 0 {
			break
		}
		s.bytes = s.Format.Append(s.bytes, s.left[0])
		s.left[0] = hub.Item{}
		s.left = s.left[1:]
	}
	if more || len(s.left) > 0 {
		s.wake.Wake()
	}
}

// flush writes what was gathered, however long it takes as long as the client
// takes each piece in time and the end has not come: then all that is left has the
// time of one piece.
func (s *stream) flush() error {
	var last time.Time
	for b := s.bytes; ; {
		until := time.Now().Add(protocol.PieceTime)
		if s.ending() {
			if last.IsZero() {
				last = until
			}
			until = last
		}
		n := min(len(b), protocol.PieceSize)
		if err := protocol.WritePiece(s.w, s.rc, b[:n], until); err != nil {
			return err
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

// ending reports whether the session has ended, or must.
func (s *stream) ending() bool {
	select {
	case <-s.Down:
		return true
	default:
		return s.session.Ended() != 0
	}
}

// end writes what comes before a planned end.
func (s *stream) end() {
	s.bytes = s.Format.End(s.bytes)
	_ = s.flush() // whoever has gone does not need it
}

func (s *stream) logEnd() {
	sent, _ := s.session.Counts()
	s.Log.Debug("connection ended", "transport", s.Format.ContentType(), "cause", s.session.Ended().String(),
		"duration", time.Since(s.session.Since()), "sent", sent)
}
