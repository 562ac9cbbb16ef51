package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// When a JWK set is fetched.
const (
	refreshEvery = 15 * time.Minute // give or take a tenth, so that servers do not ask all at once
	firstRetry   = time.Second      // after a failure; doubled for each in a row
	lastRetry    = time.Minute
	unknownEvery = 5 * time.Minute // for keys that the set does not have
	goodFor      = 24 * time.Hour  // how long a set counts if no newer one can be fetched
	patience     = 2 * time.Second // how long a request waits for a fetch
)

// remote has the keys of a JWK set.
type remote struct {
	url        string
	source     string   // see Token.Source
	algorithms []string // that its keys may be used for
	listed     []string // the algorithms of the configuration; none: each key has its own
	client     *http.Client
	log        *slog.Logger

	stop func() // set by start; ends the goroutine
	done sync.WaitGroup
	wake chan struct{} // asks the goroutine for a fetch; has room for one

	mu      sync.Mutex
	keys    []*key
	fetched time.Time     // when the keys were; zero: never
	ended   chan struct{} // closed when the present or next fetch ends, then replaced
	asked   bool          // a fetch for an unknown key was asked for, and none has ended since
	askedAt time.Time     // when that was
}

// remote checks what the configuration says about the JWK set.
func (c *Config) remote(log *slog.Logger) (*remote, error) {
	if err := CheckURL(c.JWKS); err != nil {
		return nil, err
	}
	switch {
	case c.Issuer == "":
		return nil, errors.New("jwks needs issuer")
	case len(c.Audience) == 0 && !c.AnyAudience:
		return nil, errors.New("jwks needs audience; with audience any, tokens for other services of the issuer are accepted")
	}
	r := &remote{
		url: c.JWKS, listed: c.Algorithms, client: newClient(), log: log,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	for _, a := range keyAlgorithms {
		if len(c.Algorithms) == 0 || slices.Contains(c.Algorithms, a) {
			r.algorithms = append(r.algorithms, a)
		}
	}
	if len(r.algorithms) == 0 {
		return nil, errors.New("jwks needs algorithms for public keys, like RS256")
	}
	var err error
	r.source, err = sourceOf("jwks", []byte(c.JWKS))
	return r, err
}

func (r *remote) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.done.Go(func() { r.run(ctx) })
}

func (r *remote) close() {
	if r.stop == nil {
		return
	}
	r.stop()
	r.done.Wait()
}

// run fetches the set: at once, again and again, and when it is asked to.
func (r *remote) run(ctx context.Context) {
	for failures := 0; ; {
		next := refreshEvery
		switch err := r.refresh(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures == 0 {
				r.log.Error("cannot fetch the keys that verify tokens; trying again", slog.Any("error", err))
			}
			next = min(firstRetry<<min(failures, 10), lastRetry)
			failures++
		default:
			if failures > 0 {
				r.log.Info("fetched the keys that verify tokens", slog.Int("failures", failures))
			}
			failures = 0
		}
		next += rand.N(next/5) - next/10
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// refresh fetches the set once, and tells those who wait for it.
func (r *remote) refresh(ctx context.Context) error {
	keys, err := r.fetchSafely(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.keys, r.fetched = keys, time.Now().Round(0) // by the wall clock: machines sleep
	}
	r.asked = false
	select {
	case <-r.wake: // that was this fetch
	default:
	}
	close(r.ended)
	r.ended = make(chan struct{})
	return err
}

// fetchSafely turns a panic into an error: it would end the process.
func (r *remote) fetchSafely(ctx context.Context) (keys []*key, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.fetch(ctx)
}

// find returns the key with the kid, or without a kid the only one that fits the algorithm. It waits for
// a fetch if there is no set yet, or if the set does not have the kid, and was not fetched for
// such a reason lately.
func (r *remote) find(ctx context.Context, kid, algorithm string) (*key, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		k, wait := r.look(kid, algorithm)
		switch {
		case k != nil:
			return k, nil
		case wait == nil && kid == "":
			return nil, invalid("it has no kid, and not exactly one key fits")
		case wait == nil:
			return nil, invalid("its key is unknown")
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ErrUnavailable
		}
	}
}

// look looks for the key in the present set. If a fetch may bring it, it returns what to wait for.
func (r *remote) look(kid, algorithm string) (*key, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.fresh(now) {
		return nil, r.ended
	}
	var fit *key
	fits, known := 0, kid == ""
	for _, k := range r.keys {
		if kid != "" && k.kid != kid {
			continue
		}
		known = true
		if slices.Contains(k.algorithms, algorithm) {
			fit = k
			fits++
		}
	}
	switch {
	case fits == 1:
		return fit, nil
	case known:
		return nil, nil
	case !r.asked && now.Sub(r.askedAt) < unknownEvery:
		return nil, nil
	case !r.asked:
		r.asked, r.askedAt = true, now
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return nil, r.ended
}

// has reports whether the set still has the key.
func (r *remote) has(k *key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh(time.Now()) && slices.ContainsFunc(r.keys, func(o *key) bool {
		return o.kid == k.kid && o.thumbprint == k.thumbprint
	})
}

// fresh reports whether there is a set, and it is not too old. The caller holds the lock.
func (r *remote) fresh(now time.Time) bool {
	return !r.fetched.IsZero() && now.Sub(r.fetched) < goodFor
}
