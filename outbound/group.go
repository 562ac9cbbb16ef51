package outbound

import (
	"context"
	"net"
	"sync"
)

// Group holds the connections of one hub, so that they can be waited for. The
// zero Group is ready.
type Group struct {
	mu    sync.Mutex
	conns map[*Conn]struct{}
	empty chan struct{} // closed when the last one has gone; nil: nobody waits
}

// Len returns how many connections there are.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// Wait waits until every connection has gone. When ctx is done it cuts those
// that are left and waits for the rest of their work.
func (g *Group) Wait(ctx context.Context) {
	g.mu.Lock()
	if len(g.conns) == 0 {
		g.mu.Unlock()
		return
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return
	case <-ctx.Done():
	}
	for _, nc := range g.sockets() {
		_ = nc.Close() // wakes its reader and its writer, which end it
	}
	<-empty
}

func (g *Group) sockets() []net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]net.Conn, 0, len(g.conns))
	for c := range g.conns {
		all = append(all, c.nc)
	}
	return all
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
