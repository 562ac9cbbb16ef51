package ws_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws"
)

func plain(*ws.Options) {}

// beating returns a change of options: the heartbeat.
func beating(d time.Duration) func(*ws.Options) {
	return func(o *ws.Options) { o.Heartbeat = d }
}

// over checks that the connection's end comes after d.
func (c *client) over(began time.Time, d time.Duration) {
	c.t.Helper()
	c.expect("end")
	if got := time.Since(began); got != d {
		c.t.Errorf("ends after %v, want %v", got, d)
	}
	synctest.Wait()
}

// A session that is ended tells its cause's code, and waits for the answer
// only so long.
func TestServerEnds(t *testing.T) {
	for _, cause := range hub.Causes() {
		t.Run(cause.String(), func(t *testing.T) {
			bubble(t, configured(), plain, func(t *testing.T, s *server) {
				c := s.open(t)
				began := time.Now()
				s.hub.Sessions()[0].End(cause)
				if e := protocol.EndingOf(cause); cause != hub.CauseGone {
					c.expect(fmt.Sprintf("close:%d:%s", e.Close, e.Title))
				}
				c.over(began, outbound.Farewell)
				s.ended(t, cause)
			})
		})
		if cause == hub.CauseGone {
			continue // no peer is there to answer
		}
		t.Run(cause.String()+", answered", func(t *testing.T) {
			bubble(t, configured(), plain, func(t *testing.T, s *server) {
				c := s.open(t)
				began := time.Now()
				s.hub.Sessions()[0].End(cause)
				e := protocol.EndingOf(cause)
				c.expect(fmt.Sprintf("close:%d:%s", e.Close, e.Title))
				c.send(masked(fin|closes, closing(e.Close, "")))
				c.over(began, 0)
				s.ended(t, cause)
			})
		})
	}
}

// A peer that goes on sending after the end gains no time, and nothing follows the
// closing frame.
func TestServerEndsAndPeerGoesOn(t *testing.T) {
	tests := []struct {
		name   string
		before []byte // the end comes
		after  []byte
		most   time.Duration
	}{
		{"ping", nil, masked(fin|ping, "x"), outbound.Farewell},
		{"text", nil, masked(fin|text, "x"), outbound.Farewell},
		{"a beginning", nil, masked(text, "x"), outbound.Farewell},
		{"half a frame", nil, masked(fin|text, "x")[:6], outbound.Farewell},
		{"the rest of a frame", masked(fin|text, "xyz")[:7], masked(fin|text, "xyz")[7:], outbound.Farewell},
		{"no rest of a frame", masked(fin|text, "xyz")[:7], nil, outbound.Farewell},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(), plain, func(t *testing.T, s *server) {
				c := s.open(t)
				c.send(test.before)
				synctest.Wait()
				began := time.Now()
				s.hub.Sessions()[0].End(hub.CauseDraining)
				c.expect("close:1012:*")
				if len(test.after) > 0 {
					c.nc.Write(test.after)
				}
				c.expect("end")
				if took := time.Since(began); took > test.most {
					t.Errorf("ends after %v, at most %v", took, test.most)
				}
				s.ended(t, hub.CauseDraining)
			})
		})
	}
}

// Half of anything is waited for only so long. Pings in between don't change
// that.
func TestHalves(t *testing.T) {
	tests := []struct {
		name string
		send []byte
		want time.Duration
	}{
		{"frame", masked(fin|text, "half")[:8], time.Minute},
		{"large frame", masked(fin|bin, strings.Repeat("*", 60_000))[:50], time.Minute},
		{"message", masked(text, "half"), time.Minute},
		{"message and a ping", frames(masked(text, "half"), masked(fin|pong, "")), time.Minute},
		{"ping", masked(fin|ping, "half")[:8], time.Minute},
		{"close", masked(fin|closes, closing(1000, "half"))[:8], time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(), plain, func(t *testing.T, s *server) {
				c := s.open(t)
				began := time.Now()
				c.send(test.send)
				c.over(began, test.want)
				s.ended(t, hub.CauseGone)
			})
		})
	}
}

// A message may take its time as long as it comes, and then nothing is held
// against an idle connection.
func TestSlowMessage(t *testing.T) {
	bubble(t, configured(), plain, func(t *testing.T, s *server) {
		c := s.open(t)
		for range 3 {
			c.send(masked(text, "a"))
			<-time.After(59 * time.Second)
			c.send(masked(fin|cont, "b"))
			c.expect("text:ab")
			<-time.After(time.Hour)
		}
		c.send(masked(fin|closes, ""))
		c.expect("close", "end")
		s.ended(t, hub.CauseLeft)
	})
}

// Each message has its own time, although there may never be a moment between
// two: what ends one comes together with what begins the next.
func TestWithoutPause(t *testing.T) {
	message := masked(fin|text, "a whole message")
	tests := []struct {
		name  string
		unit  []byte // sent again and again, cut in its middle
		echo  string
		after []byte // follows the last whole one
	}{
		{"messages", message, "text:a whole message", message[:9]},
		{"fragments", frames(masked(text, "a whole "), masked(fin|ping, ""), masked(fin|cont, "message")), "text:a whole message", masked(text, "half")},
		{"pings", masked(fin|ping, "a ping"), "pong:a ping", message[:1]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(), plain, func(t *testing.T, s *server) {
				c := s.open(t)
				half := len(test.unit) / 2
				c.send(test.unit[:half])
				for range 10 {
					<-time.After(25 * time.Second)
					c.send(test.unit[half:], test.unit[:half])
					for f := c.next(); f != test.echo; f = c.next() {
						if f != "pong:" {
							t.Fatalf("frame %s, want %s", short(f), short(test.echo))
						}
					}
				}
				<-time.After(25 * time.Second)
				began := time.Now()
				c.send(test.unit[half:], test.after)
				for f := c.next(); f != "end"; f = c.next() {
				}
				if d := time.Since(began); d != time.Minute {
					t.Errorf("half a message is waited for for %v", d)
				}
				s.ended(t, hub.CauseGone)
			})
		})
	}
}

func TestHeartbeat(t *testing.T) {
	const beat = 10 * time.Second
	t.Run("no sign of life", func(t *testing.T) {
		bubble(t, configured(), beating(beat), func(t *testing.T, s *server) {
			c := s.open(t)
			began, pings := time.Now(), 0
			for f := c.next(); f != "end"; f = c.next() {
				if f != "ping:" {
					t.Fatalf("frame %s", short(f))
				}
				pings++
				if d := time.Since(began); d > time.Duration(pings)*beat || d < time.Duration(pings)*beat*9/10 {
					t.Errorf("ping %d after %v", pings, d)
				}
			}
			if d := time.Since(began); d < 2*beat || d > 3*beat || pings != 2 {
				t.Errorf("ends after %v and %d pings", d, pings)
			}
			s.ended(t, hub.CauseGone)
		})
	})
	for name, sign := range map[string][]byte{
		"pong": masked(fin|pong, ""), "ping": masked(fin|ping, ""), "text": masked(fin|text, ""), "fragment": masked(fin|pong, "")[:1],
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(), func(o *ws.Options) { o.Heartbeat, o.Client.NoEcho = beat, true }, func(t *testing.T, s *server) {
				c := s.open(t)
				for range 5 {
					for f := c.next(); f != "ping:"; f = c.next() {
						if f == "end" {
							t.Fatal("ends although it lives")
						}
					}
					c.send(sign)
					if len(sign) == 1 {
						<-time.After(beat / 20)
						c.send(masked(fin|pong, "")[1:])
					}
				}
				synctest.Wait()
				if n := s.hub.Stats().Sessions; n != 1 {
					t.Errorf("%d sessions", n)
				}
			})
		})
	}
	t.Run("off", func(t *testing.T) {
		bubble(t, configured(), plain, func(t *testing.T, s *server) {
			c := s.open(t)
			<-time.After(10 * time.Hour)
			c.send(masked(fin|ping, "still here"))
			c.expect("pong:still here")
		})
	})
}

// A peer that sends pings and reads no answer ends, and costs little.
func TestPingsWithoutReading(t *testing.T) {
	bubble(t, configured(), plain, func(t *testing.T, s *server) {
		c := s.open(t)
		for range 100 {
			if _, err := c.nc.Write(masked(fin|ping, "0123456789012345678901234567890123456789012345678901234567890123456789")); err != nil {
				break
			}
		}
		<-time.After(2 * outbound.Farewell)
		s.ended(t, hub.CauseSlow)
	})
}

// A hub that closes says so to everybody.
func TestHubCloses(t *testing.T) {
	bubble(t, configured(), plain, func(t *testing.T, s *server) {
		clients := []*client{s.open(t), s.open(t), s.open(t)}
		if err := s.hub.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.expect("close:1012:*")
			c.send(masked(fin|closes, closing(1012, "")))
			c.expect("end")
		}
		s.group.Wait(t.Context())
	})
}

// slow is an engine that stores a message when it is told to.
type slow struct {
	*hub.Memory
	store chan struct{}
}

func (e slow) Publish(ctx context.Context, d hub.Draft) (hub.Receipt, error) {
	select {
	case <-e.store:
		return e.Memory.Publish(ctx, d)
	case <-ctx.Done():
		return hub.Receipt{}, ctx.Err()
	}
}

// A publication that takes long does not cost its peer the connection: its pongs wait until that is done.
func TestHeartbeatDuringASlowPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := slow{hub.NewMemory(), make(chan struct{})}
		s := newServerOn(t, e, configured(), beating(10*time.Second))
		c := s.open(t)
		c.send(masked(fin|text, "at last"))
		for range 6 {
			c.expect("ping:")
		}
		e.store <- struct{}{}
		c.expect("text:at last")
		c.send(masked(fin|closes, closing(1000, "")))
		c.expect("close:1000:", "end")
	})
}

// A client that goes takes what it was publishing with it.
func TestPeerGoesDuringASlowPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := slow{hub.NewMemory(), make(chan struct{})}
		s := newServerOn(t, e, configured(), beating(10*time.Second))
		c := s.open(t)
		c.send(masked(fin|text, "never"))
		c.nc.Close()
		<-time.After(time.Minute)
		synctest.Wait()
		s.ended(t, hub.CauseGone)
	})
}
