package realtime

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/protocol"
)

// astray is what is known about requests for rooms that miss the handler: another
// directive has changed their path, or the handler is in a block that they do not
// reach. Rooms are not served by the original path, since the handlers that protect
// them have judged by the present one.
type astray struct {
	deeper []string // prefixes below ours of later handlers
	later  []string // other prefixes of later handlers
	by     string   // the directive that changes the paths of rooms; may be empty
	remedy string   // what to write instead; empty: nothing is known to be wrong
	never  bool     // no other handler answers in the block for other paths that we are in
}

// findAstray finds out whether requests for rooms can reach the handler, and logs a
// warning if not. asked says that the prefix was configured.
func (h *Handler) findAstray(s *surroundings, asked bool) {
	h.astray.deeper, h.astray.later = s.deeper, s.later
	const room = "lobby" // an example
	j := s.travel(h.Prefix+room, h.Prefix)
	switch {
	case j.arrived && isBelow(j.end, h.Prefix):
		return
	case j.arrived && len(j.stripped) > 0:
		j.closed = j.stripped
	case j.hidden != "":
		h.hidden(j.hidden)
		return
	case j.arrived:
		return
	}
	var nested, other, changed string
	for _, pattern := range j.closed {
		base, many := strings.CutSuffix(pattern, "*")
		if strings.ContainsAny(base, "*{%") {
			return // too complex to judge
		}
		if alone := s.travel(base, h.Prefix); !many && alone.arrived && isBelow(alone.end, h.Prefix) {
			return // the block is for a single room
		}
		base, _ = strings.CutSuffix(base, "/")
		here, below := s.travel(base+"/"+room, h.Prefix), s.travel(base+h.Prefix+room, h.Prefix)
		switch {
		case here.arrived && isBelow(here.end, h.Prefix):
			return
		case below.arrived && isBelow(below.end, h.Prefix):
			nested = base + h.Prefix
		}
		if !here.arrived {
			changed = here.changed
		} else if dir := path.Dir(here.end); other == "" && here.end != dir {
			other = strings.TrimSuffix(dir, "/") + "/"
		}
	}
	switch {
	case len(j.closed) == 0:
	case other == "" && changed != "":
		h.hidden(changed)
	case nested != "" && asked:
		// Rooms below both paths are intended.
	default:
		h.misplaced(j.closed, nested, other)
		h.astray.never = !s.shares(j.block)
	}
}

// hidden notes that a directive before the handler changes the paths of rooms.
func (h *Handler) hidden(by string) {
	h.astray.by, h.astray.remedy = by, h.apart()
	h.log.Warn("a directive before realtime rewrites the paths of rooms, so no request reaches them",
		"directive", by, "prefix", h.Prefix, "remedy", h.astray.remedy)
}

// apart returns the remedy for rooms whose paths are rewritten.
func (h *Handler) apart() string {
	return fmt.Sprintf("put realtime in a block of its own, handle %s* { realtime }, and the rest of the site, with the rewrite, in handle { … }", h.Prefix)
}

// misplaced notes that the block around the handler matches other paths than its
// prefix. nested is the path below which rooms are found all the same, if any; other is
// the prefix that would match the block.
func (h *Handler) misplaced(block []string, nested, other string) {
	h.astray.remedy = fmt.Sprintf("put realtime in handle %s* { … }", h.Prefix)
	if other != "" {
		h.astray.remedy = fmt.Sprintf("set prefix %s in the realtime block", other)
	}
	attributes := []any{"block", strings.Join(block, " "), "prefix", h.Prefix, "remedy", h.astray.remedy}
	if nested != "" {
		h.log.Warn("the block around realtime matches other paths than its prefix: rooms are found only below both", append(attributes, "rooms", nested)...)
		return
	}
	h.log.Warn("the block around realtime matches other paths than its prefix: no request can reach a room", attributes...)
}

// pass passes a request outside the prefix on to the next handler. If the request was
// for a room before its path was changed, or can only have been meant for one, it gets
// an answer that says why it failed.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	original, _ := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	taken := original.URL != nil && isBelow(original.URL.Path, h.Prefix) && !isBelow(r.URL.Path, h.Prefix)
	switch {
	case slices.ContainsFunc(h.astray.later, func(p string) bool { return isBelow(r.URL.Path, p) }):
		return next.ServeHTTP(w, r)
	case taken && h.astray.remedy == "":
		return h.stray(w, r, "a directive such as try_files, rewrite or uri", h.apart())
	case taken && h.astray.by != "":
		return h.stray(w, r, h.astray.by, h.astray.remedy)
	case taken, h.astray.never:
		return h.stray(w, r, "", h.astray.remedy)
	case h.astray.remedy == "", h.astray.by != "":
		return next.ServeHTTP(w, r)
	}
	late := newLateWriter(w)
	err := next.ServeHTTP(late, r)
	switch {
	case late.begun:
	case err != nil:
		if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok && (e.StatusCode == http.StatusNotFound || e.StatusCode == http.StatusMethodNotAllowed) {
			return h.stray(w, r, "", h.astray.remedy)
		}
	case late.status != 0:
		late.begin()
	default: // no handler has answered
		return h.stray(w, r, "", h.astray.remedy)
	}
	return err
}

// stray answers a request that has missed its room, and says why.
func (h *Handler) stray(w http.ResponseWriter, r *http.Request, by, remedy string) error {
	detail := fmt.Sprintf("rooms are below %s, and this path is not; in the Caddyfile, %s", h.Prefix, remedy)
	if by != "" {
		detail = fmt.Sprintf("%s changed this path before realtime saw it; in the Caddyfile, %s", by, remedy)
	}
	w.Header().Set("Cache-Control", "no-store")
	return h.refuse(w, r, &protocol.Problem{Status: http.StatusNotFound, Title: "no room", Detail: detail})
}
