// Package values keeps small values by name, with versions, in memory: what an engine
// keeps beside its logs.
package values

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrVersion is returned by [Values.Set] if the value has another version.
var ErrVersion = errors.New("the value has changed meanwhile")

// Values are the values. The zero value is empty, and keeps them in memory alone. All
// methods are safe for concurrent use; hub.Store says what those with a context do. Close
// them after use.
type Values struct {
	store func(Stored) error // nil: memory alone

	mu       sync.Mutex
	by       map[string]*value
	version  uint64 // the newest one given out
	watchers map[*watcher]struct{}
}

// Stored is a value as it is stored outside of this process.
type Stored struct {
	Name    string
	Bytes   []byte    // empty: it has been removed
	Version uint64    // above that of any value before; of a removed one, too
	Expires time.Time // zero: it stays
}

// New returns values that hand each change to store before it can be seen, one at a time. An
// error of store refuses the change. Values whose time is over are not handed to it: whoever
// has stored them looks at Expires.
func New(store func(Stored) error) *Values { return &Values{store: store} }

// Restore brings back stored values, before any other method is called. version is the
// newest one that was given out.
func (v *Values) Restore(version uint64, all ...Stored) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.version = version
	for _, s := range all {
		if ttl := time.Until(s.Expires); s.Expires.IsZero() {
			v.put(s.Name, s.Bytes, s.Version, 0)
		} else if ttl > 0 {
			v.put(s.Name, s.Bytes, s.Version, ttl)
		}
	}
}

type value struct {
	bytes   []byte
	version uint64
	timer   *time.Timer // removes it; nil: it stays
}

// watcher is one call of Watch.
type watcher struct {
	prefix string
	due    map[string]struct{} // names that it has to look at
	wake   chan struct{}       // of capacity 1: due is not empty
}

// Get returns a value and its version, or version 0 if there is none.
func (v *Values) Get(_ context.Context, name string) ([]byte, uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.by[name]
	if known == nil {
		return nil, 0, nil
	}
	return bytes.Clone(known.bytes), known.version, nil
}

// Set changes a value that has the version, and returns its new one, or [ErrVersion].
func (v *Values) Set(_ context.Context, name string, b []byte, version uint64, ttl time.Duration) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.by[name]
	if known == nil && version != 0 || known != nil && version != known.version {
		return 0, ErrVersion
	}
	if err := v.keep(name, b, ttl); err != nil {
		return 0, err
	}
	v.version++
	if known != nil && known.timer != nil {
		known.timer.Stop()
	}
	if len(b) == 0 {
		delete(v.by, name)
		v.changed(name)
		return 0, nil
	}
	v.put(name, b, v.version, ttl)
	v.changed(name)
	return v.version, nil
}

// keep stores a change that is about to be made. Called with mu held.
func (v *Values) keep(name string, b []byte, ttl time.Duration) error {
	if v.store == nil {
		return nil
	}
	s := Stored{Name: name, Bytes: b, Version: v.version + 1}
	if ttl > 0 {
		s.Expires = time.Now().Add(ttl)
	}
	return v.store(s)
}

// put sets a value in memory. Called with mu held.
func (v *Values) put(name string, b []byte, version uint64, ttl time.Duration) {
	if v.by == nil {
		v.by = make(map[string]*value)
	}
	fresh := &value{bytes: bytes.Clone(b), version: version}
	if ttl > 0 {
		fresh.timer = time.AfterFunc(ttl, func() { v.expire(name, fresh) })
	}
	v.by[name] = fresh
}

// expire removes a value whose time is over, unless it has been replaced.
func (v *Values) expire(name string, old *value) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.by[name] == old {
		delete(v.by, name)
		v.changed(name)
	}
}

// changed tells the watchers of a name. Called with mu held.
func (v *Values) changed(name string) {
	for w := range v.watchers {
		w.add(name)
	}
}

// add notes that the watcher has to look at a name, if it watches that.
func (w *watcher) add(name string) {
	if !strings.HasPrefix(name, w.prefix) {
		return
	}
	w.due[name] = struct{}{}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch calls f with the values whose names begin with prefix and with their changes, until ctx
// ends. While f is busy, only the newest value of each name waits.
func (v *Values) Watch(ctx context.Context, prefix string, f func(name string, value []byte)) error {
	w := &watcher{prefix: prefix, due: make(map[string]struct{}), wake: make(chan struct{}, 1)}
	v.mu.Lock()
	for name := range v.by {
		w.add(name)
	}
	if v.watchers == nil {
		v.watchers = make(map[*watcher]struct{})
	}
	v.watchers[w] = struct{}{}
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		for name, b, ok := v.next(w); ok && ctx.Err() == nil; name, b, ok = v.next(w) {
			f(name, b)
		}
	}
}

// next returns what a watcher has to be told next.
func (v *Values) next(w *watcher) (name string, b []byte, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name = range w.due {
		delete(w.due, name)
		if known := v.by[name]; known != nil {
			b = bytes.Clone(known.bytes)
		}
		return name, b, true
	}
	return "", nil, false
}

// Close stops the timers. Values then last longer than they should.
func (v *Values) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, known := range v.by {
		if known.timer != nil {
			known.timer.Stop()
		}
	}
}
