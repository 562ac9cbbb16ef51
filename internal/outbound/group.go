package outbound

import (
	"context"
	"hash/maphash"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Group holds the connections of one hub, and the shards that write to them: one
// for each processor. The zero Group is ready for use and must not be copied.
//
// A connection joins with [Conn.Start] and leaves at the end of [Conn.Finish]. To
// shut down, end the hub's sessions and call [Group.Wait]: the connections say
// goodbye and finish, each within a bounded time, and those that are still there
// when the context is done are cut. Methods are safe for concurrent use.
type Group struct {
	// MaxWaiting bounds the bytes that wait for full sockets, over all connections: a
	// connection that would exceed it ends with hub.CauseSlow. 0 means
	// [DefaultMaxWaiting]. It must not change once there are connections.
	MaxWaiting int64

	// Set once, when the first connection is made.
	once   sync.Once
	shards []*shard
	seed   maphash.Seed

	waiting atomic.Int64 // bytes that wait for full sockets

	// Guarded by mu.
	mu    sync.Mutex
	conns map[*Conn]struct{}
	empty chan struct{} // closed when the last connection leaves; nil: nobody waits
}

// DefaultMaxWaiting is the MaxWaiting of a Group that sets none, in bytes.
const DefaultMaxWaiting = 64 << 20

// countWaiting counts n more waiting bytes, or fewer if n is negative. It returns
// false, and counts nothing, if that would exceed MaxWaiting.
func (g *Group) countWaiting(n int64) bool {
	most := g.MaxWaiting
	if most == 0 {
		most = DefaultMaxWaiting
	}
	if g.waiting.Add(n) > most && n > 0 {
		g.waiting.Add(-n)
		return false
	}
	return true
}

// together is how many connections of a room go to one shard before the next shard
// gets its turn: a small room wakes one worker, a large one all of them.
const together = 32

// shard returns the shard for a connection that is to join the room. members is how
// many the room has already.
func (g *Group) shard(room string, members int) *shard {
	g.once.Do(func() {
		g.seed = maphash.MakeSeed()
		for range runtime.GOMAXPROCS(0) {
			g.shards = append(g.shards, newShard(g))
		}
	})
	first := maphash.String(g.seed, room) % uint64(len(g.shards))
	return g.shards[(first+uint64(members/together))%uint64(len(g.shards))]
}

// Len returns how many connections there are.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// Waiting returns how many bytes wait because their sockets are full.
func (g *Group) Waiting() int64 { return g.waiting.Load() }

// Wait waits until every connection has left. When ctx is done it cuts the others,
// and waits until they have left and the workers have ended.
func (g *Group) Wait(ctx context.Context) {
	if empty := g.emptied(); empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
			for _, c := range g.all() {
				c.Cut() // its reader and its writer notice, and end it
			}
			<-empty
		}
	}
	for _, s := range g.shards {
		s.workers.Wait()
	}
}

// emptied returns a channel that is closed when the last connection has gone,
// or nil if there is none.
func (g *Group) emptied() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.conns) == 0 {
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	return g.empty
}

func (g *Group) all() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.conns))
}

func (g *Group) add(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		g.conns = make(map[*Conn]struct{})
	}
	g.conns[c] = struct{}{}
}

func (g *Group) remove(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	if len(g.conns) == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}
