package ws_test

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/ws"
)

// closed is an authorizer that lets nobody into a room.
type closed string

func (c closed) Decide(_ hub.Principal, verb hub.Verb, room string) bool {
	return room != string(c) && verb != hub.VerbModerate
}

const (
	leftFrame  = `text:{"op":"left","room":"lobby","status":403,"title":"not allowed any more"}`
	closeFrame = "close:4403:not allowed any more"
)

// A connection that loses its room is told so in the way that it speaks, and gets nothing
// more of that room. One that speaks realtime.v1 goes on.
func TestLostRoom(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*ws.Options)
		want   []string
	}{
		{"raw", nil, []string{closeFrame}},
		{"envelopes", envelope, []string{leftFrame, closeFrame}},
		{"realtime.v1", func(o *ws.Options) { o.Session = true }, []string{leftFrame}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := listen(t, configured(), func(o *ws.Options) {
				if test.change != nil {
					test.change(o)
				}
			})
			c := s.dial(t)
			for got := ""; test.change != nil && !strings.Contains(got, `"op":"ready"`); {
				got = c.next()
			}
			if test.name == "realtime.v1" {
				c.next() // the answer to the join
			}
			publish(t, s.hub, message.Text, "before")
			if got := c.next(); !strings.Contains(got, "before") {
				t.Fatalf("got %q", got)
			}
			s.hub.Authorize(closed(room))
			s.hub.Authorize(nil) // and given back, which nobody is told
			publish(t, s.hub, message.Text, "after")
			c.expect(test.want...)
			if test.name != "realtime.v1" {
				s.hub.Authorize(nil)
				c.send(masked(fin|closes, closing(4403, "")))
				s.ended(t, hub.CauseForbidden)
				return
			}
			c.send(masked(fin|text, `{"op":"join","ref":1,"room":"lobby"}`))
			if got := c.next(); !strings.Contains(got, `"op":"ok","ref":1`) {
				t.Errorf("coming back: %q", got)
			}
		})
	}
}
