package hub_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
)

func TestIdempotencyKey(t *testing.T) {
	ann, bob := &hub.User{ID: "ann"}, &hub.User{ID: "bob"}
	first := hub.Publication{Room: "r", Key: "k", Type: "text/plain", Data: []byte("x")}
	with := func(change func(*hub.Publication)) hub.Publication {
		p := first
		change(&p)
		return p
	}
	tests := []struct {
		name   string
		user   *hub.User
		p      hub.Publication
		replay bool
		err    error
	}{
		{"again", ann, first, true, nil},
		{"another body", ann, with(func(p *hub.Publication) { p.Data = []byte("y") }), false, hub.ErrKeyReused},
		{"another event", ann, with(func(p *hub.Publication) { p.Event = "order" }), false, hub.ErrKeyReused},
		{"another type", ann, with(func(p *hub.Publication) { p.Type = "text/html" }), false, hub.ErrKeyReused},
		{"another kind", ann, with(func(p *hub.Publication) { p.Kind = message.Text }), false, hub.ErrKeyReused},
		{"another time to live", ann, with(func(p *hub.Publication) { p.TTL = time.Hour }), false, hub.ErrKeyReused},
		{"as a signal", ann, with(func(p *hub.Publication) { p.Signal = true }), false, hub.ErrKeyReused},
		{"another key", ann, with(func(p *hub.Publication) { p.Key = "l" }), false, nil},
		{"no key", ann, with(func(p *hub.Publication) { p.Key = "" }), false, nil},
		{"another room", ann, with(func(p *hub.Publication) { p.Room = "s" }), false, nil},
		{"another user", bob, first, false, nil},
		{"nobody", nil, first, false, nil},
		{"a user whose id ends where the key begins", &hub.User{ID: "an"}, with(func(p *hub.Publication) { p.Key = "nk" }), false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
				want, err := h.Caller(hub.Client{User: ann}).Publish(t.Context(), first)
				if err != nil || want.Replayed {
					t.Fatalf("%v, %+v", err, want)
				}
				advance(hub.KeyLifetime - 1)
				got, err := h.Caller(hub.Client{User: test.user}).Publish(t.Context(), test.p)
				if !errors.Is(err, test.err) {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				want.Replayed = true
				if err == nil && (got == want) != test.replay {
					t.Errorf("%+v, the first was %+v", got, want)
				}
				stored := len(history(t, h, "r")) + len(history(t, h, "s"))
				if published := 2 - stored; (published == 0) != (!test.replay && test.err == nil) {
					t.Errorf("%d messages are stored", stored)
				}
			})
		})
	}
}

// A key of an anonymous client belongs to its connection, or without one to its address. A
// client that has got another connection names the first one.
func TestIdempotencyKeyOfAConnection(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		ann := &hub.User{ID: "ann"}
		one, two, anns := h.NewConn(nil), h.NewConn(nil), h.NewConn(ann)
		near, far := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
		published := make(map[string]hub.Position)
		for _, test := range []struct {
			name   string
			client hub.Client
			conn   string
			holder string // whose key it is; the first one of each publishes
		}{
			{"a connection", hub.Client{ID: one, Address: near}, "", "one"},
			{"the same one, elsewhere", hub.Client{ID: one, Address: far}, "", "one"},
			{"another one at the address", hub.Client{ID: two, Address: near}, "", "two"},
			{"another one that was the first", hub.Client{ID: two, Address: near}, one, "one"},
			{"one that names itself", hub.Client{ID: two, Address: near}, two, "two"},
			{"a guessed one", hub.Client{ID: two}, one[:len(one)-1] + "_", "two"},
			{"one of a user", hub.Client{ID: two}, anns, "two"},
			{"without a connection", hub.Client{Address: near}, "", "near"},
			{"without, in the same network", hub.Client{Address: near.Next()}, "", "near"},
			{"without, in another network", hub.Client{Address: far}, "", "far"},
			{"without, that had one", hub.Client{Address: far}, one, "one"},
			{"without an address", hub.Client{}, "", "socket"},
			{"without an address, too", hub.Client{}, "", "socket"},
			{"a user", hub.Client{ID: anns, User: ann, Address: near}, "", "ann"},
			{"a user on another connection", hub.Client{ID: h.NewConn(ann), User: ann, Address: far}, "", "ann"},
			{"a user who was anonymous", hub.Client{User: ann}, one, "ann"},
			{"a user named like a holder", hub.Client{User: &hub.User{ID: "conn"}}, "", "conn"},
		} {
			receipt, err := h.Caller(test.client).Publish(t.Context(), hub.Publication{Room: "r", Key: "k", Conn: test.conn})
			if err != nil {
				t.Fatal(err)
			}
			first, known := published[test.holder]
			if receipt.Replayed != known || known && receipt.Position != first {
				t.Errorf("%s: %+v, the first of %s was %v", test.name, receipt, test.holder, first)
			}
			published[test.holder] = receipt.Position
		}
	})
}

// A session has the keys of its connection, with which it comes back.
func TestIdempotencyKeyOfASession(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		p := hub.Publication{Room: "r", Key: "k"}
		publish := func(c hub.Client) bool {
			s := connect(t, h, c)
			receipt, err := s.Publish(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			return receipt.Replayed
		}
		first := hub.Client{ID: h.NewConn(nil)}
		if publish(first) || publish(hub.Client{}) {
			t.Error("another connection has used the key")
		}
		if !publish(first) {
			t.Error("a client that comes back has lost its keys")
		}
	})
}

// A replay needs the right as the first time: it is refused without one.
func TestIdempotencyReplayNeedsTheRight(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		c := hub.Client{ID: h.NewConn(nil)}
		p := hub.Publication{Room: "r", Key: "k"}
		if _, err := h.Caller(c).Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		h.Authorize(except(hub.VerbPublish)) // r is closed to strangers
		if r, err := h.Caller(c).Publish(t.Context(), p); !errors.Is(err, hub.ErrUnauthorized) || r != (hub.Receipt{}) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestIdempotencyKeyOfNobody(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		p := hub.Publication{Room: "r", Key: "k"}
		first := send(t, h, p)
		if again := send(t, h, p); !again.Replayed || again.Position != first.Position {
			t.Errorf("%+v, the first was %+v", again, first)
		}
		advance(hub.KeyLifetime)
		if again := send(t, h, p); again.Replayed {
			t.Errorf("replayed after %v", hub.KeyLifetime)
		}
		p.Key = strings.Repeat("k", names.MaxKey)
		send(t, h, p)
		p.Key += "k"
		if _, err := h.Caller(hub.Client{}).Publish(t.Context(), p); !errors.Is(err, names.ErrKey) {
			t.Errorf("a key that is too long: %v", err)
		}
	})
}

// While the first publication is in flight others of the same key wait. If it
// fails, the next one tries.
func TestIdempotencyKeyInFlight(t *testing.T) {
	p := hub.Publication{Room: "r", Key: "k"}
	for _, fails := range []bool{false, true} {
		bubble(t, configured(), func(t *testing.T, _ *hub.Hub) {
			e, h := newFake(t, configured())
			calls, release := 0, make(chan error)
			e.publish = func(context.Context) error { calls++; return <-release }
			type answer struct {
				hub.Receipt
				err error
			}
			answers := make(chan answer, 3)
			for range 3 {
				go func() {
					r, err := h.Caller(hub.Client{}).Publish(context.Background(), p)
					answers <- answer{r, err}
				}()
				synctest.Wait()
			}
			impatient, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := h.Caller(hub.Client{}).Publish(impatient, p); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who does not want to wait: %v", err)
			}
			other := p
			other.Data = []byte("other")
			if _, err := h.Caller(hub.Client{}).Publish(t.Context(), other); !errors.Is(err, hub.ErrKeyReused) {
				t.Errorf("another body in flight: %v", err)
			}
			if calls != 1 || len(answers) > 0 {
				t.Fatalf("%d are published, %d answered", calls, len(answers))
			}
			if fails {
				release <- errEngine
				synctest.Wait()
				if a := <-answers; !errors.Is(a.err, errEngine) || calls != 2 {
					t.Errorf("%v, %d published", a.err, calls)
				}
			}
			release <- nil
			synctest.Wait()
			replayed := 0
			for range len(answers) {
				a := <-answers
				if a.err != nil || a.Offset != 10 {
					t.Errorf("%+v", a)
				}
				if a.Replayed {
					replayed++
				}
			}
			if want := map[bool]int{false: 2, true: 1}[fails]; replayed != want {
				t.Errorf("%d replayed, want %d", replayed, want)
			}
		})
	}
}

// A panic of the engine frees the key.
func TestIdempotencyKeyAfterPanic(t *testing.T) {
	e, h := newFake(t, configured())
	e.publish = func(context.Context) error { panic("engine") }
	p := hub.Publication{Room: "r", Key: "k"}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		_, _ = h.Caller(hub.Client{}).Publish(t.Context(), p)
	}()
	e.publish = nil
	if r := send(t, h, p); r.Replayed {
		t.Errorf("%+v", r)
	}
}
