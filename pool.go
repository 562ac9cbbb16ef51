package realtime

import (
	"cmp"
	"context"
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

// hubKey is the key of a hub in the pool. It has what cannot change while the hub exists.
type hubKey struct {
	name    string
	kind    string // the name of the engine's module
	storage string
}

// pooledHub is a hub, and its connections that have left net/http.
type pooledHub struct {
	hubKey
	number     uint64 // a higher one than those of hubs that were made earlier
	hub        *hub.Hub
	engine     hub.Engine
	log        atomic.Pointer[slog.Logger]
	conns      outbound.Group
	idle       netpoll.Poller // where they wait while they are idle
	rules      string         // the key of the rules in force; owned by those who load configurations
	authorizer hub.Authorizer // the rules themselves; nil: none
	uses       link.Uses      // of signed links
	life       atomic.Int64   // the longest of tokens so far, as a time.Duration; 0: there were none
	opened     atomic.Bool    // the hub is open
	ending     sync.Once      // see drain
	hurry      func()         // ends the drain that is under way; set by drain
	warned     sync.Once      // see warnOfRestart
	released   chan struct{}  // closed when the hub and its engine are closed
	ended      chan struct{}  // closed when everything has ended
}

// lastNumber is the number of the newest hub.
var lastNumber atomic.Uint64

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
	if _, here := p.engine.(hub.Keeper); !here {
		return
	}
	var rooms []string
	for _, r := range s.Rooms {
		if h := r.History; h != nil && h.Count > 0 && (h.Age == 0 || h.Age > settings.DefaultHistoryAge) {
			rooms = append(rooms, r.Pattern)
		}
	}
	if len(rooms) > 0 {
		p.warned.Do(func() {
			p.hub.Logger().Warn("rooms are kept in memory, so a restart of Caddy empties them, whatever their history says; engine bolt keeps them", "hub", p.name, "rooms", rooms)
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

// takeHub returns the hub of a name and an engine. If there is none it makes one with the settings,
// which is not open, and made is true. releaseHub undoes takeHub.
func takeHub(name string, engine *engineChoice, s *settings.Settings, log *slog.Logger) (p *pooledHub, made bool, err error) {
	key := hubKey{name, engine.name, engine.storage}
	v, loaded, err := hubs.LoadOrNew(key, func() (caddy.Destructor, error) {
		p := &pooledHub{hubKey: key, number: lastNumber.Add(1), released: make(chan struct{}), ended: make(chan struct{})}
		p.log.Store(log)
		var err error
		if p.engine, err = engine.module.Engine(name, slog.New(lastingLog{now: &p.log}).With("hub", name)); err != nil {
			return nil, fmt.Errorf("making the engine of hub %q: %w", name, err)
		}
		if p.hub, err = hub.New(s, p.engine); err != nil {
			return nil, errOpening(name, err)
		}
		p.hub.SetLogger(log)
		return p, nil
	})
	if err != nil {
		return nil, false, err
	}
	return v.(*pooledHub), !loaded, nil
}

// setLogger sets the logger of the hub and its engine.
func (p *pooledHub) setLogger(log *slog.Logger) {
	p.log.Store(log)
	p.hub.SetLogger(log)
}

// open opens the hub, unless it is open. If a hub that drains has the same storage, it ends first.
func (p *pooledHub) open(ctx context.Context) error {
	if p.opened.Load() {
		return nil
	}
	if p.storage != "" {
		if err := p.awaitStorage(ctx); err != nil {
			return errOpening(p.name, err)
		}
	}
	if err := p.hub.Open(ctx); err != nil {
		return errOpening(p.name, err)
	}
	p.opened.Store(true)
	return nil
}

// awaitStorage waits until no other hub of this process has the storage. It does not wait for a hub that
// is in use.
func (p *pooledHub) awaitStorage(ctx context.Context) error {
	for _, o := range slices.Concat(pooled(), drains.list()) {
		if o == p || o.kind != p.kind || o.storage != p.storage {
			continue
		}
		if !o.hub.Draining() {
			return fmt.Errorf("hub %q of the running configuration has its storage, %s: first load a configuration without that hub", o.name, o.storage)
		}
		o.drain() // if it has not begun
		o.hurry()
		select {
		case <-o.released:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the end of hub %q, which has its storage, %s: %w", o.name, o.storage, ctx.Err())
		}
	}
	return nil
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

// hubsNamed returns the hubs of a name that are open, the newest first. There may be several for a while, if
// a configuration gives a hub another engine: the others drain, or will.
func hubsNamed(name string) (found []*pooledHub) {
	for _, p := range slices.Concat(pooled(), drains.list()) {
		if p.name == name && p.opened.Load() && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *pooledHub) int { return cmp.Compare(b.number, a.number) })
	return found
}

// findHub returns the newest hub with a name that a configuration uses. It may end at any time: then its
// methods return errors.
func findHub(name string) (found *pooledHub, err error) {
	var names []string
	for _, p := range pooled() {
		if !p.opened.Load() {
			continue
		}
		if p.name == name && (found == nil || found.number < p.number) {
			found = p
		}
		if p.name != "" {
			names = append(names, fmt.Sprintf("%q", p.name))
		} else {
			names = append(names, "the one without a name")
		}
	}
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
	return nil, fmt.Errorf("there is no %s: the hubs here are %s", which, strings.Join(slices.Compact(names), ", "))
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

func releaseHub(key hubKey) error {
	_, err := hubs.Delete(key)
	return err
}

var _ caddy.Destructor = (*pooledHub)(nil)
