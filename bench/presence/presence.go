// Package presence measures what a room costs whose members all come back at
// once, as after a restart of the server: how many presence frames they are
// sent, and how long it takes until everybody knows how many there are.
package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Options says what to run. All must be set.
type Options struct {
	URL     string // of the hub, without a query
	Members int
	Restart func() error  // ends the server, and starts it anew at the same URL
	Quiet   time.Duration // how long nothing may come until it counts as settled
}

// Result says what a crowd of members received, and when.
type Result struct {
	Joined  time.Duration // until the last one had joined
	Settled time.Duration // until the last one had the right number
	Frames  int64         // of presence, to all of them
	Bytes   int64         // of these frames, without their headers
	Most    int64         // frames to one of them
}

// Run lets the members join, restarts the server, and lets all of them come
// back at once.
func Run(ctx context.Context, o Options) (first, again Result, err error) {
	if first, err = o.crowd(ctx); err != nil {
		return first, again, fmt.Errorf("joining: %w", err)
	}
	if err := o.Restart(); err != nil {
		return first, again, err
	}
	again, err = o.crowd(ctx)
	return first, again, err
}

// crowd lets all join at once, waits until nothing comes any more, and then ends
// them.
func (o *Options) crowd(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begin := time.Now()
	all := make([]member, o.Members)
	var waiting atomic.Int64
	waiting.Store(int64(o.Members))
	settled := make(chan struct{})
	var readers sync.WaitGroup
	for i := range all {
		m := &all[i]
		readers.Go(func() {
			err := m.live(ctx, o, i, begin, func() {
				if waiting.Add(-1) == 0 {
					close(settled)
				}
			})
			if err != nil {
				cancel(fmt.Errorf("member %d: %w", i, err))
			}
		})
	}
	select {
	case <-settled:
		<-time.After(o.Quiet) // what else comes is counted
	case <-ctx.Done():
	}
	err := context.Cause(ctx)
	cancel(nil)
	readers.Wait()
	var r Result
	for i := range all {
		m := &all[i]
		r.Joined, r.Settled = max(r.Joined, m.joined), max(r.Settled, m.told)
		r.Frames, r.Bytes, r.Most = r.Frames+m.frames, r.Bytes+m.bytes, max(r.Most, m.frames)
	}
	return r, err
}

// member is one client.
type member struct {
	joined, told  time.Duration // since all began; told: when it last received the right number
	frames, bytes int64
}

// live joins and reads until ctx is done. It calls once when it first receives the
// right number.
func (m *member) live(ctx context.Context, o *Options, number int, begin time.Time, once func()) error {
	c, _, err := websocket.Dial(ctx, o.URL, &websocket.DialOptions{Subprotocols: []string{"realtime.v1"}})
	if err != nil {
		return ignore(ctx, err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(-1)
	join := fmt.Sprintf(`{"op":"join","room":"crowd","ref":1,"state":{"name":"member %d"}}`, number)
	if err := c.Write(ctx, websocket.MessageText, []byte(join)); err != nil {
		return ignore(ctx, err)
	}
	for called := false; ; {
		_, b, err := c.Read(ctx)
		if err != nil {
			return ignore(ctx, err)
		}
		var frame struct {
			Op      string
			Title   string
			Members int
		}
		if err := json.Unmarshal(b, &frame); err != nil {
			return err
		}
		switch frame.Op {
		case "ok":
			m.joined = time.Since(begin)
		case "error":
			return errors.New(frame.Title)
		case "presence":
			m.frames++
			m.bytes += int64(len(b))
			if frame.Members == o.Members && !called {
				m.told = time.Since(begin)
				called = true
				once()
			}
		}
	}
}

// ignore returns nil if the end was ours.
func ignore(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
