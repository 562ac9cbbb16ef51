package realtime

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
)

// facts asks the matchers of a handler's allow about requests. What they tell belongs to
// the client for as long as its connection, so it is asked for once: much of what
// matchers go by is gone after the request.
type facts struct {
	matchers []*factMatcher
	log      *slog.Logger

	mu    sync.Mutex
	known map[string]*hub.Facts // by which matchers match, a byte each; clients share them
}

// factMatcher tells one fact.
type factMatcher struct {
	id     string
	name   string
	set    caddyhttp.MatcherSet
	failed sync.Once // the first error is logged
}

// maxKnown is how many sets of facts a handler keeps to share. Clients choose what
// matches, so that there may be many.
const maxKnown = 1024

// provisionFacts provisions the matchers of allow; nil if there are none.
func (h *Handler) provisionFacts(ctx caddy.Context, generation string) (*facts, error) {
	var all []*factMatcher
	err := h.allows(func(pattern string, a *Allow) error {
		if len(a.MatchRaw) == 0 {
			return nil
		}
		if err := a.provision(ctx, generation); err != nil {
			return fmt.Errorf("%s: %w", allowAt(pattern), err)
		}
		if !slices.ContainsFunc(all, func(m *factMatcher) bool { return m.id == a.fact }) {
			all = append(all, &factMatcher{id: a.fact, name: a.Name, set: a.set})
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &facts{matchers: all, log: h.log, known: make(map[string]*hub.Facts)}, nil
}

// provision loads the matchers.
func (a *Allow) provision(ctx caddy.Context, generation string) error {
	a.fact = factID(a.MatchRaw, generation)
	loaded, err := ctx.LoadModule(a, "MatchRaw")
	if err != nil {
		return fmt.Errorf("loading the matchers: %w", err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface([]map[string]any{loaded.(map[string]any)}); err != nil {
		return err
	}
	a.set = sets[0]
	return nil
}

// of returns what the matchers tell about a request; nil for nothing. An error is a no.
func (f *facts) of(r *http.Request) *hub.Facts {
	if f == nil {
		return nil
	}
	matching := make([]byte, len(f.matchers))
	for i, m := range f.matchers {
		ok, err := m.set.MatchWithError(r)
		if err != nil {
			m.failed.Do(func() {
				f.log.Error("a matcher of allow failed, which counts as no; more errors of it are not logged", "matcher", m.name, "error", err)
			})
		} else if ok {
			matching[i] = 1
		}
	}
	return f.share(matching)
}

// share returns the facts of the matchers that match, the same for equal ones.
func (f *facts) share(matching []byte) *hub.Facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.known[string(matching)]; ok {
		return known
	}
	var found *hub.Facts
	for i, m := range f.matchers {
		if matching[i] == 0 {
			continue
		}
		if found == nil {
			found = new(hub.Facts)
		}
		found.IDs = append(found.IDs, m.id)
	}
	if len(f.known) < maxKnown {
		f.known[string(matching)] = found
	}
	return found
}

// factID returns the id of what a set of matchers tells. A set that means the same after a
// reload has the same id then. generation is that of the configuration.
func factID(set caddy.ModuleMap, generation string) string {
	raw, err := json.Marshal(set)
	if err != nil {
		return "" // it was decoded, so this does not happen; access.New refuses it
	}
	if !isSteady(set) {
		raw = append(raw, generation...)
	}
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// steady are the matchers that go by the request and their own options alone. Others
// depend on the rest of the configuration, like client_ip (trusted_proxies), vars and
// expression, or on files. The server is known here, but its trusted_proxies is not: Caddy
// removes the JSON once it has loaded the module, which it keeps to itself.
var steady = []string{"header", "header_regexp", "host", "method", "path", "path_regexp", "protocol", "query", "remote_ip", "tls"}

// isSteady reports whether the matchers mean the same in any configuration.
func isSteady(set caddy.ModuleMap) bool {
	for name, raw := range set {
		var nested []caddy.ModuleMap
		switch {
		case name == "not":
			if json.Unmarshal(raw, &nested) != nil {
				return false
			}
			if slices.ContainsFunc(nested, func(n caddy.ModuleMap) bool { return !isSteady(n) }) {
				return false
			}
		case !slices.Contains(steady, name) || hasPlaceholder(raw):
			return false
		}
	}
	return true
}

// hasPlaceholder reports whether a text in the JSON, or a key, has a brace: it may be a
// placeholder's.
func hasPlaceholder(raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return true
	}
	var search func(value any) bool
	search = func(value any) bool {
		switch v := value.(type) {
		case string:
			return strings.Contains(v, "{")
		case []any:
			return slices.ContainsFunc(v, search)
		case map[string]any:
			for key, member := range v {
				if search(key) || search(member) {
					return true
				}
			}
		}
		return false
	}
	return search(value)
}
