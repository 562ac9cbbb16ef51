package hub

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The part of the hub that knows which credentials count.

// Verifier verifies credentials. It is safe for concurrent use.
type Verifier interface {
	// Sources returns what vouches for its credentials, see [Credential.Sources].
	Sources() []string
	// Family is what verifiers have in common that make the same of a token, as those of one
	// handler do in two configurations. A session may only show tokens to those of its
	// [Client.Family].
	Family() string
	// Verify returns the user and the credential that a token speaks for, which a client at the
	// address has shown. It may block until ctx ends. Its error refuses the token.
	Verify(ctx context.Context, token string, from netip.Addr) (*User, *Credential, error)
}

// trust holds the verifiers and the sources that count.
type trust struct {
	mu        sync.RWMutex
	verifiers []Verifier
	sources   map[string]int // how many verifiers have it
}

// Trust lets the credentials of a verifier count until forget is called, which ends the
// sessions whose credentials do not count any more. A configuration calls Trust before it
// takes requests, and forget when the next one is in force.
func (h *Hub) Trust(v Verifier) (forget func()) {
	t := &h.trust
	sources := v.Sources()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sources == nil {
		t.sources = make(map[string]int)
	}
	for _, s := range sources {
		t.sources[s]++
	}
	t.verifiers = append(t.verifiers, v)
	return sync.OnceFunc(func() {
		if t.remove(v, sources) {
			h.endRefused()
		}
	})
}

// remove undoes Trust, and reports whether a source does not count any more.
func (t *trust) remove(v Verifier, sources []string) (lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.verifiers, v)
	t.verifiers = slices.Delete(t.verifiers, i, i+1)
	for _, s := range sources {
		if t.sources[s]--; t.sources[s] == 0 {
			delete(t.sources, s)
			lost = true
		}
	}
	return lost
}

// vouch returns the error with which a client is refused whose user or credential does not
// count, or nil.
func (h *Hub) vouch(c *Client) error {
	if err := c.User.Check(); err != nil {
		return err
	}
	cred := c.Credential
	if cred == nil && c.User == nil {
		return nil
	}
	if h.revoked.covers(c) {
		return fmt.Errorf("%w: it has been revoked", ErrCredential)
	}
	if cred == nil {
		return nil
	}
	if !cred.Expires.IsZero() && !time.Now().Before(cred.Expires) {
		return fmt.Errorf("%w: it has expired", ErrCredential)
	}
	h.trust.mu.RLock()
	defer h.trust.mu.RUnlock()
	for _, s := range cred.Sources {
		if h.trust.sources[s] == 0 {
			return ErrCredential
		}
	}
	return nil
}

// endRefused ends the sessions whose credentials do not count any more.
func (h *Hub) endRefused() {
	for _, s := range h.Sessions() {
		if h.vouch(s.who()) != nil {
			s.refuse(CauseCredential)
		}
	}
}

// refuse ends the session, since what let it in does not count any more. What waits for its client is
// not sent.
func (s *Session) refuse(cause Cause) {
	s.End(cause)
	s.revoked.Add(1)
	if w, ok := s.waker.(Revoker); ok {
		w.Revoke()
	}
}

// ErrNoVerifier refuses a token where none can be verified.
var ErrNoVerifier = errors.New("this server takes no tokens")

// verify returns what a token speaks for that a client has shown, by the verifier of its family that
// takes it.
func (h *Hub) verify(ctx context.Context, token string, c *Client) (*User, *Credential, error) {
	h.trust.mu.RLock()
	verifiers := slices.Clone(h.trust.verifiers)
	h.trust.mu.RUnlock()
	err := ErrNoVerifier
	for _, v := range slices.Backward(verifiers) { // the newest configuration first
		if v.Family() != c.Family {
			continue
		}
		user, cred, refused := v.Verify(ctx, token, c.Address)
		if refused == nil {
			return user, cred, nil
		}
		if errors.Is(err, ErrNoVerifier) {
			err = refused
		}
	}
	if errors.Is(err, ErrNoVerifier) && c.Family != "" { // a configuration took tokens that is not in force any more
		err = fmt.Errorf("%w: the configuration has changed: connect anew", ErrCredential)
	}
	return nil, nil, err
}
