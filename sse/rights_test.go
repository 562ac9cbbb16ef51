package sse_test

import (
	"io"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
)

// closed is an authorizer that lets nobody into a room.
type closed string

func (c closed) Decide(_ hub.Principal, verb hub.Verb, room string) bool {
	return room != string(c) && verb != hub.VerbModerate
}

const (
	leftEvent = "event: left\ndata: {\"op\":\"left\",\"room\":\"lobby\",\"status\":403,\"title\":\"not allowed any more\"}\n\n"
	byeEvent  = "event: bye\ndata: {\"op\":\"bye\",\"status\":403}\n\n"
)

// A stream that loses its room is told so, and ends: within its handler and without.
func TestLostRoom(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *stream) {
		s.take()
		s.publish("before")
		s.hub.Authorize(closed(room))
		s.hub.Authorize(nil)
		s.publish("after")
		if got := s.ended(hub.CauseForbidden); !strings.HasSuffix(got, leftEvent+byeEvent) || strings.Contains(got, "after") {
			t.Errorf("ends with %q", got)
		}
	})
	detach(t, events, func(t *testing.T, s *site) {
		_, r := s.get()
		until(t, r, "retry: ")
		s.publish("before")
		until(t, r, "data: before")
		s.hub.Authorize(closed(room))
		s.hub.Authorize(nil)
		s.publish("after")
		rest, err := io.ReadAll(r)
		if got := strings.TrimSpace(string(rest)) + "\n\n"; err != nil || got != leftEvent+byeEvent {
			t.Errorf("ends with %q, %v", got, err)
		}
		s.ended(hub.CauseForbidden)
	})
}
