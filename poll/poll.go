// Package poll answers with pages: at once (plain polling), or as soon as there
// is something after the cursor (long-polling).
package poll

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// Options says what is asked for.
type Options struct {
	Hub         *hub.Hub
	Client      hub.Client
	Room        string
	Query       hub.Query     // its Limit bounds the page
	Wait        time.Duration // for a message, if there is none; 0: not at all
	Conditional bool          // 304 instead of an empty page: If-None-Match came along
	Down        <-chan struct{}
}

// Serve answers with a page, or with 304. An error is a refusal that
// protocol.ProblemOf explains, and nothing has been written.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	if o.Client.ID == "" {
		o.Client.ID = hub.NewID()
	}
	page, err := o.page(r.Context())
	if err != nil {
		return err
	}
	if !page.Cursor.IsZero() {
		w.Header().Set("ETag", `"`+page.Cursor.String()+`"`)
	}
	if o.Conditional && len(page.Messages) == 0 && page.Gap == nil {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(page.Append(nil), '\n')) // whoever has gone does not need it
	return nil
}

// page reads what there is, or waits for it.
func (o *Options) page(ctx context.Context) (*protocol.Page, error) {
	page := &protocol.Page{Room: o.Room, Conn: o.Client.ID}
	if o.Wait > 0 && o.Query.Before.IsZero() {
		return page, o.wait(ctx, page)
	}
	read, err := o.Hub.Read(ctx, o.Room, o.Query)
	if err != nil {
		return nil, err
	}
	page.Messages, page.Gap, page.More = read.Messages, read.Gap, read.More
	if o.Query.Before.IsZero() {
		page.Cursor = read.Cursor // paging backwards leaves it alone
	}
	return page, nil
}

// wait fills the page from a session, for as long as it takes.
func (o *Options) wait(ctx context.Context, page *protocol.Page) error {
	bell := make(hub.Bell, 1)
	session, err := o.Hub.Connect(o.Client, bell)
	if err != nil {
		return err
	}
	defer session.End(hub.CauseLeft)
	start := hub.Start{Foreign: o.Query.Foreign, After: o.Query.After, Last: o.Query.Last, Age: o.Query.Age}
	joined, err := session.Join(ctx, o.Room, start)
	if err != nil {
		return err
	}
	timeout := time.NewTimer(o.Wait)
	defer timeout.Stop()
	room := o.Query.Limit
	if joined.Gap != nil {
		room++ // beside the messages
	}
	items := make([]hub.Item, 0, room)
	for {
		items, page.More = session.Next(items)
		page.Cursor = session.Cursor(o.Room)
		if page.Cursor.IsZero() {
			return hub.ErrDraining // the session has ended, and without a cursor no page can be told
		}
		if len(items) > 0 {
			break
		}
		select {
		case <-bell:
			continue
		case <-timeout.C:
		case <-ctx.Done():
		case <-o.Down:
		}
		break
	}
	for _, it := range items {
		if it.Gap != nil {
			page.Gap = it.Gap
		}
		if it.Message != nil {
			page.Messages = append(page.Messages, it.Message)
		}
	}
	return nil
}
