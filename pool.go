package realtime

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

func init() {
	caddy.OnExit(waitForGoodbyes)
}

// hubs holds the hubs by pool key, so that they outlive the configurations that
// use them.
var hubs = caddy.NewUsagePool()

// pooledHub is a hub and the connections that have left net/http.
type pooledHub struct {
	hub   *hub.Hub
	conns outbound.Group
	idle  netpoll.Poller // where they wait while nothing comes
}

// poolKey is the identity of a hub: what cannot change while it lives.
func poolKey(name string) string { return "memory/" + name }

// takeHub returns the hub of the key, making it with the settings if there is
// none, and whether it did. releaseHub gives it back.
func takeHub(key string, s *hub.Settings, log *slog.Logger) (p *pooledHub, made bool, err error) {
	v, loaded, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) {
		h, err := hub.New(s, hub.NewMemory())
		if err != nil {
			return nil, err
		}
		h.SetLogger(log)
		return &pooledHub{hub: h}, nil
	})
	if err != nil {
		return nil, false, err
	}
	return v.(*pooledHub), !loaded, nil
}

func releaseHub(key string) error {
	_, err := hubs.Delete(key)
	return err
}

// Destruct ends the hub when no configuration uses it any more. It does not
// wait for the goodbyes: each connection ends itself within a bounded time.
func (p *pooledHub) Destruct() error {
	closing.add(&p.conns)
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	err := p.hub.Close(ctx)
	// Every session has ended, so none waits for anything but its end.
	p.idle.Close()
	return err
}

// goodbyeTime is how long the process waits for goodbyes before it exits.
const goodbyeTime = 2 * time.Second

// closing holds the connections whose hub has ended.
var closing closingGroups

type closingGroups struct {
	mu     sync.Mutex
	groups []*outbound.Group
}

func (c *closingGroups) add(g *outbound.Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := c.groups[:0]
	for _, o := range c.groups {
		if o.Len() > 0 {
			keep = append(keep, o)
		}
	}
	c.groups = append(keep, g)
}

// waitForGoodbyes lets the goodbyes out before the process exits.
func waitForGoodbyes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	closing.mu.Lock()
	defer closing.mu.Unlock()
	for _, g := range closing.groups {
		g.Wait(ctx)
	}
}

var _ caddy.Destructor = (*pooledHub)(nil)
