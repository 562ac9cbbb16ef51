// Package poll answers with pages of messages: at once (plain polling), or as soon as
// there is something after the cursor (long-polling).
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

// Options describes the page that is asked for. Hub, Client and Limit must be set, and
// there is at least one room, whose Query says where its messages begin. If the client
// asks for presence, the page lists the members of rooms in which they have changed
// since PresenceCursor, which is that of an earlier page.
//
// Without Wait, and for paging backwards (Before), Serve answers at once. With Wait it
// waits for a message, a gap or a change of members, until the time is over, the client
// has to move to another server, or the request is cancelled; then the page may be empty.
// While the hub drains, Serve answers with what there is, or refuses an empty page.
type Options struct {
	Hub            *hub.Hub
	Client         hub.Client
	Rooms          []Room
	Several        bool          // answer in the form for several rooms, even for one
	Limit          int           // messages of each room
	Wait           time.Duration // 0: answer at once
	Conditional    bool          // 304 instead of an empty page: the request had If-None-Match
	State          []byte        // JSON that the client shows as a member; nil: none
	PresenceCursor hub.Position
	Attached       *hub.Attached // of the server, for polls that wait; must be set

	caller *hub.Caller // of Client
}

// Room is the query for one room. The Limit of Query is ignored.
type Room struct {
	Name  string
	Query hub.Query
}

// Serve answers with a page, or with 304. An error refuses the request: nothing has
// been written, and protocol.ProblemOf turns it into the answer.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	if o.Client.ID == "" {
		o.Client.ID = o.Hub.NewConn(o.Client.User)
	}
	o.caller = o.Hub.Caller(o.Client)
	page := &protocol.Page{Conn: o.Client.ID, User: o.Client.User, Several: o.Several}
	for _, room := range o.Rooms {
		page.Rooms = append(page.Rooms, room.Name)
	}
	// The poll counts as a connection until the page is written: a client that asks
	// and does not read may not have more of them than others.
	leave, err := o.fill(r.Context(), page)
	if err != nil {
		return err
	}
	defer leave()
	for _, room := range o.Rooms {
		page.Rights = append(page.Rights, o.caller.Rights(room.Name))
	}
	if o.Client.Presence != hub.PresenceNothing {
		page.Presence, page.PresenceCursor = o.caller.PresenceSince(page.Rooms, o.PresenceCursor)
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

// fill fills the page with the messages that there are, or waits for some. leave must
// be called when the page is written.
func (o *Options) fill(ctx context.Context, page *protocol.Page) (leave func(), err error) {
	if o.Wait > 0 && o.Rooms[0].Query.Before.IsZero() {
		wake := make(hub.WakeChan, 1)
		o.Client.Bound = true
		session, err := o.Hub.Connect(o.Client, wake)
		if errors.Is(err, hub.ErrDraining) {
			return o.fillNow(ctx, page)
		}
		if err != nil {
			return nil, err
		}
		remove := o.Attached.Add(session)
		leave = func() {
			session.End(hub.CauseLeft)
			remove()
		}
		if err := o.wait(ctx, session, wake, page); err != nil {
			leave()
			return nil, err
		}
		return leave, nil
	}
	return o.fillNow(ctx, page)
}

// fillNow does so without waiting.
func (o *Options) fillNow(ctx context.Context, page *protocol.Page) (leave func(), err error) {
	if leave, err = o.caller.Occupy(); err != nil {
		return nil, err
	}
	if err = o.read(ctx, page); err == nil && o.Wait > 0 && o.Hub.Draining() && len(page.Messages)+len(page.Gaps) == 0 {
		err = hub.ErrDraining // or its client would ask again at once
	}
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// read fills the page with the messages that there are.
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
		o.keepPresence(o.Hub.Returning(room.Name, room.Query.After, read.Gap))
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

// keepPresence leaves a client what it knows of members if it comes back after a restart, and has no cursor for presence.
func (o *Options) keepPresence(returning bool) {
	if returning && o.PresenceCursor.IsZero() {
		o.PresenceCursor = hub.PresenceBefore
	}
}

// merge merges the messages of several logs by time, keeping the order of each log.
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

// text returns the cursor in the form for the client; "" if it has no position in any
// room.
func (o *Options) text(v protocol.CursorSet) string {
	if o.Several {
		return v.String()
	}
	return v[0].Position.String()
}

// renew keeps the client a member until its next poll, if it shows a state or asks for
// presence.
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

// wait fills the page with what the session hands out, and waits for it.
func (o *Options) wait(ctx context.Context, session *hub.Session, wake hub.WakeChan, page *protocol.Page) error {
	room, at := o.Limit, make(positions)
	for _, asked := range o.Rooms {
		q := asked.Query
		start := hub.Start{InvalidCursor: q.InvalidCursor, After: q.After, Last: q.Last, Age: q.Age, State: o.State}
		joined, err := session.Subscribe(ctx, asked.Name, start)
		if err != nil {
			return err
		}
		o.keepPresence(joined.Returning)
		if at[asked.Name] = joined.Cursor; joined.Gap != nil {
			// Now, or the messages of other rooms might leave no room for it.
			page.Gaps = append(page.Gaps, joined.Gap)
			at[asked.Name] = joined.Gap.To
			room++ // the session hands it out in addition to the messages
		}
		if o.Client.Presence != hub.PresenceNothing {
			room++
		}
	}
	after := func() string { return o.text(o.places(func(room string) hub.Position { return at[room] })) }
	page.Cursor = after()
	items, err := o.await(ctx, session, wake, page, make([]hub.Item, 0, room))
	if err != nil {
		return err
	}
	full := take(page, items, at)
	page.More = page.More || full
	if full || len(items) > 0 && session.Ended() != 0 {
		page.Cursor = after()
	}
	return nil
}

// await returns what the session hands out first, and nothing when the time is over or the client has
// to move. It sets the page's cursor to where the session stands.
func (o *Options) await(ctx context.Context, session *hub.Session, wake hub.WakeChan, page *protocol.Page, items []hub.Item) ([]hub.Item, error) {
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	for {
		items, page.More = session.Next(items)
		// A dismissed session hands out the rest and an end: only a full page says that there is more.
		page.More = page.More && (!session.Dismissed() || len(items) == cap(items))
		if err := o.refusal(session); err != nil {
			return nil, err
		}
		if ended := !o.cursor(session, page); ended || o.hasNews(items) {
			return items, nil
		}
		items = items[:0] // presence that the client has
		select {
		case <-wake:
		case <-timeout.C:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// refusal returns why the session may not wait any more, or nil.
func (o *Options) refusal(session *hub.Session) error {
	switch session.Ended() {
	case hub.CauseAgain, hub.CauseInternal, hub.CauseSlow, hub.CauseNoRoom, hub.CauseCredential, hub.CauseUser:
		return session.Refusal()
	default:
	}
	if session.Revocations() == 0 && session.Ended() != hub.CauseForbidden {
		return nil
	}
	for _, asked := range o.Rooms {
		if err := o.caller.May(hub.VerbSubscribe, asked.Name); err != nil {
			return err
		}
	}
	if session.Ended() == hub.CauseForbidden {
		return hub.ErrForbidden // and given back meanwhile
	}
	return nil
}

// cursor sets the page's cursor to where the session stands. It returns false, and leaves the cursor,
// if the session has ended.
func (o *Options) cursor(session *hub.Session, page *protocol.Page) bool {
	v := o.places(session.Cursor)
	if slices.ContainsFunc(v, func(p protocol.RoomCursor) bool { return p.IsZero() }) {
		return false
	}
	page.Cursor = o.text(v)
	return true
}

// places returns where a reader stands in the rooms.
func (o *Options) places(at func(room string) hub.Position) protocol.CursorSet {
	v := make(protocol.CursorSet, len(o.Rooms))
	for i, room := range o.Rooms {
		v[i] = protocol.RoomCursor{Room: room.Name, Position: at(room.Name)}
	}
	return v
}

// hasNews reports whether the items end the wait.
func (o *Options) hasNews(items []hub.Item) bool {
	for _, it := range items {
		if p := it.Presence; p == nil || p.Cursor.Epoch != o.PresenceCursor.Epoch || p.Cursor.Offset > o.PresenceCursor.Offset {
			return true
		}
	}
	return false
}
