// Package poll answers with pages: at once (plain polling), or as soon as there
// is something after the cursor (long-polling).
package poll

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// Options says what is asked for.
type Options struct {
	Hub         *hub.Hub
	Client      hub.Client
	Rooms       []Room
	Several     bool          // answer for a list of rooms, even if it has one
	Limit       int           // messages of a page, of each room
	Wait        time.Duration // for a message, if there is none; 0: not at all
	Conditional bool          // 304 instead of an empty page: If-None-Match came along
	State       []byte        // JSON that the client shows as a member; nil: none
	// Presence is asked for by the client's level; it has been told up to Told.
	Told hub.Position
	Down <-chan struct{}

	caller *hub.Caller // of Client
}

// Room is what is asked of one room. Its query's Limit is not looked at.
type Room struct {
	Name  string
	Query hub.Query
}

// Serve answers with a page, or with 304. An error is a refusal that
// protocol.ProblemOf explains, and nothing has been written.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	if o.Client.ID == "" {
		o.Client.ID = o.Hub.NewConn(o.Client.User)
	}
	o.caller = o.Hub.Caller(o.Client)
	page := &protocol.Page{Conn: o.Client.ID, User: o.Client.User, Several: o.Several}
	for _, room := range o.Rooms {
		page.Rooms = append(page.Rooms, room.Name)
	}
	// It counts among the connections until it is written: whoever asks and does not
	// read has no more of them than others.
	leave, err := o.fill(r.Context(), page)
	if err != nil {
		return err
	}
	defer leave()
	if o.Client.Presence != hub.PresenceNothing {
		page.Presence, page.PresenceCursor = o.caller.PresenceSince(page.Rooms, o.Told)
	}
	if page.Cursor != "" {
		w.Header().Set("ETag", `"`+page.Cursor+`"`)
	}
	if o.Conditional && len(page.Messages) == 0 && len(page.Gaps) == 0 && len(page.Presence) == 0 {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	Write(w, page.Parts)
	return nil
}

// fill reads what there is, or waits for it. leave is to be called when the page
// is written.
func (o *Options) fill(ctx context.Context, page *protocol.Page) (leave func(), err error) {
	if o.Wait > 0 && o.Rooms[0].Query.Before.IsZero() {
		wake := make(hub.WakeChan, 1)
		session, err := o.Hub.Connect(o.Client, wake)
		if err != nil {
			return nil, err
		}
		leave = func() { session.End(hub.CauseLeft) }
		if err := o.wait(ctx, session, wake, page); err != nil {
			leave()
			return nil, err
		}
		return leave, nil
	}
	if leave, err = o.caller.Occupy(); err != nil {
		return nil, err
	}
	if err := o.read(ctx, page); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// read fills the page with what there is.
func (o *Options) read(ctx context.Context, page *protocol.Page) error {
	if err := o.renew(ctx); err != nil {
		return err
	}
	cursor, reads := make(protocol.CursorSet, len(o.Rooms)), make([]hub.Page, len(o.Rooms))
	for i, room := range o.Rooms {
		room.Query.Limit = o.Limit
		if room.Query.Last > 0 {
			room.Query.Limit = min(room.Query.Last, protocol.MaxPage)
		}
		read, err := o.caller.Read(ctx, room.Name, room.Query)
		if err != nil {
			return err
		}
		reads[i] = read
	}
	page.More = cut(o.Rooms, reads)
	logs := make([][]*hub.Message, len(reads))
	for i, read := range reads {
		logs[i] = read.Messages
		page.More = page.More || read.More
		if read.Gap != nil {
			page.Gaps = append(page.Gaps, read.Gap)
		}
		cursor[i] = protocol.RoomCursor{Room: o.Rooms[i].Name, Position: read.Cursor}
	}
	if o.Rooms[0].Query.Before.IsZero() { // paging backwards leaves it alone
		page.Cursor = o.text(cursor)
	}
	page.Messages = merge(logs)
	return nil
}

// merge puts the messages of several logs in the order of time, as far as that
// leaves each log's own order as it is.
func merge(logs [][]*hub.Message) (merged []*hub.Message) {
	if len(logs) == 1 {
		return logs[0]
	}
	for {
		first := oldest(len(logs), func(i int) *hub.Message {
			if len(logs[i]) == 0 {
				return nil
			}
			return logs[i][0]
		})
		if first < 0 {
			return merged
		}
		merged = append(merged, logs[first][0])
		logs[first] = logs[first][1:]
	}
}

// text returns the cursor as the client gets it, or "" where it has no place in
// any room.
func (o *Options) text(v protocol.CursorSet) string {
	if o.Several {
		return v.String()
	}
	return v[0].Position.String()
}

// renew keeps whoever shows himself a member until his next poll.
func (o *Options) renew(ctx context.Context) error {
	if o.State == nil && o.Client.Presence == hub.PresenceNothing {
		return nil
	}
	for _, room := range o.Rooms {
		err := o.caller.Renew(ctx, room.Name, o.State)
		if err != nil && !errors.Is(err, hub.ErrPresence) {
			return err
		}
	}
	return nil
}

// wait fills the page from a session, for as long as it takes.
func (o *Options) wait(ctx context.Context, session *hub.Session, wake hub.WakeChan, page *protocol.Page) error {
	room, at := o.Limit, make(positions)
	for _, asked := range o.Rooms {
		q := asked.Query
		start := hub.Start{InvalidCursor: q.InvalidCursor, After: q.After, Last: q.Last, Age: q.Age, State: o.State}
		joined, err := session.Subscribe(ctx, asked.Name, start)
		if err != nil {
			return err
		}
		if at[asked.Name] = joined.Cursor; joined.Gap != nil {
			// Now, or another room's messages might leave no place for it.
			page.Gaps = append(page.Gaps, joined.Gap)
			at[asked.Name] = joined.Gap.To
			room++ // the session tells it beside the messages
		}
		if o.Client.Presence != hub.PresenceNothing {
			room++
		}
	}
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	items := make([]hub.Item, 0, room)
	for {
		items, page.More = session.Next(items)
		if !o.cursor(session, page) {
			return hub.ErrDraining // the session has ended, and without a cursor no page can be told
		}
		if o.told(items) {
			break
		}
		items = items[:0] // presence that has been told before
		select {
		case <-wake:
			continue
		case <-timeout.C:
		case <-ctx.Done():
		case <-o.Down:
		}
		break
	}
	if take(page, items, at) {
		page.More = true
		page.Cursor = o.text(o.places(func(room string) hub.Position { return at[room] }))
	}
	return nil
}

// cursor notes where the session stands. It fails if the session has ended.
func (o *Options) cursor(session *hub.Session, page *protocol.Page) bool {
	v := o.places(session.Cursor)
	page.Cursor = o.text(v)
	return !slices.ContainsFunc(v, func(p protocol.RoomCursor) bool { return p.IsZero() })
}

// places returns where a reader stands in the rooms.
func (o *Options) places(at func(room string) hub.Position) protocol.CursorSet {
	v := make(protocol.CursorSet, len(o.Rooms))
	for i, room := range o.Rooms {
		v[i] = protocol.RoomCursor{Room: room.Name, Position: at(room.Name)}
	}
	return v
}

// told reports whether the items end the wait.
func (o *Options) told(items []hub.Item) bool {
	for _, it := range items {
		if p := it.Presence; p == nil || p.Cursor().Epoch != o.Told.Epoch || p.Cursor().Offset > o.Told.Offset {
			return true
		}
	}
	return false
}
