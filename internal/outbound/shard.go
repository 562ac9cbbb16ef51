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
	// chunkMembers is how many members are taken from a group at once, before it is
	// another one's turn: a large room does not keep a small one waiting.
	chunkMembers = 64
	// maxRounds is how many groups have their turn together.
	maxRounds = 64
	// yieldEvery is how many writes a worker makes before it lets others run:
	// a raw system call does not give its processor back.
	yieldEvery = 64
	// patience is the time between two looks at a write that may wait. One that
	// is still there at the second look is left to its goroutine.
	patience = 5 * time.Millisecond
)

// shard writes to its share of a group's connections. A worker, one goroutine,
// lives while something is due. It is the [hub.Dispatcher] of the connections'
// sessions.
//
// The worker writes to plain TCP without ever waiting. Other sockets (TLS) can
// not be written to like that: when such a write waits, a watchdog leaves it to
// the worker's goroutine, which goes on as the writer of that one connection,
// and starts a new worker that goes on with the turn.
type shard struct {
	group *Group

	mu      sync.Mutex
	ready   []*hub.SubscriberGroup // that have something to read
	conns   []*Conn                // to be served one by one
	working bool                   // there is a worker
	workers sync.WaitGroup

	turn // the worker's

	waits    atomic.Pointer[Conn] // the worker writes to it and may have to wait
	watched  atomic.Bool          // the watchdog is on
	watchdog *time.Timer
	suspect  *Conn // the watchdog's: what it saw at its last look
}

// turn is what a worker is at. It is complete before every write that may
// wait, so that another worker can go on.
type turn struct {
	ready           []*hub.SubscriberGroup
	conns           []*Conn
	readyAt, connAt int // the first of them that have not been looked at

	rounds  []*round // under way, a chunk of each in turn
	roundAt int      // the one after that which is
	round   *round   // that which is; nil: none
	served  int      // connections since the last chunk
	spare   *round   // for the next group

	buffer  *buffer
	current *Conn // being written to, for the case of a panic
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

// queue has the connection served by itself.
func (s *shard) queue(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	s.start()
}

// start sees to it that there is a worker. Called with mu held.
func (s *shard) start() {
	if !s.working {
		s.working = true
		s.workers.Go(s.work)
	}
}

// take takes what is due into the turn. If there is nothing to do at all it
// ends the worker.
func (s *shard) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready)+len(s.conns) == 0 {
		if s.turn.busy() {
			return true
		}
		s.working = false
		s.turn.rest()
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

// busy reports whether there is something left to do.
func (t *turn) busy() bool {
	return len(t.rounds) > 0 || t.readyAt < len(t.ready) || t.connAt < len(t.conns)
}

// rest lets go of what an idle shard need not keep.
func (t *turn) rest() {
	if t.buffer != nil {
		t.buffer.free()
	}
	*t = turn{spare: t.spare}
}

// work is a worker's life.
func (s *shard) work() {
	for s.run() {
	}
}

// run works until nothing is due or another worker has gone on. After a panic,
// which ends the session that it befell, it is to be called again.
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
			// Everybody has had his chunk.
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

// survive sees to it that a panic costs one session, and nobody else anything.
func (s *shard) survive(p any) (again bool) {
	if s.round != nil {
		s.round.alone = true // the others will find out one by one
	}
	s.buffer = nil // may be anything
	if c := s.current; c != nil {
		c.session.Logger().Error("panic in a connection's writer", "panic", p, "stack", string(debug.Stack()))
		c.fail(hub.CauseInternal)
	}
	return true
}

// deliver writes the round's batch to a member. It reports whether the caller is
// still the worker.
func (s *shard) deliver(r *round, m *hub.Subscription) (mine bool) {
	c := m.Waker().(*Conn) // a shard's groups have no others
	s.current = c
	if r.alone {
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

// yield lets others run now and then.
func (s *shard) yield() {
	if s.writes++; s.writes%yieldEvery == 0 {
		runtime.Gosched()
	}
}

// serve writes what the connection is due by itself. It reports whether the
// caller is still the worker.
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

// write writes p to the connection, whose writer the caller is, and settles. It
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
	// It waited, and another worker has gone on.
	if fatal(n, err) {
		c.fail(causeOf(err))
	} else {
		c.drain(p[n:], 0)
	}
	return false
}

// watch sees to it that the watchdog is on.
func (s *shard) watch() {
	if !s.watched.Load() && s.watched.CompareAndSwap(false, true) {
		s.watchdog.Reset(patience)
	}
}

// look is the watchdog: it ticks while the worker makes writes that may wait.
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

// goOn leaves the connection to the goroutine that writes to it, if it still
// does, and goes on with a new worker.
func (s *shard) goOn(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.waits.CompareAndSwap(c, nil) {
		return
	}
	c.attendLocked()
	c.guard()
	// Now the turn is ours, but for the bytes that are being written.
	if s.round != nil {
		s.round.lent = true
	}
	s.buffer = nil
	s.workers.Go(s.work)
}
