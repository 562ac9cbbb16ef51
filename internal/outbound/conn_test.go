package outbound_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		c := open(t, h, g, plain)
		publish(t, h, "0")
		synctest.Wait() // that one is being written
		for i := range 199 {
			publish(t, h, fmt.Sprint(i+1))
		}
		c.session.Notify([]byte("notice"))
		if err := c.Control([]byte("control\n")); err != nil {
			t.Error(err)
		}
		c.expect(t, "0")
		got := ""
		for !strings.HasSuffix(got, "199\n") {
			got += c.take(t, 1)
		}
		var want strings.Builder
		want.WriteString("control\nnotice\n")
		for i := range 199 {
			fmt.Fprintln(&want, i+1)
		}
		if got != want.String() {
			t.Errorf("wrote %q", got)
		}
		if sent, _ := c.session.Counts(); sent != 200 {
			t.Errorf("%d sent", sent)
		}
	})
}

// A wake before Start is not lost.
func TestWakeBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		far, near := net.Pipe()
		c := &conn{Conn: outbound.New(g, room, h.SubscriberCount(room)), near: near}
		var err error
		if c.session, err = h.Connect(hub.Client{}, c.Conn); err != nil {
			t.Fatal(err)
		}
		if _, err = c.session.Subscribe(t.Context(), room, hub.Start{}); err != nil {
			t.Fatal(err)
		}
		publish(t, h, "early")
		c.Start(far, c.session, plain, deaf{})
		c.expect(t, "early")
		c.session.End(hub.CauseLeft)
		c.Finish(false)
	})
}

// A backlog is written in pieces, to its end, and never gathered in one.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		far, near := net.Pipe()
		w := &widest{Conn: far}
		c := start(t, h, g, plain, w, near)
		publish(t, h, "first")
		synctest.Wait() // that one is being written
		const size, count = 10_000, 60
		for range count {
			publish(t, h, strings.Repeat("*", size-1))
		}
		c.take(t, len("first\n")+count*size)
		synctest.Wait()
		if most := w.most.Load(); most < 64<<10 || most > 64<<10+size {
			t.Errorf("%d bytes in one write", most)
		}
	})
}

// widest remembers the largest write.
type widest struct {
	net.Conn
	most atomic.Int64
}

func (w *widest) Write(p []byte) (int, error) {
	w.most.Store(max(w.most.Load(), int64(len(p))))
	return w.Conn.Write(p)
}

// A message that comes right after the writer has looked is not forgotten.
func TestWakeWhileEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		codec := new(lines)
		codec.append = func(it hub.Item) {
			if string(it.Message.Data) == "first" {
				publish(t, h, "second")
			}
		}
		c := open(t, h, g, codec)
		publish(t, h, "first")
		c.expect(t, "first", "second")
	})
}

// An answer that a reader queues while the writer gathers goes out before the message
// that it publishes next, though both are gathered in the same turn.
func TestControlWhileGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		codec := new(lines)
		c := open(t, h, g, codec)
		control := func(frame string) {
			if err := c.Control([]byte(frame)); err != nil {
				t.Error(err)
			}
		}
		codec.append = func(it hub.Item) {
			if string(it.Message.Data) != "1" {
				return
			}
			control("pong 2\n")
			publish(t, h, "last")
		}
		publish(t, h, "0")
		synctest.Wait()     // that one is being written
		for i := range 70 { // more than is asked of a session at once
			publish(t, h, fmt.Sprint(i+1))
		}
		control("pong 1\n")
		got := ""
		for !strings.Contains(got, "pong 2\n") || !strings.Contains(got, "last\n") {
			got += c.take(t, 1)
		}
		one, two, last := strings.Index(got, "pong 1"), strings.Index(got, "pong 2"), strings.Index(got, "last")
		if one > two || two > last {
			t.Errorf("wrote %q", got)
		}
	})
}

// A peer that reads nothing ends after Stall, and no other notices.
func TestStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		stalled, other := open(t, h, g, plain), open(t, h, g, plain)
		got := drain(other.near)
		took := after(func() {
			for i := range 100 {
				publish(t, h, fmt.Sprint(i))
			}
			<-time.After(20 * time.Millisecond) // a moment, once
			synctest.Wait()
		})
		if n := strings.Count(got.String(), "\n"); n != 100 || took > time.Second {
			t.Errorf("the other one has %d messages after %v", n, took)
		}
		if took := after(func() { <-stalled.done }); took < outbound.Stall-time.Second || took > outbound.Stall+time.Second {
			t.Errorf("the stalled one ends after %v", took)
		}
		if a, b := stalled.session.Ended(), other.session.Ended(); a != hub.CauseSlow || b != 0 {
			t.Errorf("causes %v and %v", a, b)
		}
	})
}

// A peer that reads slowly stays, as long as it accepts something.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		c := open(t, h, g, plain)
		publish(t, h, "twenty-one bytes long")
		for _, want := range "twenty-one bytes long\n" {
			<-time.After(outbound.Stall - time.Second)
			if got := c.take(t, 1); got != string(want) {
				t.Fatalf("byte %q, want %q", got, want)
			}
		}
		synctest.Wait()
		if cause := c.session.Ended(); cause != 0 {
			t.Errorf("ended by %v", cause)
		}
	})
}

// A peer that asks for answers and reads none costs maxControl bytes at most.
func TestControlIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, g := newHub(t), new(outbound.Group)
		c := open(t, h, g, plain)
		pong := []byte(strings.Repeat("p", 99) + "\n")
		if err := c.Control(pong); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // that one is being written
		waiting := 0
		var err error
		for err == nil && waiting < 1000 {
			if err = c.Control(pong); err == nil {
				waiting++
			}
		}
		if !errors.Is(err, outbound.ErrControl) || waiting != 40 {
			t.Errorf("%v after %d frames", err, waiting)
		}
		if got := c.take(t, 4100); got != strings.Repeat(string(pong), 41) {
			t.Errorf("wrote %q", got)
		}
		synctest.Wait()
		if err := c.Control(pong); err != nil {
			t.Errorf("after all was read: %v", err)
		}
		c.take(t, 100)
	})
}

// ending is one way for a connection to end.
type ending struct {
	name   string
	busy   bool        // a message is being written when m is published
	append func(*conn) // while m is encoded
	after  func(*conn)
	want   string
}

// Nothing that comes, at any time, is written after the end.
func TestNothingAfterTheEnd(t *testing.T) {
	tests := []ending{
		{"goodbye", false, nil, func(c *conn) { c.session.End(hub.CauseStopping) }, "m\nbye stopping\n"},
		{"control meanwhile", false, func(c *conn) {
			c.Control([]byte("pong\n"))
			c.session.End(hub.CauseStopping)
		}, nil, "m\npong\nbye stopping\n"},
		{"control while the writer gathers", true, func(c *conn) {
			c.Control([]byte("pong\n"))
			c.session.End(hub.CauseStopping)
		}, nil, "0\npong\nm\nbye stopping\n"},
		{"concluded meanwhile", false, func(c *conn) {
			c.concludeMeanwhile([]byte("last\n"))
			c.session.End(hub.CauseStopping)
		}, nil, "m\nlast\n"},
		{"concluded while the writer gathers", true, func(c *conn) {
			c.concludeMeanwhile([]byte("last\n"))
			c.session.End(hub.CauseStopping)
		}, nil, "0\nm\nlast\n"},
		{"concluded", false, nil, func(c *conn) { c.Conclude([]byte("last\n")) }, "m\nlast\n"},
		{"two ends", false, nil, func(c *conn) {
			c.Conclude([]byte("last\n"))
			c.session.End(hub.CauseStopping)
		}, "m\nlast\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { synctest.Test(t, test.run) })
	}
}

// run brings an ending about, and then whatever may still come.
func (test ending) run(t *testing.T) {
	h, g := newHub(t), new(outbound.Group)
	codec := new(scripted)
	codec.append = func(it hub.Item) {
		if test.append != nil && string(it.Message.Data) == "m" {
			test.append(codec.conn)
		}
	}
	c := open(t, h, g, codec)
	synctest.Wait() // it has nothing to write
	if test.busy {
		publish(t, h, "0")
		<-time.After(20 * time.Millisecond) // it has a writer of its own
	}
	publish(t, h, "m")
	synctest.Wait()
	got := drain(c.near)
	synctest.Wait()
	if test.after != nil {
		test.after(c)
	}
	synctest.Wait()
	if err := c.Control([]byte("late\n")); err != nil {
		t.Error(err)
	}
	c.Conclude([]byte("late last\n"))
	c.Wake()
	publish(t, h, "late message")
	synctest.Wait()
	c.session.End(hub.CauseLeft)
	synctest.Wait()
	if got.String() != test.want {
		t.Errorf("wrote %q, want %q", got, test.want)
	}
}

// A panic in a codec is one session's end.
func TestPanic(t *testing.T) {
	for _, where := range []string{"append", "goodbye"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, g := newHub(t), new(outbound.Group)
				codec := new(lines)
				if where == "append" {
					codec.append = func(hub.Item) { panic("no") }
				} else {
					codec.goodbye = func() { panic("no") }
				}
				sick, well := open(t, h, g, codec), open(t, h, g, plain)
				publish(t, h, "m")
				well.expect(t, "m")
				want := hub.CauseInternal
				if where == "goodbye" {
					sick.expect(t, "m")
					want = hub.CauseDraining
					sick.session.End(want)
				}
				<-sick.done
				if a, b := sick.session.Ended(), well.session.Ended(); a != want || b != 0 {
					t.Errorf("causes %v and %v", a, b)
				}
				if _, err := sick.near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the socket is open: %v", err)
				}
			})
		})
	}
}

func TestFinish(t *testing.T) {
	tests := []struct {
		name   string
		linger bool
		read   time.Duration // between two bytes that the peer reads; 0: none
		least  time.Duration
		most   time.Duration
	}{
		{"at once", false, 0, 0, 0},
		{"lingers for a stalled peer", true, 0, outbound.Farewell, outbound.Farewell},
		{"lingers for a slow peer", true, outbound.Farewell - time.Second, outbound.Farewell, outbound.Farewell},
		{"lingers until it has read", true, time.Millisecond, time.Millisecond, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, g := newHub(t), new(outbound.Group)
				far, near := net.Pipe()
				c := outbound.New(g, room, h.SubscriberCount(room))
				s, err := h.Connect(hub.Client{}, c)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Subscribe(t.Context(), room, hub.Start{}); err != nil {
					t.Fatal(err)
				}
				c.Start(far, s, plain, deaf{})
				publish(t, h, strings.Repeat("*", 100))
				synctest.Wait() // the writer waits for the peer
				<-time.After(time.Second)
				var peer sync.WaitGroup
				if test.read > 0 {
					peer.Go(func() {
						for b := make([]byte, 1); ; <-time.After(test.read) {
							if _, err := near.Read(b); err != nil {
								return
							}
						}
					})
				}
				s.End(hub.CauseStopping)
				took := after(func() { c.Finish(test.linger) })
				if took < test.least || took > test.most {
					t.Errorf("took %v", took)
				}
				if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) || g.Len() != 0 {
					t.Errorf("%d connections, writing to it: %v", g.Len(), err)
				}
				// The writer has gone: nothing of it is left to be woken.
				c.Wake()
				if err := c.Control([]byte("x")); err != nil {
					t.Error(err)
				}
				near.Close()
				peer.Wait()
			})
		})
	}
}
