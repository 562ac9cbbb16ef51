package hub

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// lenient is a verifier: a token is a user, whose credential expires after up to a second.
type lenient struct{ source string }

func (v lenient) Sources() []string { return []string{v.source} }

func (lenient) Family() string { return "" }

func (v lenient) Verify(_ context.Context, token string, _ netip.Addr) (*User, *Credential, error) {
	if token == "" {
		return nil, nil, errors.New("malformed")
	}
	now := time.Now()
	return &User{ID: token}, &Credential{
		Sources: []string{v.source}, Issued: now, Expires: now.Add(rand.N(time.Second)), Names: []string{"token:" + strconv.Itoa(rand.N(50))},
	}, nil
}

type quiet struct{}

func (quiet) Wake() {}

// Whoever becomes somebody while much else happens is counted once at any time, and not at all in
// the end.
func TestBecomingSomebodyBesideMuchElse(t *testing.T) {
	set := settings.Defaults()
	set.Rate, set.MaxPerUser, set.MaxUsers = limit.Unlimited, 30, 6
	set.Presence.Grace = 0
	h, err := New(set, NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close(context.Background()) }()
	forget := h.Trust(lenient{"key"})
	defer func() { forget() }()
	stop := make(chan struct{})
	var turns, all sync.WaitGroup
	turns.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			h.Authorize(Open{})
			now := time.Now()
			_, _ = h.Revoke(context.Background(), Revocation{Name: "token:" + strconv.Itoa(i%50), Before: now, Until: now.Add(time.Second)})
			next := h.Trust(lenient{"key"})
			forget()
			forget = next
			for _, s := range h.Sessions() {
				if rand.N(20) == 0 {
					s.End(CauseLeft)
				}
			}
		}
	})
	for range 8 {
		all.Go(func() {
			for range 150 {
				visitAndBecome(h)
			}
		})
	}
	all.Wait()
	close(stop)
	turns.Wait()
	for _, s := range h.Sessions() {
		s.End(CauseLeft)
	}
	checkNobodyIsLeft(t, h)
}

// checkNobodyIsLeft checks that nobody is counted, waited for or listed any more.
func checkNobodyIsLeft(t *testing.T, h *Hub) {
	t.Helper()
	h.users.Each(func(user string, n int) {
		if n != 0 {
			t.Errorf("%q has %d connections", user, n)
		}
	})
	h.lifetimes.mu.Lock()
	if len(h.lifetimes.of)+len(h.lifetimes.conns)+len(h.lifetimes.next) != 0 {
		t.Errorf("%d lifetimes of %d connections are left, %d in order", len(h.lifetimes.of), len(h.lifetimes.conns), len(h.lifetimes.next))
	}
	h.lifetimes.mu.Unlock()
	for _, r := range h.list() {
		if n := r.memberCount(); n != 0 {
			t.Errorf("%s has %d members", r.name, n)
		}
	}
}

// visitAndBecome connects, and becomes one or the other user, twice at once.
func visitAndBecome(h *Hub) {
	var c Client
	switch rand.N(3) {
	case 0:
		c.User, c.Credential, _ = lenient{"key"}.Verify(context.Background(), "u"+strconv.Itoa(rand.N(4)), netip.Addr{})
	case 1:
		c.User = &User{ID: message.GuestID(strconv.Itoa(rand.N(5)))}
	default:
	}
	c.Presence = PresenceLevel(rand.N(3))
	s, err := h.Connect(c, quiet{})
	if err != nil {
		return
	}
	var parts sync.WaitGroup
	for range 2 {
		parts.Go(func() {
			for range 3 {
				_, _ = s.Authenticate(context.Background(), "u"+strconv.Itoa(rand.N(4)))
			}
		})
	}
	parts.Go(func() {
		for range 4 {
			room := "r" + strconv.Itoa(rand.N(3))
			_, _ = s.Subscribe(context.Background(), room, Start{State: []byte("1")})
			_, _ = s.Publish(context.Background(), Publication{Room: room, Data: []byte("x")})
			_ = s.Unsubscribe("r" + strconv.Itoa(rand.N(3)))
		}
	})
	if rand.N(2) == 0 {
		parts.Go(func() { s.End(CauseLeft) })
	}
	parts.Wait()
	s.End(CauseLeft)
}
