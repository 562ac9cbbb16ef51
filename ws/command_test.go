package ws_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws"
)

// session makes the server speak realtime.v1 in no room yet.
func session(o *ws.Options) {
	o.Session, o.Rooms = true, nil
	o.Client.Presence = hub.PresenceSome
}

// commands returns a frame of commands, one a line.
func commands(lines ...string) []byte { return masked(fin|text, strings.Join(lines, "\n")) }

func TestSession(t *testing.T) {
	s := listen(t, configured(), session, func(o *ws.Options) { o.Heartbeat = 25 * time.Second })
	ann, bob := s.dial(t), s.dial(t)
	for _, c := range []*client{ann, bob} {
		c.expect(`text:{"op":"ready","conn":"*`)
	}
	ann.send(commands(`{"op":"join","room":"a","ref":1,"state":{"name":"Ann"}}`))
	ann.expect(`text:{"op":"ok","ref":1,"room":"a","cursor":"*`, `text:{"op":"presence","room":"a","members":1,"here":[{"id":"~*`)
	bob.send(commands(`{"op":"join","room":"a"}`, ``, `{"op":"join","room":"b","ref":2}`))
	bob.expect(`text:{"op":"ok","room":"a","cursor":"*`)
	told := bob.until(`text:{"op":"ok","ref":2,"room":"b"*`, `text:{"op":"presence","room":"a","members":2,"here":[*`, `text:{"op":"presence","room":"b","members":1,"here":[]}`)
	if !strings.Contains(told[1], `"state":{"name":"Ann"}`) {
		t.Errorf("bob is told %s", told[1])
	}

	ann.send(commands(`{"op":"publish","room":"a","ref":3,"data":{"text":"hi"},"key":"k1"}`, `{"op":"signal","room":"a","event":"typing","data":1}`))
	ann.until(`text:{"op":"ok","ref":3,"room":"a","id":"*`, `text:{"id":"*`)
	got := bob.until(`text:{"id":"*`, `text:{"op":"signal","room":"a","event":"typing","data":1,*`)
	if !strings.Contains(got[0], `"key":"k1"`) {
		t.Errorf("message %s", got[0])
	}
	bob.send(commands(`{"op":"publish","room":"b","data":"to b"}`, `{"op":"history","room":"b","ref":5}`))
	bob.until(`text:{"id":"*`, `text:{"op":"ok","ref":5,"room":"b","messages":[{"id":*`)
	bob.send(commands(`{"op":"leave","room":"b","ref":6}`, `{"op":"publish","room":"b","ref":7,"data":"unseen"}`))
	bob.until(`text:{"op":"ok","ref":6,"room":"b"}`, `text:{"op":"ok","ref":7,*`)

	// Bob's signs of life, and no signal came back to Ann.
	bob.send(commands(""), commands("\n"), commands("\r\n"))
	bob.until("text:\n", "text:\n", "text:\n")
	ann.send(commands(""))
	if told := ann.until("text:\n"); len(told) != 1 {
		t.Errorf("ann is told %q", told)
	}
	bob.send(masked(fin|closes, closing(1000, "")))
	bob.until("close:1000:")
}

// until reads until all that is wanted has come, in any order, and returns it in
// the order of what is wanted. Presence that is not wanted may come between.
func (c *client) until(want ...string) []string {
	c.t.Helper()
	got := make([]string, len(want))
	for left := len(want); left > 0; {
		frame := c.next()
		at := -1
		for i, w := range want {
			prefix, open := strings.CutSuffix(w, "*")
			if got[i] == "" && (frame == w || open && strings.HasPrefix(frame, prefix)) {
				at = i
				break
			}
		}
		switch {
		case at >= 0:
			got[at] = frame
			left--
		case !strings.HasPrefix(frame, `text:{"op":"presence"`):
			c.t.Fatalf("frame %s, and what is wanted is %q, of which came %q", short(frame), want, got)
		}
	}
	return got
}

// Rooms in the URL are joined before anything is asked, and each is answered.
func TestSessionWithRooms(t *testing.T) {
	s := listen(t, configured(), session, func(o *ws.Options) {
		o.Client.Presence, o.Client.Scope = hub.PresenceNothing, []string{"a", "b"}
		o.Rooms = []protocol.JoinRequest{{Room: "a", Start: hub.Start{Last: 1}}, {Room: "b", Start: hub.Start{InvalidCursor: true}}}
	})
	c := s.dial(t)
	c.expect(`text:{"op":"ready","conn":"*`, `text:{"op":"ok","room":"a","cursor":"*`, `text:{"op":"ok","room":"b","recovered":false,"can":*`, `text:{"op":"gap","room":"b","to":"*`)
	c.send(commands(`{"op":"publish","room":"a","data":1}`))
	c.expect(`text:{"id":"*`)
	// Handlers before the module judge by the URL.
	for _, op := range []string{`"join"`, `"publish","data":1`, `"history"`, `"state","state":1`, `"signal","event":"e"`, `"leave"`} {
		c.send(commands(`{"op":` + op + `,"room":"staff","ref":1}`))
		c.expect(`text:{"op":"error","ref":1,"room":"staff","status":403,"title":"not allowed"*`)
	}
	if n := s.hub.Stats().Rooms; n != 2 {
		t.Errorf("%d rooms", n)
	}
}

// Before a planned end there is a time to come back.
func TestBye(t *testing.T) {
	s := listen(t, configured(), session)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	for _, session := range s.hub.Sessions() {
		session.End(hub.CauseDraining)
	}
	c.expect(`text:{"op":"bye","status":503,"retry_ms":[500,3000]}`, "close:1012:*")
	c.send(masked(fin|closes, closing(1012, "")))
	c.expect("end")
}

// A room that is joined again is sent again, from the cursor that is asked for.
func TestJoinAgain(t *testing.T) {
	s := listen(t, configured(), session, func(o *ws.Options) { o.Client.Presence = hub.PresenceNothing })
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	c.send(commands(`{"op":"publish","room":"a","data":1}`, `{"op":"publish","room":"a","data":2}`, `{"op":"join","room":"a"}`, `{"op":"join","room":"a","last":2}`))
	c.expect(`text:{"op":"ok","room":"a"*`, `text:{"op":"ok","room":"a"*`, `text:{"id":"*`, `text:{"id":"*`)
	if n := s.hub.SubscriberCount("a"); n != 1 {
		t.Errorf("%d sessions in the room", n)
	}
}

func TestRubbish(t *testing.T) {
	s := listen(t, configured(), session)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	for i := range 3 { // sense in between forgives
		for range 10 {
			c.send(commands(`{"op":"dance"}`))
			c.expect(`text:{"op":"error","status":400,"title":"bad request","detail":"op: *`)
		}
		if i < 2 {
			c.send(commands(`{"op":"leave","room":"a","ref":1}`))
			c.expect(`text:{"op":"ok","ref":1,"room":"a"}`)
		}
	}
	c.send(masked(fin|bin, "bytes"))
	c.expect(`text:{"op":"error","status":400,"title":"bad request","detail":"commands must be text, not bytes"}`, `close:4400:*`)
	c.send(masked(fin|closes, closing(4400, "")))
	c.expect("end")
	s.ended(t, hub.CauseCommand)
}

func TestSessionRate(t *testing.T) {
	s := listen(t, configured(rated(1)), session)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	c.send(commands(`{"op":"publish","room":"a","data":1}`))
	for range 10 {
		c.send(commands(`{"op":"publish","room":"a","data":1,"ref":4}`))
		c.expect(`text:{"op":"error","ref":4,"room":"a","status":429,"title":"too many messages","detail":"rate is *`)
	}
	c.send(commands(`{"op":"publish","room":"a","data":1}`))
	c.expect(`text:{"op":"error","room":"a","status":429*`, "close:4429:too many messages")
	c.send(masked(fin|closes, closing(4429, "")))
	c.expect("end")
	s.ended(t, hub.CauseRate)
}

func TestSessionLimits(t *testing.T) {
	s := listen(t, configured(func(s *settings.Settings) { s.MaxMessageSize = 100 }), session)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	c.send(commands(fmt.Sprintf(`{"op":"publish","room":"a","ref":1,"data":"%s"}`, strings.Repeat("x", 101))))
	c.expect(`text:{"op":"error","ref":1,"room":"a","status":413,"title":"message too large","detail":"max_message_size is 100"}`)
	for i := range settings.MaxRoomsJoined {
		c.send(commands(fmt.Sprintf(`{"op":"join","room":"r%d","ref":%d}`, i, i)))
		c.until(fmt.Sprintf(`text:{"op":"ok","ref":%d,*`, i))
	}
	c.send(commands(`{"op":"join","room":"more","ref":7}`))
	c.until(`text:{"op":"error","ref":7,"room":"more","status":400,"title":"too many rooms"*`)
	c.send(commands(strings.Repeat(" ", 5000)))
	c.until("close:1009:*")
}

// A client that asks for much and reads nothing has to wait, and loses nothing.
func TestManyAnswers(t *testing.T) {
	s := listen(t, configured(func(s *settings.Settings) { s.MaxMessageSize = 60 << 10 }), session)
	for i := range 4 {
		if _, err := s.hub.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: "a", Kind: message.Text, Data: []byte(strings.Repeat(fmt.Sprint(i), 50<<10))}); err != nil {
			t.Fatal(err)
		}
	}
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	const asked = 50
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range asked {
			c.send(commands(fmt.Sprintf(`{"op":"history","room":"a","ref":%d}`, i)))
		}
	}()
	for i := range asked {
		c.expect(fmt.Sprintf(`text:{"op":"ok","ref":%d,"room":"a","messages":[{"id":"*`, i))
	}
	<-done
}

// A raw connection that publishes while the hub drains gets all that is due to it before its end.
func TestRawPublicationInADrain(t *testing.T) {
	const n = 300
	s := listen(t, configured(func(set *settings.Settings) { set.History = settings.History{Count: n, Age: time.Hour} }))
	c := s.dial(t)
	for range n {
		publish(t, s.hub, message.Text, strings.Repeat("x", 60_000))
	}
	s.hub.StopAccepting()
	var drained sync.WaitGroup
	drained.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		s.hub.Drain(ctx, 4*time.Second)
	})
	c.send(masked(fin|text, "mine"))
	for i := range n {
		if got := c.next(); !strings.HasPrefix(got, "text:x") {
			t.Fatalf("after %d of %d messages: %.40q", i, n, got)
		}
	}
	if got := c.next(); !strings.HasPrefix(got, "close:1012:") {
		t.Errorf("it ends with %.40q", got)
	}
	c.nc.Close()
	drained.Wait()
}
