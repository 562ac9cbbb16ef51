package hub

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/secret"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// Hub holds the rooms and the sessions. All methods are safe for concurrent use.
type Hub struct {
	engine     Engine
	keeper     Keeper // the engine, if it is one; otherwise nil
	budget     *Budget
	settings   atomic.Pointer[settings.Settings]
	authorizer atomic.Pointer[Authorizer] // nil: Open
	log        atomic.Pointer[slog.Logger]
	endings    [numCauses]atomic.Uint64
	bitten     sync.Map // limits that have been logged since the last Configure
	stop       chan struct{}
	draining   atomic.Bool // there are no new sessions; set with mu held
	publishing gate
	life       context.Context //nolint:containedctx // that of what the hub does by itself, which ends with it
	unwatch    context.CancelFunc
	born       time.Time
	janitor    sync.WaitGroup // what runs until the hub is closed
	operations sync.WaitGroup // see Operate; raised with mu held

	opening sync.Mutex // see Open
	opened  bool       // Open was called, or New has opened the hub
	openErr error

	mu       sync.RWMutex
	closed   bool
	rooms    map[string]*room
	leaving  map[string]chan struct{} // rooms that are being forgotten; closed when that is done
	blocks   map[blockKey]*block      // the same rooms
	sessions map[*Session]struct{}
	answers  int           // clients that are being answered without a session
	attached int           // connections that belong to a server, see Attached
	empty    chan struct{} // closed when nobody is connected any more; nil: nobody waits

	secret  secret.Key
	epoch   string        // of presence cursors
	flushed atomic.Uint64 // the number of the last presence frame
	fading  atomic.Int64  // leases that no session holds

	wakers wakers
	reads  reads

	addresses limit.Table[netip.Prefix]
	users     limit.Table[string] // by their ids
	inRooms   limit.Table[string] // publications, by the room's name
	failures  limit.Failures

	departures departures

	trust     trust
	revoked   revocations
	lifetimes lifetimes
}

// Stats is what a hub holds at one moment.
type Stats struct {
	Rooms, Sessions int
	Bytes           int64            // kept messages, as HistoryMemory counts them
	Endings         map[Cause]uint64 // ended sessions by cause, since the hub was made
}

// New returns a hub on the engine, which is the hub's from now on. It returns
// an error if the settings cannot be, or if the engine's state cannot be read.
// Close ends it. If the engine is an [Opener] nothing of it is touched, and [Hub.Open] must come next.
func New(s *settings.Settings, e Engine) (*Hub, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	h := &Hub{
		engine:     e,
		budget:     message.NewBudget(s.HistoryMemory),
		stop:       make(chan struct{}),
		born:       time.Now(),
		rooms:      make(map[string]*room),
		leaving:    make(map[string]chan struct{}),
		blocks:     make(map[blockKey]*block),
		sessions:   make(map[*Session]struct{}),
		epoch:      secret.NewID(),
		publishing: gate{last: make(chan struct{}, 1)},
	}
	h.settings.Store(s)
	h.divide(s)
	if h.keeper, _ = e.(Keeper); h.keeper != nil {
		h.keeper.Bind(h.budget) // what the log and the ring both keep counts once
	}
	h.log.Store(slog.New(slog.DiscardHandler))
	h.life, h.unwatch = context.WithCancel(context.Background())
	h.reads.hub, h.reads.ctx = h, h.life
	if _, later := e.(Opener); later {
		return h, nil
	}
	if err := h.Open(h.life); err != nil {
		h.unwatch()
		return nil, err
	}
	return h, nil
}

// SetLogger sets the logger; each limit's first refusal after a Configure is logged.
func (h *Hub) SetLogger(l *slog.Logger) { h.log.Store(l) }

// Logger returns the current logger. Code that outlives a configuration calls it each
// time: a configuration's own logger ends with it.
func (h *Hub) Logger() *slog.Logger { return h.log.Load() }

// Settings returns the settings in force. They must not be changed.
func (h *Hub) Settings() *settings.Settings { return h.settings.Load() }

// Configure puts new settings in force, for live rooms and sessions too. Subscriptions in rooms
// that do not exist any more end, and clients are told as by [Hub.Authorize]; what is kept of such a
// room stays until its history ends. It returns an error, and changes nothing, if the settings
// cannot be.
func (h *Hub) Configure(s *settings.Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	before := h.settings.Swap(s)
	h.bitten.Clear()
	h.budget.SetMax(s.HistoryMemory)
	if !before.SameDeclared(s) || !slices.Equal(before.MemoryQuotas(), s.MemoryQuotas()) {
		h.divide(s)
	}
	for _, r := range h.list() {
		p := s.Policy(r.name)
		before := r.policy.Swap(&p)
		h.engine.Retain(r.name, p.History)
		h.regroup(r)
		if before.Presence.Mode != p.Presence.Mode {
			r.attendance.announce()
		}
	}
	if s.OnlyDeclared && !(before.OnlyDeclared && before.SameDeclared(s)) {
		h.decideAgain()
	}
	h.relieve()
	return nil
}

// survive, deferred, logs a panic that must not take the whole server with it.
func (h *Hub) survive(what string, attributes ...any) {
	if p := recover(); p != nil {
		h.Logger().Error(what, append(attributes, "panic", p, "stack", string(debug.Stack()))...) //nolint:sloglint // a literal of the caller
	}
}

// read reads a room's log.
func (h *Hub) read(ctx context.Context, room string, q Query) (Page, error) {
	r := h.lookUp(room)
	if r != nil {
		h.use(r)
		return r.readAll(ctx, h.engine, q)
	}
	return h.engine.Read(ctx, room, q)
}

// MaxMessageSize returns how many bytes of data a message in the room may have.
func (h *Hub) MaxMessageSize(room string) int {
	return h.settings.Load().Policy(room).MaxMessageSize
}

// SubscriberCount returns how many sessions are in the room. The members, who may be
// fewer or more, are counted by [Caller.MemberCount].
func (h *Hub) SubscriberCount(room string) int {
	r := h.lookUp(room)
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subscribers
}

// Stats returns what the hub holds.
func (h *Hub) Stats() Stats {
	h.mu.RLock()
	st := Stats{Rooms: len(h.rooms), Sessions: len(h.sessions), Endings: make(map[Cause]uint64)}
	h.mu.RUnlock()
	st.Bytes = h.budget.Bytes()
	for _, c := range Causes() {
		if n := h.endings[c].Load(); n > 0 {
			st.Endings[c] = n
		}
	}
	return st
}

// Sessions returns the sessions of this moment.
func (h *Hub) Sessions() []*Session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Keys(h.sessions))
}

// Close ends every session with [CauseStopping] and releases everything. Later
// calls of Connect and Publish return [ErrDraining]. A call of Open that is under way ends.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	for _, s := range h.Sessions() {
		s.End(CauseStopping)
	}
	close(h.stop)
	h.unwatch()
	h.opening.Lock() // Open has returned, and none begins
	defer h.opening.Unlock()
	h.janitor.Wait()
	h.operations.Wait()
	h.reads.close()
	for _, r := range h.list() {
		r.close()
	}
	h.wakers.done.Wait() // no news after that
	if !h.opened {
		return nil // nothing of the engine was touched
	}
	return h.engine.Close(ctx)
}
