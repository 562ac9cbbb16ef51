package hub

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The part of the hub that reads the engine's log for subscriptions that are behind the delivery window.
//
// An engine may be slow, or away. So nobody waits for it with a lock held, nor on a goroutine that others
// need: catching up is a state of a subscription. [Session.Next] asks for a page, and has nothing of the
// room until it is there; then the session is woken. A read that fails is repeated for the whole room,
// and logged once. An engine that keeps its logs in this process never waits, and is read at once.

const (
	// maxReads is how many reads of the engine there are at once, for one hub, and maxRoomReads for one
	// room: a room that reads slowly leaves some to the others.
	maxReads     = 8
	maxRoomReads = 2
	// readTime is how long a read may take before it counts as failed.
	readTime = 30 * time.Second
	// A read that has failed is repeated after firstPause, then after twice the last pause, up to lastPause.
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	// maxPages bounds the bytes of pages that wait for their sessions: above it no more are read.
	maxPages = 64 << 20
	// pageOverhead is what a message of a page weighs beside its data.
	pageOverhead = 400
)

// catchUp is a page that a subscription has asked for.
type catchUp struct {
	of      *Subscription
	after   Position
	limit   int
	dropped atomic.Bool // nobody wants it any more

	page *sharedPage // nil: it is not there yet; guarded by the session's mu
}

// sharedPage is a page that several subscriptions have asked for.
type sharedPage struct {
	Page
	bytes int64
	users atomic.Int64
}

// reads reads pages. Its goroutines end when nothing waits, and close joins them.
type reads struct {
	hub     *Hub
	ctx     context.Context //nolint:containedctx // that of all reads, which ends with the hub
	workers sync.WaitGroup
	bytes   atomic.Int64 // of pages that wait for their sessions

	mu      sync.Mutex
	queue   []*room // in which something waits, and may be read
	running int
	closed  bool
}

// roomReads is what waits in one room. It is guarded by reads.mu.
type roomReads struct {
	waiting []*catchUp
	running int
	queued  bool
	resting bool          // until a pause is over
	pause   time.Duration // the last one; 0: the last read has not failed
}

// ask has a page read. It does not block.
func (q *reads) ask(c *catchUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := c.of.room
	r.reads.waiting = append(r.reads.waiting, c)
	q.enqueue(r)
}

// enqueue sees to it that a worker looks at the room, if one may. Called with mu held.
func (q *reads) enqueue(r *room) {
	w := &r.reads
	if w.queued || w.resting || len(w.waiting) == 0 || w.running == maxRoomReads {
		return
	}
	w.queued = true
	q.queue = append(q.queue, r)
	q.start()
}

// start starts a worker, if one is needed and may be. Called with mu held.
func (q *reads) start() {
	if len(q.queue) > 0 && !q.closed && q.running < maxReads && q.bytes.Load() < maxPages {
		q.running++
		q.workers.Go(q.work)
	}
}

// work reads until nothing waits.
func (q *reads) work() {
	for {
		r, batch := q.take()
		if r == nil {
			return
		}
		page, err := q.read(r, batch)
		lags := err == nil && page.Gap == nil && len(page.Messages) == 0 && page.Cursor == batch[0].after
		if err == nil && !lags {
			q.answer(batch, page)
		}
		q.finish(r, batch, err, lags)
	}
}

// take returns a room and those in it that wait for the same page; nil: there is nothing to do for the
// worker, which ends.
func (q *reads) take() (r *room, batch []*catchUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) > 0 && !q.closed && q.bytes.Load() < maxPages {
		r, q.queue = q.queue[0], q.queue[1:]
		w := &r.reads
		w.queued = false
		w.waiting = slices.DeleteFunc(w.waiting, func(c *catchUp) bool { return c.dropped.Load() })
		if len(w.waiting) == 0 {
			continue
		}
		after := w.waiting[0].after
		w.waiting = slices.DeleteFunc(w.waiting, func(c *catchUp) bool {
			same := c.after == after
			if same {
				batch = append(batch, c)
			}
			return same
		})
		w.running++
		q.enqueue(r)
		return r, batch
	}
	q.running--
	return nil, nil
}

// read reads the page that all of the batch want.
func (q *reads) read(r *room, batch []*catchUp) (page Page, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	limit := 0
	for _, c := range batch {
		limit = max(limit, c.limit)
	}
	ctx, cancel := context.WithTimeout(q.ctx, readTime)
	defer cancel()
	return q.hub.engine.Read(ctx, r.name, Query{After: batch[0].after, Limit: limit})
}

// answer gives the page to those who still want it.
func (q *reads) answer(batch []*catchUp, page Page) {
	shared := &sharedPage{Page: page}
	for _, m := range page.Messages {
		shared.bytes += int64(cap(m.Data)) + pageOverhead
	}
	q.bytes.Add(shared.bytes)
	shared.users.Store(1)
	for _, c := range batch {
		m := c.of
		m.session.mu.Lock()
		if m.behind == c {
			shared.users.Add(1)
			c.page = shared
		}
		m.session.mu.Unlock()
		m.waker.Wake()
	}
	q.release(shared)
}

// release gives up a use of a page. It may be called with a session's lock held.
func (q *reads) release(p *sharedPage) {
	if p.users.Add(-1) > 0 {
		return
	}
	before := q.bytes.Add(-p.bytes) + p.bytes
	if before >= maxPages {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.start()
	}
}

// finish ends a read. What has failed is read again after a pause, and what the engine's log does not
// have yet.
func (q *reads) finish(r *room, batch []*catchUp, err error, lags bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &r.reads
	w.running--
	if err == nil && !lags {
		if w.pause > 0 {
			w.pause = 0
			q.hub.Logger().Info("a room's log can be read again", "room", r.name)
		}
		q.enqueue(r)
		return
	}
	w.waiting = append(batch, w.waiting...)
	if q.closed {
		return
	}
	pause := firstPause
	if err != nil {
		if w.pause == 0 {
			q.hub.Logger().Error("reading a room's log; it is tried again until it succeeds", "room", r.name, "error", err)
		}
		pause = min(max(firstPause, 2*w.pause), lastPause)
		w.pause = pause
	}
	if !w.resting {
		w.resting = true
		time.AfterFunc(pause, func() { q.rested(r) })
	}
}

// rested ends a pause.
func (q *reads) rested(r *room) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r.reads.resting = false
	q.enqueue(r)
}

// spawn runs f, which ends with the context, on a goroutine that close joins. It reports whether it may: not
// after close.
func (q *reads) spawn(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.workers.Go(f)
	return true
}

// close waits for the reads under way, whose context has ended. None follow.
func (q *reads) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.workers.Wait()
}

// pageAfter returns the page after a position, if it is there. Otherwise it sees to it that the session is woken
// when it is. Called with the session's mu held.
func (m *Subscription) pageAfter(pos Position, limit int) (Page, bool) {
	h := m.session.hub
	if h.keeper != nil {
		page, err := h.engine.Read(context.Background(), m.room.name, Query{After: pos, Limit: limit})
		if err != nil {
			h.log.Load().Error("reading a room's log", "room", m.room.name, "error", err)
		}
		return page, err == nil
	}
	if m.behind != nil && m.behind.after != pos {
		m.dropCatchUp()
	}
	c := m.behind
	if c == nil {
		m.behind = &catchUp{of: m, after: pos, limit: limit}
		h.reads.ask(m.behind)
		return Page{}, false
	}
	if c.page == nil {
		return Page{}, false
	}
	page := c.page.Page
	if len(page.Messages) > limit {
		page.Messages = page.Messages[:limit]
		page.Cursor, page.More = page.Messages[limit-1].Position, true
	}
	m.dropCatchUp()
	return page, true
}

// dropCatchUp gives up the page that the subscription has asked for. Called with the session's mu held.
func (m *Subscription) dropCatchUp() {
	c := m.behind
	if c == nil {
		return
	}
	m.behind = nil
	c.dropped.Store(true)
	if c.page != nil {
		m.session.hub.reads.release(c.page)
	}
}
