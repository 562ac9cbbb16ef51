package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
)

// The part of the hub that knows which credentials have been revoked.

// MaxRevocations is how many revocations a hub keeps at once.
const MaxRevocations = 100_000

// Revocation refuses credentials.
type Revocation struct {
	// Name is "user:" and the id of a user, or one of [Credential.Names].
	Name string
	// Before refuses what was issued at this time or earlier, in whole seconds, and what was issued
	// nobody knows when.
	Before time.Time
	// Until is when the revocation is forgotten, since what it refuses has expired.
	Until time.Time
}

// revocations holds them by name.
type revocations struct {
	count atomic.Int64 // len(by), to ask without the lock
	mu    sync.RWMutex
	by    map[string]Revocation
}

// revocationPrefix begins the names of revocations in the engine's [Store].
const revocationPrefix = "revoked/"

// stored is a revocation as the store has it, in Unix seconds.
type stored struct {
	Before int64 `json:"before"`
	Until  int64 `json:"until"`
}

// named returns the revocation with its name.
func (s stored) named(name string) Revocation {
	return Revocation{Name: name, Before: time.Unix(s.Before, 0), Until: time.Unix(s.Until, 0)}
}

// Revoke refuses the credentials that the revocation names, on every hub that shares the
// engine, and ends the sessions that were opened with them. A revocation of the same name is
// replaced, unless it reaches further. It returns the one that holds now; or [ErrDraining], a
// *[limit.Error] with [limit.ErrFull] above [MaxRevocations], or the store's error.
func (h *Hub) Revoke(ctx context.Context, r Revocation) (Revocation, error) {
	left := time.Until(r.Until)
	if r.Name == "" || left <= 0 {
		return r, fmt.Errorf("revocation %q: must have a name, and a time in the future until which it is kept", r.Name)
	}
	select {
	case <-h.stop:
		return r, ErrDraining
	default:
	}
	if h.revoked.full(r.Name) {
		return r, limit.Full("revocations", MaxRevocations)
	}
	name := revocationPrefix + r.Name
	for {
		was, version, err := h.engine.State().Get(ctx, name)
		if err != nil {
			return r, err
		}
		now := stored{r.Before.Unix(), r.Until.Unix()}
		if known := new(stored); len(was) > 0 && json.Unmarshal(was, known) == nil {
			now = stored{max(now.Before, known.Before), max(now.Until, known.Until)}
		}
		value, err := json.Marshal(now)
		if err != nil {
			return r, err
		}
		switch _, err = h.engine.State().Set(ctx, name, value, version, time.Until(time.Unix(now.Until, 0))); {
		case errors.Is(err, ErrVersion):
			continue // somebody else has revoked the same
		case err != nil:
			return r, err
		}
		h.learn(name, value)
		return now.named(r.Name), nil
	}
}

// Revocations returns up to limit revocations by name, beginning after a name; "" is before all.
func (h *Hub) Revocations(after string, limit int) []Revocation {
	return h.revoked.list(after, limit, time.Now())
}

// Revoked reports whether a client's credential has been revoked.
func (h *Hub) Revoked(c *Client) bool { return h.revoked.covers(c) }

// watchRevocations learns of revocations until ctx ends.
func (h *Hub) watchRevocations(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.engine.State().Watch(ctx, revocationPrefix, h.learn)
		if ctx.Err() != nil {
			return
		}
		h.Logger().Error("watching revocations", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// learn takes a value of the store.
func (h *Hub) learn(name string, value []byte) {
	defer h.survive("panic in a revocation")
	var s stored
	if len(value) > 0 && json.Unmarshal(value, &s) != nil {
		h.Logger().Error("reading a revocation", "name", name)
		return
	}
	if h.revoked.put(s.named(name[len(revocationPrefix):]), len(value) > 0) {
		h.endRefused()
	}
}

// put keeps a revocation, or drops it, and reports whether it may refuse more than before.
func (v *revocations) put(r Revocation, keep bool) (more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	was, known := v.by[r.Name]
	switch {
	case !keep:
		delete(v.by, r.Name)
	case v.by == nil:
		v.by = map[string]Revocation{r.Name: r}
	default:
		v.by[r.Name] = r
	}
	v.count.Store(int64(len(v.by)))
	return keep && (!known || r.Before.After(was.Before))
}

func (v *revocations) full(name string) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, known := v.by[name]
	return !known && len(v.by) >= MaxRevocations
}

// list is [Hub.Revocations] at a time.
func (v *revocations) list(after string, limit int, now time.Time) []Revocation {
	v.mu.RLock()
	var all []Revocation
	for name, r := range v.by {
		if name > after && r.Until.After(now) {
			all = append(all, r)
		}
	}
	v.mu.RUnlock()
	slices.SortFunc(all, func(a, b Revocation) int { return cmp.Compare(a.Name, b.Name) })
	return all[:min(len(all), limit)]
}

// covers reports whether the client's user has been revoked, or what speaks for the client.
func (v *revocations) covers(c *Client) bool {
	if v.count.Load() == 0 {
		return false
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	var issued time.Time
	if c.Credential != nil {
		issued = c.Credential.Issued
	}
	if c.User != nil && v.refuses("user:"+c.User.ID, issued) {
		return true
	}
	for cred := c.Credential; cred != nil; cred = cred.Beside {
		if slices.ContainsFunc(cred.Names, func(name string) bool { return v.refuses(name, cred.Issued) }) {
			return true
		}
	}
	return false
}

// refuses reports whether a revocation has the name, and reaches what was issued at that time.
// Called with mu held.
func (v *revocations) refuses(name string, issued time.Time) bool {
	r, ok := v.by[name]
	return ok && !issued.Truncate(time.Second).After(r.Before)
}
