package ws_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/ws"
)

// Control frames are answered at once, not when a message ends.
func TestStepByStep(t *testing.T) {
	s := listen(t, configured())
	c := s.dial(t)
	c.send(masked(text, "fra"))
	c.send(masked(fin|ping, "within"))
	c.expect("pong:within")
	c.send(masked(cont, "g"))
	publish(t, s.hub, message.Text, "another's")
	c.expect("text:another's")
	c.send(masked(fin|cont, "ment"))
	c.expect("text:fragment")
	c.send(masked(fin|cont, "of nothing"))
	c.expect("close:1002:*", "end")
}

// Frames that come in the segment of the handshake are not lost, however long.
func TestEarlyFrames(t *testing.T) {
	long := strings.Repeat("early ", 3000)
	tests := []struct {
		name  string
		early []byte
		want  []string
	}{
		{"text", masked(fin|text, "early"), []string{"text:early"}},
		{"two", frames(masked(fin|text, "a"), masked(fin|ping, "b"), masked(fin|text, "c")[:3]), nil},
		{"longer than any buffer", masked(fin|text, long), []string{"text:" + long}},
		{"close", masked(fin|closes, closing(1000, "x")), []string{"close:1000:x"}},
		{"unmasked", unmasked(fin|text, "x"), []string{"close:1002:*"}},
	}
	s := listen(t, configured())
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := s.dial(t, test.early)
			if test.want == nil {
				got := []string{c.next(), c.next()} // control frames don't wait for data
				c.send(masked(fin|text, "c")[3:])
				got = append(got, c.next())
				slices.Sort(got)
				test.want = []string{"pong:b", "text:a", "text:c"}
				if !slices.Equal(got, test.want) {
					t.Errorf("frames %q, want %q", got, test.want)
				}
				return
			}
			c.expect(test.want...)
		})
	}
}

// Nothing but the kind of frame tells text from bytes, and a line's end in
// text is LF.
func TestKinds(t *testing.T) {
	s := listen(t, configured())
	c := s.dial(t)
	c.send(masked(fin|text, "a\r\nb\rc"), masked(fin|bin, "a\r\nb"))
	c.expect("text:a\nb\nc", "binary:a\r\nb")
	publish(t, s.hub, message.JSON, `{"a":1}`)
	c.expect(`text:{"a":1}`)
}

func TestEnvelope(t *testing.T) {
	s := listen(t, configured(), envelope)
	c := s.dial(t)
	c.expect(`text:{"op":"ready","conn":"*`)
	c.send(masked(fin|text, "hi"), masked(fin|bin, "\x00"))
	c.expect(`text:{"id":"*`, `text:{"id":"*`)
}

func TestNoEcho(t *testing.T) {
	s := listen(t, configured(), func(o *ws.Options) { o.Client.NoEcho = true })
	c, other := s.dial(t), s.dial(t)
	c.send(masked(fin|text, "mine"))
	other.expect("text:mine")
	other.send(masked(fin|text, "other's"))
	c.expect("text:other's")
}

// A cursor that cannot be honoured is a gap in envelopes, and ends a connection with
// bare data.
func TestGap(t *testing.T) {
	foreign := func(o *ws.Options) { o.Rooms[0].Start = hub.Start{InvalidCursor: true} }
	raw := listen(t, configured(), foreign)
	publish(t, raw.hub, message.Text, "kept")
	c := raw.dial(t)
	c.expect("close:4410:*")
	c.send(masked(fin|closes, closing(4410, "")))
	c.expect("end")
	raw.ended(t, hub.CauseOvertaken)

	told := listen(t, configured(), foreign, envelope)
	publish(t, told.hub, message.Text, "kept")
	told.dial(t).expect(`text:{"op":"ready"*`, `text:{"op":"gap","room":"lobby","to":"*`, `text:{"id":"*`)
}

func TestRate(t *testing.T) {
	twelve := slices.Repeat(masked(fin|text, "x"), 12)
	t.Run("raw", func(t *testing.T) {
		s := listen(t, configured(rated(1)), func(o *ws.Options) { o.Client.NoEcho = true })
		c := s.dial(t)
		c.send(masked(fin|text, "x"), masked(fin|text, "x"))
		c.expect("close:4429:too many messages", "end")
		s.ended(t, hub.CauseRate)
	})
	t.Run("envelopes", func(t *testing.T) {
		s := listen(t, configured(rated(1)), envelope, func(o *ws.Options) { o.Client.NoEcho = true })
		c := s.dial(t)
		c.expect(`text:{"op":"ready"*`)
		c.send(masked(fin|text, "x"))
		for range 10 {
			c.send(masked(fin|text, "x"))
			c.expect(`text:{"op":"error","status":429,"title":"too many messages","detail":"rate is *`)
		}
		c.send(masked(fin|text, "x"))
		c.expect("close:4429:too many messages", "end")
		s.ended(t, hub.CauseRate)
	})
	t.Run("all at once", func(t *testing.T) {
		s := listen(t, configured(rated(1)), envelope)
		c := s.dial(t)
		c.send(twelve)
		last := ""
		for f := c.next(); f != "end"; f = c.next() {
			last = f
		}
		if last != "close:4429:too many messages" {
			t.Errorf("ends with %s", last)
		}
	})
}

// The limit that counts is the one in force when a message comes.
func TestSizeChanges(t *testing.T) {
	s := listen(t, configured(), envelope)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	set := configured(func(set *settings.Settings) { set.MaxMessageSize = 3 })
	if err := s.hub.Configure(set); err != nil {
		t.Fatal(err)
	}
	c.send(masked(fin|text, "abc"))
	c.expect(`text:{"id"*`)
	c.send(masked(fin|text, "abcd"))
	c.expect("close:1009:message too large", "end")
	s.ended(t, hub.CauseTooLarge)
}

func TestCut(t *testing.T) {
	tests := []struct {
		name string
		send []byte
	}{
		{"idle", nil},
		{"within a header", []byte{fin | text}},
		{"within a frame", masked(fin|text, "half")[:8]},
		{"within a ping", masked(fin|ping, "half")[:8]},
		{"within a message", masked(text, "half")},
	}
	for _, test := range tests {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", test.name, reset), func(t *testing.T) {
				s := listen(t, configured())
				c := s.dial(t)
				c.send(test.send)
				if reset {
					c.nc.(*net.TCPConn).SetLinger(0)
				}
				c.nc.Close()
				s.ended(t, hub.CauseGone)
				page, err := s.hub.Caller(hub.Client{}).Read(t.Context(), room, hub.Query{Last: 1, Limit: 1})
				if err != nil || len(page.Messages) > 0 {
					t.Errorf("half a message was published: %d, %v", len(page.Messages), err)
				}
			})
		}
	}
}

// Messages of several publishers, pongs and notices share the connection, and
// never tear each other apart.
func TestInterleaving(t *testing.T) {
	const publishers, each, pings = 4, 100, 50
	s := listen(t, configured(), envelope)
	c := s.dial(t)
	c.expect(`text:{"op":"ready"*`)
	session := s.hub.Sessions()[0]
	ctx := context.WithoutCancel(t.Context())
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				data := fmt.Sprintf("%d.%d.%s", p, i, strings.Repeat("*", i*37%5000))
				if _, err := s.hub.Caller(hub.Client{}).Publish(ctx, hub.Publication{Room: room, Kind: message.Text, Data: []byte(data)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for i := range pings {
			if _, err := c.nc.Write(masked(fin|ping, fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
			session.Notify(fmt.Appendf(nil, "notice %d", i))
		}
	})
	var messages [publishers]int
	pongs, notices := 0, 0
	for range publishers*each + 2*pings {
		f := c.next()
		var p, i int
		switch {
		case f == fmt.Sprint("pong:", pongs):
			pongs++
		case f == fmt.Sprint("text:notice ", notices):
			notices++
		default:
			_, data, _ := strings.Cut(f, `"data":"`)
			if _, err := fmt.Sscanf(data, "%d.%d.", &p, &i); err != nil {
				t.Fatalf("frame %s: %v", short(f), err)
			}
			want := fmt.Sprintf(`%d.%d.%s"`, p, messages[p], strings.Repeat("*", i*37%5000))
			if !strings.HasPrefix(data, want) {
				t.Fatalf("frame %s, want %s", short(data), short(want))
			}
			messages[p]++
		}
	}
	all.Wait()
	c.send(masked(fin|closes, ""))
	c.expect("close", "end")
}
