package realtime

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/access/token"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// hubs holds the hubs by pool key, so that they outlive the configurations that
// use them.
var hubs = caddy.NewUsagePool()

// pooledHub is a hub, and its connections that have left net/http.
type pooledHub struct {
	name       string
	hub        *hub.Hub
	conns      outbound.Group
	idle       netpoll.Poller // where they wait while they are idle
	rules      string         // the key of the rules in force; owned by those who load configurations
	authorizer hub.Authorizer // the rules themselves; nil: none
	uses       link.Uses      // of signed links
	life       atomic.Int64   // the longest of tokens so far, as a time.Duration; 0: there were none
	ending     sync.Once      // see drain
	warned     sync.Once      // see warnOfRestart
	ended      chan struct{}  // closed when everything has ended
}

// apply puts a configuration's options in force. Live subscriptions are decided again only
// if the rules have changed.
func (p *pooledHub) apply(o hubOptions) error {
	p.warnOfRestart(o.settings)
	if p.rules == o.key {
		return p.hub.Configure(o.settings)
	}
	var next hub.Authorizer
	if o.rules != nil {
		next = o.rules
	}
	// Who may do more from now on must not do it under the old settings.
	p.hub.Authorize(both{p.authorizer, next})
	err := p.hub.Configure(o.settings)
	p.hub.Authorize(next)
	p.rules, p.authorizer = o.key, next
	return err
}

// warnOfRestart says once that rooms whose history may last longer than a day do not survive a restart.
func (p *pooledHub) warnOfRestart(s *settings.Settings) {
	var rooms []string
	for _, r := range s.Rooms {
		if h := r.History; h != nil && h.Count > 0 && (h.Age == 0 || h.Age > settings.DefaultHistoryAge) {
			rooms = append(rooms, r.Pattern)
		}
	}
	if len(rooms) > 0 {
		p.warned.Do(func() {
			p.hub.Logger().Warn("rooms are kept in memory, so a restart of Caddy empties them, whatever their history says", "hub", p.name, "rooms", rooms)
		})
	}
}

// both allows what two authorizers allow; nil stands for [hub.Open].
type both [2]hub.Authorizer

// Decide implements [hub.Authorizer].
func (b both) Decide(p hub.Principal, verb hub.Verb, room string) bool {
	for _, a := range b {
		if a == nil {
			a = hub.Open{}
		}
		if !a.Decide(p, verb, room) {
			return false
		}
	}
	return true
}

// Knows implements [hub.FactKnower].
func (b both) Knows(f *hub.Facts) bool {
	for _, a := range b {
		if k, ok := a.(hub.FactKnower); ok && !k.Knows(f) {
			return false
		}
	}
	return true
}

// poolKey returns the key of a hub in the pool. It has what cannot change while the hub
// exists.
func poolKey(name string) string { return "memory/" + name }

// takeHub returns the hub with a name. If there is none it makes one with the settings,
// and made is true. releaseHub undoes takeHub.
func takeHub(name string, s *settings.Settings, log *slog.Logger) (p *pooledHub, made bool, err error) {
	v, loaded, err := hubs.LoadOrNew(poolKey(name), func() (caddy.Destructor, error) {
		h, err := hub.New(s, hub.NewMemory())
		if err != nil {
			return nil, err
		}
		h.SetLogger(log)
		return &pooledHub{name: name, hub: h, ended: make(chan struct{})}, nil
	})
	if err != nil {
		return nil, false, err
	}
	return v.(*pooledHub), !loaded, nil
}

// pooled returns the hubs that a configuration uses.
func pooled() (all []*pooledHub) {
	hubs.Range(func(_, value any) bool {
		if p, ok := value.(*pooledHub); ok {
			all = append(all, p)
		}
		return true
	})
	return all
}

// findHub returns the hub with a name. It may end at any time: then its methods return errors.
func findHub(name string) (found *pooledHub, err error) {
	var names []string
	hubs.Range(func(key, value any) bool {
		if key == poolKey(name) {
			found, _ = value.(*pooledHub)
			return false
		}
		if known := strings.TrimPrefix(key.(string), poolKey("")); known != "" {
			names = append(names, fmt.Sprintf("%q", known))
		} else {
			names = append(names, "the one without a name")
		}
		return true
	})
	if found != nil {
		return found, nil
	}
	which := fmt.Sprintf("hub %q", name)
	if name == "" {
		which = "hub without a name"
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no %s: no realtime handler runs here", which)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("there is no %s: the hubs here are %s", which, strings.Join(names, ", "))
}

// noteTokens notes how long tokens of a handler can be good.
func (p *pooledHub) noteTokens(life time.Duration) {
	for {
		known := p.life.Load()
		if int64(life) <= known || p.life.CompareAndSwap(known, int64(life)) {
			return
		}
	}
}

// tokenLife returns how long a token of the hub can be good, or the usual life of tokens if that is
// longer.
func (p *pooledHub) tokenLife() time.Duration {
	return max(time.Duration(p.life.Load()), token.DefaultMaxLifetime) + token.MaxLeeway
}

func releaseHub(key string) error {
	_, err := hubs.Delete(key)
	return err
}

var _ caddy.Destructor = (*pooledHub)(nil)
