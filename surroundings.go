package realtime

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// surroundings is a request's way to the handler: the routes around the handler, from
// the outermost inwards, and the rewrites before it.
type surroundings struct {
	server *caddyhttp.Server
	steps  []step
	deeper []string // prefixes below ours of later handlers
	later  []string // other prefixes of later handlers
}

// step is a route around the handler, or a rewrite before it.
type step struct {
	sets    []caddyhttp.MatcherSets // all must match
	rewrite *rewrite.Rewrite        // nil: a route around the handler
	name    string                  // the directive that the rewrite probably comes from
	shared  bool                    // of a route: other handlers in its list may answer after it
}

// lookAround finds the surroundings while the handler is provisioned: only then does
// Caddy know them. In each list of routes, the first route whose handlers are not all
// loaded is the one around the handler; those before it have been provisioned.
func lookAround(ctx caddy.Context, server *caddyhttp.Server, h *Handler) *surroundings {
	s := &surroundings{server: server}
	line := ctx.Modules()
	for i, m := range line[:max(0, len(line)-1)] {
		var routes caddyhttp.RouteList
		switch m := m.(type) {
		case *caddyhttp.App:
			if server != nil {
				routes = server.Routes
			}
		case *caddyhttp.Subroute:
			routes = m.Routes
		}
		holder := holder(routes)
		if holder < 0 {
			continue // a named route, or a handler with routes of its own kind
		}
		s.before(routes[:holder], routes[holder].Group, nil, false)
		raw := routes[holder].HandlersRaw
		s.steps = append(s.steps, step{sets: []caddyhttp.MatcherSets{routes[holder].MatcherSets}})
		here := &s.steps[len(s.steps)-1]
		at := slices.IndexFunc(raw, func(raw json.RawMessage) bool { return isHandler(raw, line[i+1], h) })
		if at < 0 {
			continue
		}
		here.shared = answer(raw[at+1:]) || slices.ContainsFunc(routes[holder+1:], func(r caddyhttp.Route) bool { return answer(r.HandlersRaw) })
		for _, raw := range raw[:at] {
			s.beforeRaw(ctx, raw, nil, false)
		}
		if i == len(line)-2 {
			s.after(raw[at+1:], routes[holder+1:], h.Prefix)
		}
	}
	return s
}

// holder returns the index of the route whose handlers are being provisioned, or -1.
func holder(routes caddyhttp.RouteList) int {
	return slices.IndexFunc(routes, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 })
}

// rawHandler has the fields needed here of a handler that is not loaded yet.
type rawHandler struct {
	Handler string              `json:"handler"`
	Hub     string              `json:"hub"`
	Prefix  string              `json:"prefix"`
	Routes  caddyhttp.RouteList `json:"routes"`
}

// isHandler reports whether raw may be the module m.
func isHandler(raw json.RawMessage, m caddy.Module, h *Handler) bool {
	var r rawHandler
	if json.Unmarshal(raw, &r) != nil || r.Handler != m.CaddyModule().ID.Name() {
		return false
	}
	return m != caddy.Module(h) || r.Hub == h.Hub && (r.Prefix == h.Prefix || r.Prefix == "" && h.Prefix == defaultPrefix)
}

// answer reports whether any of the handlers may answer requests. A list of names has
// the standard handlers that do not.
func answer(raw []json.RawMessage) bool {
	return slices.ContainsFunc(raw, func(raw json.RawMessage) bool {
		var r rawHandler
		if json.Unmarshal(raw, &r) != nil {
			return true
		}
		switch r.Handler {
		case "realtime", "encode", "headers", "intercept", "log_append", "map", "push", "request_body", "rewrite", "templates", "tracing", "vars":
			return false
		case "subroute":
			return slices.ContainsFunc(r.Routes, func(r caddyhttp.Route) bool { return answer(r.HandlersRaw) })
		}
		return true
	})
}

// before notes the rewrites in routes before the handler. Routes of the handler's own
// group are left out, since Caddy takes only one route of a group, and terminal ones,
// since nothing comes after them.
func (s *surroundings) before(routes caddyhttp.RouteList, group string, around []caddyhttp.MatcherSets, nested bool) {
	for _, r := range routes {
		if group != "" && r.Group == group || r.Terminal {
			continue
		}
		sets := append(slices.Clip(around), r.MatcherSets)
		for _, h := range r.Handlers {
			switch h := h.(type) {
			case *rewrite.Rewrite:
				s.steps = append(s.steps, step{sets: sets, rewrite: h, name: directive(h, nested)})
			case *caddyhttp.Subroute:
				s.before(h.Routes, "", sets, true)
			}
		}
	}
}

// beforeRaw does the same for a handler in the same route, which is known only as JSON.
func (s *surroundings) beforeRaw(ctx caddy.Context, raw json.RawMessage, around []caddyhttp.MatcherSets, nested bool) {
	var r rawHandler
	if json.Unmarshal(raw, &r) != nil {
		return
	}
	switch r.Handler {
	case "rewrite":
		rw := new(rewrite.Rewrite)
		if json.Unmarshal(raw, rw) == nil && rw.Provision(ctx) == nil {
			s.steps = append(s.steps, step{sets: around, rewrite: rw, name: directive(rw, nested)})
		}
	case "subroute":
		for _, route := range r.Routes {
			if sets, ok := rawMatchers(route.MatcherSetsRaw); ok && !route.Terminal {
				for _, raw := range route.HandlersRaw {
					s.beforeRaw(ctx, raw, append(slices.Clip(around), sets), true)
				}
			}
		}
	}
}

// after notes the prefixes of realtime handlers that come after this one.
func (s *surroundings) after(raw []json.RawMessage, routes caddyhttp.RouteList, prefix string) {
	for _, r := range routes {
		if len(r.MatcherSets) == 0 {
			raw = append(slices.Clip(raw), r.HandlersRaw...)
		}
	}
	for _, raw := range raw {
		var r rawHandler
		if json.Unmarshal(raw, &r) != nil || r.Handler != "realtime" {
			continue
		}
		if r.Prefix == "" {
			r.Prefix = defaultPrefix
		}
		switch {
		case len(r.Prefix) > len(prefix) && isBelow(r.Prefix, prefix):
			s.deeper = append(s.deeper, r.Prefix)
		default:
			s.later = append(s.later, r.Prefix)
		}
	}
}

// directive returns the directive that a rewrite probably comes from.
func directive(rw *rewrite.Rewrite, nested bool) string {
	switch {
	case strings.Contains(rw.URI, "{http.matchers.file.") && nested:
		return "try_files or php_fastcgi"
	case strings.Contains(rw.URI, "{http.matchers.file."):
		return "try_files"
	case rw.URI != "":
		return "rewrite"
	case rw.StripPathPrefix != "":
		return "handle_path or uri strip_prefix"
	default:
		return "uri"
	}
}

// journey is how a request's path changes on its way to the handler.
type journey struct {
	end      string
	arrived  bool
	changed  string   // the directive that changed the path first
	hidden   string   // the directive that took the path out of the handler's prefix
	stripped []string // the paths of a block that strips them, like handle_path
	closed   []string // the paths of the route that does not match
	block    int      // the step that is that block, or route
}

// travel follows a path on the way to the handler with the prefix. A route is passed
// unless it certainly does not match; a rewrite is applied only if it certainly matches.
func (s *surroundings) travel(path, prefix string) (j journey) {
	// Placeholders in rewrites need an address.
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return journey{}
	}
	var block []string
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, nil, s.server)
	held := 0
	for i, step := range s.steps {
		verdict := step.match(r)
		if step.rewrite == nil {
			if verdict == no {
				j.end, j.closed, j.block = r.URL.Path, paths(step.sets), i
				return j
			}
			held = i
			block = append(paths(step.sets), block...)
			continue
		}
		if verdict != yes {
			continue
		}
		before := r.URL.Path
		step.rewrite.Rewrite(r, repl)
		if j.changed == "" && r.URL.Path != before {
			j.changed = step.name
		}
		if j.hidden == "" && isBelow(before, prefix) && !isBelow(r.URL.Path, prefix) {
			j.hidden = step.name
			if step.rewrite.StripPathPrefix != "" {
				j.stripped, j.block = block, held
			}
		}
	}
	j.end, j.arrived = r.URL.Path, true
	return j
}

// shares reports whether other handlers in a block, given as a step, may answer requests
// that the handler passes on.
func (s *surroundings) shares(block int) bool {
	inside := slices.DeleteFunc(slices.Clone(s.steps[block+1:]), func(s step) bool { return s.rewrite != nil })
	if len(inside) == 0 {
		inside = s.steps[block : block+1] // the handler's own route
	}
	return slices.ContainsFunc(inside, func(s step) bool { return s.shared })
}

// isBelow reports whether a path lies below the prefix. Letter case is ignored.
func isBelow(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix)
}
