package serve

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// begin parses where to begin. The first of these that is present decides: a last
// event id in the header (an EventSource always repeats its first URL, so the header is
// newer), or in the query; since; If-None-Match; last.
func (req *request) begin(h http.Header, query url.Values) error {
	if before := query.Get("before"); before != "" {
		if req.mode != modePage {
			return protocol.Bad("before pages backwards; it needs a GET with Accept: application/json")
		}
		var err error
		if req.before, err = message.ParsePosition(before); err != nil {
			return protocol.Bad("before: %v", err)
		}
		return nil
	}
	name, cursor := "Last-Event-ID", h.Get("Last-Event-Id")
	if cursor == "" {
		name, cursor = lastEventID(query)
	}
	if cursor == "" {
		name, cursor = "since", query.Get("since")
	}
	switch {
	case cursor != "":
		if err := req.cursor(cursor); err != nil {
			if req.mode == modePage && req.wait == 0 {
				return protocol.Bad("%s: %v", name, err)
			}
			req.invalidCursor = true // a gap: a 400 would end the client for good
		}
	case req.mode == modePage:
		req.conditional = req.etag(h.Values("If-None-Match"))
	}
	last := query.Get("last")
	if last == "" || req.invalidCursor || !req.after.IsZero() {
		return nil
	}
	var err error
	if req.last, req.age, err = protocol.ParseLast(last); err != nil {
		return protocol.Bad("last=%s: %v", last, err)
	}
	return nil
}

// lastEventID returns the last event id of the query, and its parameter's name.
// EventSource libraries that cannot send headers write it lastEventId, last-event-id,
// lastEventID or Last-Event-ID.
func lastEventID(query url.Values) (name, id string) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if id := query.Get(name); id != "" && isLastEventID(name) {
			return name, id
		}
	}
	return "", ""
}

func isLastEventID(name string) bool {
	return strings.EqualFold(strings.NewReplacer("-", "", "_", "").Replace(name), "lasteventid")
}

// cursor parses a cursor of one room or of several.
func (req *request) cursor(s string) (err error) {
	if len(s) > protocol.MaxCursor {
		return fmt.Errorf("a cursor may have at most %d bytes, this one has %d", protocol.MaxCursor, len(s))
	}
	if req.after, err = message.ParsePosition(s); err == nil || !strings.Contains(s, "=") {
		return err
	}
	req.cursors, err = protocol.ParseCursorSet(s)
	return err
}

// codings are the suffixes that proxies and other handlers add to the entity tag of a
// response that they compress.
var codings = []string{"-gzip", "-br", "-zstd", "-deflate", ";gzip", ";br"}

// etag takes the first cursor among entity tags, weak or strong (RFC 9110, section
// 13.1.2). It ignores tags that are not cursors.
func (req *request) etag(values []string) (found bool) {
	for _, v := range values {
		for {
			_, rest, opened := strings.Cut(v, `"`)
			tag, after, closed := strings.Cut(rest, `"`)
			if !opened || !closed {
				break
			}
			for _, coding := range codings {
				tag = strings.TrimSuffix(tag, coding)
			}
			if req.cursor(tag) == nil {
				return true
			}
			v = after
		}
	}
	req.after, req.cursors = hub.Position{}, nil
	return false
}

// cursorOf returns the client's cursor for a room, or zero.
func (req *request) cursorOf(room string) hub.Position {
	if p, ok := req.cursors.Find(room); ok {
		return p
	}
	return req.after
}
