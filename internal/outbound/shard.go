package outbound

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

const (
	// chunkMembers is how many members of a group are served before the next group's
	// turn: a large room does not keep a small one waiting.
	chunkMembers = 64
	// maxRounds is how many rounds may be in progress.
	maxRounds = 64
	// yieldEvery is how many writes a worker makes before it yields to other
	// goroutines: a raw system call does not release its processor.
	yieldEvery = 64
	// patience is the time between two looks at a write that may wait. A write that
	// is still under way at the second look is left to its goroutine.
	patience = 5 * time.Millisecond
)

// shard writes to its share of a group's connections, and is the [hub.Dispatcher]
// of their sessions. Its worker is one goroutine, which exists while something is
// due.
//
// The worker never waits for a plain socket. Other connections (TLS) cannot be
// written to without waiting. When such a write takes long, the watchdog starts a
// new worker, which continues the turn; the goroutine of the old one becomes the
// writer of that one connection.
type shard struct {
	group *Group

	mu      sync.Mutex
	ready   []*hub.SubscriberGroup // groups that have new messages
	conns   []*Conn                // connections to be served by themselves
	working bool                   // there is a worker
	workers sync.WaitGroup

	turn // owned by the worker

	waits    atomic.Pointer[Conn] // the worker's write to it may be waiting; nil: none
	watched  atomic.Bool          // the watchdog is running
	watchdog *time.Timer
	suspect  *Conn // what the watchdog saw at its last look; owned by it
}

// turn is the work of a worker. It is consistent before every write that may wait,
// so that another worker can continue it.
type turn struct {
	ready           []*hub.SubscriberGroup
	conns           []*Conn
	readyAt, connAt int // indexes of the first ones not taken yet

	rounds  []*round // in progress; each serves a chunk in turn
	roundAt int      // index of the round in progress or, without one, of the next
	round   *round   // the round in progress, or nil
	served  int      // connections served by themselves since the last chunk
	spare   *round   // for the next group; may be nil

	buffer  *buffer
	current *Conn // being written to, for survive
	writes  int
}

func newShard(g *Group) *shard {
	s := &shard{group: g}
	s.watchdog = time.AfterFunc(time.Hour, s.look)
	s.watchdog.Stop()
	return s
}

// Notify implements [hub.Dispatcher].
func (s *shard) Notify(f *hub.SubscriberGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, f)
	s.start()
}

// queue adds a connection that is to be served by itself.
func (s *shard) queue(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	s.start()
}

// start starts a worker unless there is one. Called with mu held.
func (s *shard) start() {
	if !s.working {
		s.working = true
		s.workers.Go(s.work)
	}
}

// take moves what is due into the turn. It returns false if there is nothing to do
// at all: then the worker ends.
func (s *shard) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready)+len(s.conns) == 0 {
		if s.turn.busy() {
			return true
		}
		s.working = false
		s.turn.release()
		return false
	}
	t := &s.turn
	if t.readyAt == len(t.ready) {
		t.ready, s.ready, t.readyAt = s.ready, t.ready[:0], 0
	}
	if t.connAt == len(t.conns) {
		t.conns, s.conns, t.connAt = s.conns, t.conns[:0], 0
	}
	return true
}

// busy reports whether the turn has work left.
func (t *turn) busy() bool {
	return len(t.rounds) > 0 || t.readyAt < len(t.ready) || t.connAt < len(t.conns)
}

// release drops what an idle shard need not keep.
func (t *turn) release() {
	if t.buffer != nil {
		t.buffer.free()
	}
	*t = turn{spare: t.spare}
}

// work is the goroutine of a worker.
func (s *shard) work() {
	for s.run() {
	}
}

// run works until nothing is due or another worker has taken over. It returns true
// after a panic, which has ended one session: then it must be called again.
func (s *shard) run() (again bool) {
	defer func() {
		if p := recover(); p != nil {
			again = s.survive(p)
		}
	}()
	t := &s.turn
	for {
		mine := true
		switch {
		case t.round != nil && len(t.round.chunk) > 0:
			mine = s.deliver(t.round, t.round.next())
		case t.round != nil:
			t.leave(t.round)
		case t.connAt < len(t.conns) && (t.served < chunkMembers || len(t.rounds) == 0):
			c := t.conns[t.connAt]
			t.conns[t.connAt] = nil
			t.connAt++
			t.served++
			mine = s.serve(c)
		case t.readyAt < len(t.ready) && len(t.rounds) < maxRounds:
			t.enter()
		case t.roundAt < len(t.rounds):
			t.round, t.served = t.rounds[t.roundAt], 0
			t.round.fill()
		default:
			// Every round has had its chunk.
			t.roundAt, t.served = 0, 0
			if !s.take() {
				return false
			}
		}
		if !mine {
			return false
		}
	}
}

// survive handles a panic: it ends the session being written to, and no other.
func (s *shard) survive(p any) (again bool) {
	if s.round != nil {
		s.round.oneByOne = true // the others are served one by one
	}
	s.buffer = nil // may be in any state
	if c := s.current; c != nil {
		c.session.Logger().Error("panic in a connection's writer", "panic", p, "stack", string(debug.Stack()))
		c.fail(hub.CauseInternal)
	}
	return true
}

// deliver writes the round's batch to a member. mine reports whether the caller is
// still the worker.
func (s *shard) deliver(r *round, m *hub.Subscription) (mine bool) {
	c := m.Waker().(*Conn) // a shard's groups have no others
	s.current = c
	if r.oneByOne {
		c.Wake()
		return true
	}
	s.yield()
	switch o, rest, err := c.deliver(m, r); o {
	case owned:
		return s.write(c, r.encode(c.codec))
	case short:
		c.settle(rest, err)
	case done:
	}
	return true
}

// yield lets other goroutines run now and then.
func (s *shard) yield() {
	if s.writes++; s.writes%yieldEvery == 0 {
		runtime.Gosched()
	}
}

// serve writes what a single connection is due. mine reports whether the caller is
// still the worker.
func (s *shard) serve(c *Conn) (mine bool) {
	if !c.serve() {
		return true
	}
	s.current = c
	s.yield()
	if s.buffer == nil {
		s.buffer = buffers.Get().(*buffer)
	}
	if !c.gather(s.buffer) {
		return true
	}
	return s.write(c, s.buffer.bytes)
}

// write writes p to a connection whose writer is the caller, and settles. mine
// reports whether the caller is still the worker.
func (s *shard) write(c *Conn, p []byte) (mine bool) {
	if len(p) == 0 {
		c.settle(nil, nil)
		return true
	}
	if n, err, ok := c.send(p); ok {
		c.settle(p[n:], err)
		return true
	}
	s.waits.Store(c)
	s.watch()
	n, err := c.write(p)
	if s.waits.CompareAndSwap(c, nil) {
		c.settle(p[n:], err)
		return true
	}
	// The write took long, and another worker has taken over.
	if fatal(n, err) {
		c.fail(causeOf(err))
	} else {
		c.drain(p[n:], 0)
	}
	return false
}

// watch starts the watchdog unless it is running.
func (s *shard) watch() {
	if !s.watched.Load() && s.watched.CompareAndSwap(false, true) {
		s.watchdog.Reset(patience)
	}
}

// look is the watchdog, a timer that runs while the worker makes writes that may
// wait.
func (s *shard) look() {
	c := s.waits.Load()
	if c != nil && c == s.suspect {
		s.goOn(c)
		c = nil
	}
	s.suspect = c
	if c != nil {
		s.watchdog.Reset(patience)
		return
	}
	s.watched.Store(false)
	if s.waits.Load() != nil {
		s.watch() // began in between
	}
}

// goOn leaves the connection to the goroutine that writes to it, if it still does,
// and continues the turn with a new worker.
func (s *shard) goOn(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.waits.CompareAndSwap(c, nil) {
		return
	}
	c.attendLocked()
	c.guard()
	// The turn is the new worker's now, except for the bytes that are being written.
	if s.round != nil {
		s.round.shared = true
	}
	s.buffer = nil
	s.workers.Go(s.work)
}
