package realtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-realtime/realtime/protocol"
)

// placement is where a handler stands among the routes of its server, as far as
// that keeps requests from it.
type placement struct {
	rewriter string   // the directive before it that gives its requests another path; empty: none is known
	paths    []string // the only paths that come to it, none of which its rooms have; nil: there is no such thing
	stripped bool     // the beginning of these is taken off before it
	hosts    []string // patterns of hosts that share its rooms
}

// place finds out where the handler stands, and warns. It is called in Provision:
// the routes before the handler are provisioned then, and it itself is not (see
// caddyhttp.RouteList).
func (h *Handler) place(ctx caddy.Context) {
	lists := []caddyhttp.RouteList{h.server.Routes}
	for _, m := range ctx.Modules() {
		if s, ok := m.(*caddyhttp.Subroute); ok {
			lists = append(lists, s.Routes)
		}
	}
	for _, routes := range lists {
		for i := range routes {
			route := &routes[i]
			if len(route.HandlersRaw) == 0 {
				for _, handler := range route.Handlers {
					if rw, ok := handler.(*rewrite.Rewrite); ok {
						h.passed(ctx, rw, route.MatcherSets)
					}
				}
				continue
			}
			h.within(ctx, route)
			break
		}
	}
	h.warn()
}

// within looks at a route that holds the handler.
func (h *Handler) within(ctx caddy.Context, route *caddyhttp.Route) {
	p := &h.placement
	for _, set := range route.MatcherSets {
		for _, m := range set {
			switch m := m.(type) {
			case caddyhttp.MatchPath:
				p.paths = append(p.paths, m...)
			case *caddyhttp.MatchPath:
				p.paths = append(p.paths, *m...)
			case caddyhttp.MatchHost:
				p.hosts = append(p.hosts, m...)
			case *caddyhttp.MatchHost:
				p.hosts = append(p.hosts, *m...)
			}
		}
	}
	// Handlers of one route are loaded together, so those before it are raw.
	for _, raw := range route.HandlersRaw {
		var before struct {
			Handler string `json:"handler"`
			rewrite.Rewrite
		}
		if bytes.Contains(raw, []byte(`"realtime"`)) || json.Unmarshal(raw, &before) != nil {
			return
		}
		if before.Handler == "rewrite" {
			h.passed(ctx, &before.Rewrite, nil)
		}
	}
}

// passed notes what a rewrite before the handler means for it.
func (h *Handler) passed(ctx caddy.Context, rw *rewrite.Rewrite, sets caddyhttp.MatcherSets) {
	p := &h.placement
	prefix := strings.TrimSuffix(h.Prefix, "/")
	if strip := rw.StripPathPrefix; strip != "" {
		p.stripped = true
		if h.Prefix != "/" && strings.HasPrefix(strings.ToLower(prefix)+"/", strings.ToLower(strings.TrimSuffix(strip, "/"))+"/") {
			p.rewriter = "uri strip_prefix"
		}
	}
	uri, _, _ := strings.Cut(rw.URI, "?")
	keeps := uri == "" || strings.HasPrefix(uri, "{http.request.") || strings.HasPrefix(strings.ToLower(uri), strings.ToLower(h.Prefix))
	if keeps || h.Prefix == "/" || !h.concerns(ctx, sets) {
		return
	}
	if p.rewriter = "rewrite"; strings.Contains(uri, "{http.matchers.file.") {
		p.rewriter = "try_files"
	}
}

// concerns reports whether matchers let a request for a room pass, whatever files
// there are.
func (h *Handler) concerns(ctx caddy.Context, sets caddyhttp.MatcherSets) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+h.Prefix+"lobby", nil)
	if err != nil {
		return false
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, h.server)
	for _, set := range sets {
		others := make(caddyhttp.MatcherSet, 0, len(set))
		for _, m := range set {
			if _, ok := m.(*fileserver.MatchFile); !ok {
				others = append(others, m)
			}
		}
		if ok, err := others.MatchWithError(r); ok || err != nil {
			return true
		}
	}
	return len(sets) == 0
}

// warn tells what keeps requests from the handler.
func (h *Handler) warn() {
	p := &h.placement
	if !p.stripped && len(p.paths) > 0 {
		for _, path := range p.paths {
			if overlaps(path, h.Prefix) {
				p.paths = nil
				break
			}
		}
	} else if h.Prefix == "/" || !p.stripped {
		p.paths = nil
	}
	if p.rewriter != "" {
		h.log.Warn("a directive before realtime gives its requests another path, so rooms are not served: put realtime into a handle of its own, which is not rewritten",
			"directive", p.rewriter, "remedy", h.remedy())
	}
	if p.paths != nil {
		h.log.Warn("realtime is reached by other paths than those of its rooms: say the prefix in its block",
			"paths", p.paths, "prefix", h.Prefix)
	}
	for _, host := range p.hosts {
		if strings.Contains(host, "*") {
			h.log.Warn("all hosts that match share the rooms of realtime: give sites of their own to those that shall not, each with a hub of its own",
				"host", host, "hub", h.Hub)
		}
	}
}

// overlaps reports whether a path matcher may let a path below the prefix pass.
func overlaps(pattern, prefix string) bool {
	pattern, prefix = strings.ToLower(pattern), strings.ToLower(prefix)
	base, star := strings.CutSuffix(pattern, "*")
	switch {
	case strings.ContainsAny(base, "*{%"):
		return true // who knows
	case star:
		return strings.HasPrefix(base, prefix) || strings.HasPrefix(prefix, base)
	default:
		return strings.HasPrefix(pattern, prefix)
	}
}

func (h *Handler) remedy() string { return "handle " + h.Prefix + "* { realtime }" }

// rewritten returns the problem of a request for a room that has been given another
// path, or nil. The room is not served all the same: whatever protects it has judged
// by the other path.
func (h *Handler) rewritten(r *http.Request) error {
	was, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || was.URL == nil || h.Prefix == "/" || !h.below(was.URL.Path) {
		return nil
	}
	directive := h.placement.rewriter
	if directive == "" {
		directive = "try_files, rewrite or uri"
	}
	return &protocol.Problem{
		Status: http.StatusNotFound, Title: "rewritten",
		Detail: fmt.Sprintf("a directive before realtime (%s) has made %s of this path; put realtime into a handle of its own: %s", directive, r.URL.Path, h.remedy()),
	}
}

// elsewhere serves a request that is not for a room where the handler can be reached
// by no path of a room: if nobody else answers, it says so.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	seen := &answered{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	if err := next.ServeHTTP(seen, r); err != nil || seen.yes {
		return err
	}
	return h.refuse(w, r, &protocol.Problem{
		Status: http.StatusNotFound, Title: "not a room",
		Detail: fmt.Sprintf("rooms are below %s here, and this path, as it came to realtime, is %s; say prefix in the block of realtime (in handle_path: prefix /)", h.Prefix, r.URL.Path),
	})
}

// answered notes whether somebody has answered.
type answered struct {
	*caddyhttp.ResponseWriterWrapper
	yes bool
}

// WriteHeader implements [http.ResponseWriter].
func (a *answered) WriteHeader(status int) {
	a.yes = true
	a.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answered) Write(p []byte) (int, error) {
	a.yes = true
	return a.ResponseWriterWrapper.Write(p)
}

// Unwrap is for [http.ResponseController], by which a connection may be taken over.
func (a *answered) Unwrap() http.ResponseWriter {
	a.yes = true
	return a.ResponseWriter
}
