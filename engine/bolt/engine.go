package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/engine/bolt/journal"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/receipts"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/hub/values"
)

// Options are what may change while an engine is open.
type Options struct {
	// Sync is how often what was published is brought to the disk: a loss of power loses at most so much. 0
	// means always, before each answer.
	Sync time.Duration
	// Size bounds what the database holds, in bytes; 0: it is not bounded. Above it the oldest messages go,
	// whatever room they are in. The file itself does not shrink.
	Size int64
}

// Engine keeps rooms in a file. It implements [hub.Engine]. Its methods may be called once Open
// has returned nil, but for Configure and Govern, which may be called before.
type Engine struct {
	path string
	log  *slog.Logger

	options atomic.Pointer[Options]
	govern  atomic.Pointer[func(room string) settings.History]

	// Set by Open.
	db       atomic.Pointer[bbolt.DB] // replaced by a compaction
	info     fileInfo                 // as it is while the file is open; Open is the follower's
	keys     *receipts.Store[hub.Receipt]
	values   *values.Values
	journals [2]*journal.File
	release  func() // lets others in this process open the file

	in        chan *publication
	control   chan func()   // run by the writer
	tasks     chan task     // for the follower
	exclusive chan struct{} // see alone
	hurry     chan struct{} // tells the follower not to wait for its time
	followed  chan struct{} // tells the writer that the follower has followed
	entering  sync.RWMutex  // held for reading by those who hand something to the writer
	shut      bool          // nobody may any more; guarded by entering
	stopping  chan struct{}
	ended     chan struct{}  // the follower and the syncer end
	writing   sync.WaitGroup // the writer
	rest      sync.WaitGroup // the follower and the syncer
	closing   sync.Once
	closed    error

	// The writer's own.
	generation uint64 // of the journal that is written
	last       uint64 // the newest offset that was given out
	batch      []*entry
	frame      []byte

	reserved atomic.Uint64 // see progress
	newest   atomic.Uint64 // what last is, once it can be read
	removed  atomic.Uint64 // the newest generation that is in the database alone
	waiting  atomic.Int64  // bytes that the database does not have yet
	unknown  atomic.Uint64 // up to where rooms without a row have lost everything, since rows are damaged
	always   atomic.Bool   // the writer syncs before it answers
	unsync   atomic.Bool   // something was appended after the last sync
	tidied   []byte        // the room up to which the follower has tidied; its own

	mu    sync.RWMutex
	rooms map[string]*room // in use

	swap    sync.RWMutex // held while the database is replaced; a transaction has it for reading
	changes sync.Mutex   // held by a transaction that writes, and while the database is copied

	behind []*entry // what the follower could not bring into the database; its own until it has ended

	healthMu sync.Mutex
	sick     [2]hub.Health   // of the writer and the follower
	reported map[string]bool // damage that has been logged; guarded by healthMu
}

// Who may not be well.
const (
	writer = iota
	follower
)

// New returns an engine on the database at path. Nothing is touched until Open. The logger is told what
// operators should know.
func New(path string, o Options, log *slog.Logger) *Engine {
	e := &Engine{
		path:      path,
		log:       log,
		in:        make(chan *publication, maxGathered),
		control:   make(chan func()),
		tasks:     make(chan task),
		exclusive: make(chan struct{}, 1),
		hurry:     make(chan struct{}, 1),
		followed:  make(chan struct{}, 1),
		stopping:  make(chan struct{}),
		ended:     make(chan struct{}),
		rooms:     make(map[string]*room),
		reported:  make(map[string]bool),
		keys:      receipts.New[hub.Receipt](func() int64 { return math.MaxInt64 }),
	}
	e.options.Store(&o)
	e.values = values.New(e.storeValue)
	return e
}

// Configure puts other options in force. It returns an error for those that cannot be.
func (e *Engine) Configure(o Options) error {
	if o.Sync < 0 || o.Size < 0 {
		return fmt.Errorf("invalid sync %v or size %d: must not be negative", o.Sync, o.Size)
	}
	e.options.Store(&o)
	return nil
}

// Govern gives the engine the function that says how much of a room's log to keep at the moment. It is safe for
// concurrent use. Without it, everything is kept of rooms that [Engine.Retain] was not called for.
func (e *Engine) Govern(keep func(room string) settings.History) { e.govern.Store(&keep) }

// keepOf returns how much of a room to keep, without what Retain said.
func (e *Engine) keepOf(room string) settings.History {
	if f := e.govern.Load(); f != nil {
		return (*f)(room)
	}
	return settings.History{Count: unlimited}
}

// State implements [hub.Engine].
func (e *Engine) State() hub.Store { return e.values }

// errBroken is wrapped by what the engine does not recover from before it is opened again.
var errBroken = errors.New("nothing can be published before a restart")

// broken notes that nothing can be written any more.
func (e *Engine) broken(err error) {
	e.ill(writer, nil)
	e.ill(writer, fmt.Errorf("%w: %w", errBroken, err))
}

// ill notes what is wrong with the writer or the follower, and logs it the first time; nil: it is well.
func (e *Engine) ill(who int, err error) {
	e.healthMu.Lock()
	defer e.healthMu.Unlock()
	was := &e.sick[who]
	switch {
	case err == nil && was.Err != nil:
		e.log.Info("the file can be written again", "file", e.path, "after", time.Since(was.Since))
		*was = hub.Health{}
	case err != nil && was.Err == nil:
		e.log.Error("the file cannot be written", "file", e.path, "error", err)
		*was = hub.Health{Err: err, Since: time.Now()}
	}
}

// Health implements [hub.Engine].
func (e *Engine) Health() (h hub.Health) {
	e.healthMu.Lock()
	defer e.healthMu.Unlock()
	if h = e.sick[writer]; h.Err == nil {
		h = e.sick[follower]
	}
	h.Queue = len(e.in)
	return h
}

// maxReported is how many texts about damage are logged.
const maxReported = 100

// damaged logs what is damaged, each text once, and not all of them.
func (e *Engine) damaged(err error) {
	e.healthMu.Lock()
	defer e.healthMu.Unlock()
	if text := err.Error(); len(e.reported) < maxReported && !e.reported[text] {
		e.reported[text] = true
		e.log.Error("a room is damaged, so its readers get a gap", "file", e.path, "error", err)
	}
}

// full returns the error for one of the disk: [hub.ErrStorageFull] if it has no place.
func full(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", hub.ErrStorageFull, err)
	}
	return fmt.Errorf("%w: %w", hub.ErrUnavailable, err)
}

// isFull reports whether the error is that of a disk that has no place.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// view runs f in a transaction that reads. A file that is not as it was written may make bbolt panic, and a disk that
// fails makes the processor fault where the file is mapped: both become errors.
func (e *Engine) view(f func(*bbolt.Tx) error) (err error) {
	defer guard(&err)()
	e.swap.RLock()
	defer e.swap.RUnlock()
	return e.db.Load().View(f)
}

// guard makes panics of bbolt, and faults of the file's mapping, errors of the function that defers what it returns.
func guard(err *error) (undo func()) {
	was := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(was)
		if v := recover(); v != nil {
			*err = fmt.Errorf("%w: %v", errDamaged, v)
		}
	}
}

// Close brings everything into the database and closes it. It may be called again, and without Open. ctx does not bound what
// it does: that takes as long as the disk needs for a few megabytes.
func (e *Engine) Close(context.Context) error {
	e.closing.Do(func() { e.closed = e.close() })
	return e.closed
}
