package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// tokens is a verifier: a token is "user seconds", or "user seconds verb".
type tokens struct{ source string }

func (v *tokens) Sources() []string { return []string{v.source} }

func (*tokens) Family() string { return "" }

func (v *tokens) Verify(_ context.Context, token string, _ netip.Addr) (*hub.User, *hub.Credential, error) {
	words := strings.Fields(token)
	if len(words) < 2 {
		return nil, nil, errors.New("malformed")
	}
	user, cred := v.client(words[0], words[1]+"s")
	if len(words) > 2 {
		cred.Grants = grants(words[2])
	}
	return user, cred, nil
}

func (v *tokens) client(user, life string) (*hub.User, *hub.Credential) {
	d, err := time.ParseDuration(life)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	return &hub.User{ID: user}, &hub.Credential{
		Sources: []string{v.source}, Issued: now, Expires: now.Add(d), Names: []string{"token:" + user + life},
	}
}

// grants is a verb that is granted in each room.
type grants string

func (g grants) Grants(verb hub.Verb, _ string) (granted, exactly bool) {
	return verb.String() == string(g), false
}

// granted is an authorizer that goes by grants alone, except for subscribe.
type granted struct{}

func (granted) Decide(p hub.Principal, verb hub.Verb, room string) bool {
	if verb == hub.VerbSubscribe || verb == hub.VerbCreate || p.Credential == nil || p.Credential.Grants == nil {
		return verb == hub.VerbSubscribe || verb == hub.VerbCreate
	}
	ok, _ := p.Credential.Grants.Grants(verb, room)
	return ok
}

func tellChange(c hub.Change) []byte {
	if c.Expires > 0 {
		return fmt.Appendf(nil, "expires in %s", c.Expires.Round(time.Second))
	}
	return fmt.Appendf(nil, "can %b", c.Can)
}

// A client is warned, then its session ends.
func TestCredentialsExpire(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		user, short := v.client("ann", "100s")
		_, long := v.client("ben", "10m")
		a := connect(t, h, hub.Client{User: user, Credential: short, Tell: tellChange})
		b := connect(t, h, hub.Client{User: user, Credential: long, Tell: tellChange})
		forever := connect(t, h, hub.Client{User: ann})
		advance(79 * time.Second)
		equal(t, "before", drain(t, a))
		advance(2 * time.Second) // four fifths, which is later than a minute before
		equal(t, "warning", drain(t, a), "notice expires in 20s")
		advance(18 * time.Second)
		if a.Ended() != 0 {
			t.Errorf("ended early: %v", a.Ended())
		}
		advance(2 * time.Second)
		if a.Ended() != hub.CauseCredential || b.Ended() != 0 {
			t.Errorf("ended by %v, and the other by %v", a.Ended(), b.Ended())
		}
		advance(10 * time.Minute)
		equal(t, "the longer one", drain(t, b), "notice expires in 1m0s")
		if b.Ended() != hub.CauseCredential || forever.Ended() != 0 {
			t.Errorf("ended by %v, and the one without a credential by %v", b.Ended(), forever.Ended())
		}
		_, over := v.client("ann", "0s")
		if _, err := h.Connect(hub.Client{User: user, Credential: over}, deaf{}); !errors.Is(err, hub.ErrCredential) {
			t.Errorf("connecting with an expired credential: %v", err)
		}
		if _, err := h.Caller(hub.Client{User: user, Credential: over}).Publish(t.Context(), hub.Publication{Room: "r"}); !errors.Is(err, hub.ErrCredential) {
			t.Errorf("publishing with an expired credential: %v", err)
		}
	})
}

// Another token of the same user renews the credential in place, and replaces its grants.
func TestRenewing(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		h.Authorize(granted{})
		user, cred := v.client("ann", "60s")
		cred.Grants = grants("publish")
		s := connect(t, h, hub.Client{User: user, Credential: cred, Tell: tellChange})
		join(t, s, "r", hub.Start{})
		conn := s.ID()
		is, err := s.Authenticate(t.Context(), "ann 3600 show")
		if err != nil || is.Conn != conn || is.User.ID != "ann" || time.Until(is.Expires) != time.Hour {
			t.Fatalf("%+v, %v", is, err)
		}
		equal(t, "rights", drain(t, s), fmt.Sprintf("notice can %b", 1<<hub.VerbSubscribe|1<<hub.VerbShow))
		if _, err := s.Publish(t.Context(), hub.Publication{Room: "r"}); !errors.Is(err, hub.ErrForbidden) {
			t.Errorf("publishing with the grants of the old token: %v", err)
		}
		if is, err = s.Authenticate(t.Context(), "ann 10"); err != nil || time.Until(is.Expires) != time.Hour {
			t.Errorf("one that expires earlier: %+v, %v", is, err)
		}
		advance(59 * time.Minute)
		if s.Ended() != 0 {
			t.Errorf("ended by %v", s.Ended())
		}
		advance(2 * time.Minute)
		if s.Ended() != hub.CauseCredential {
			t.Errorf("ended by %v", s.Ended())
		}
		if _, err := s.Authenticate(t.Context(), "ann 3600"); !errors.Is(err, hub.ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A request renews the credential of the session on its connection.
func TestRenewingByRequest(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		user, cred := v.client("ann", "60s")
		s := connect(t, h, hub.Client{User: user, Credential: cred})
		if is, err := h.Caller(hub.Client{ID: s.ID(), User: user}).Authenticate(t.Context(), "ann 600"); err != nil || time.Until(is.Expires) != 10*time.Minute {
			t.Errorf("%+v, %v", is, err)
		}
		advance(5 * time.Minute)
		if s.Ended() != 0 {
			t.Errorf("ended by %v", s.Ended())
		}
		if _, err := h.Caller(hub.Client{ID: "x", User: user}).Authenticate(t.Context(), "ann 600"); !errors.Is(err, hub.ErrConn) {
			t.Errorf("another connection: %v", err)
		}
	})
}

// A token gives an anonymous client its user in place: others see one member leave and one
// enter, in one frame. Another user's token ends the session.
func TestRaising(t *testing.T) {
	bubble(t, configured(keeping(10, time.Hour)), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		watcher := connect(t, h, hub.Client{User: &hub.User{ID: "watcher"}, Presence: hub.PresenceAll})
		join(t, watcher, "r", hub.Start{})
		s := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		join(t, s, "r", hub.Start{State: []byte(`1`)})
		advance(5 * time.Second)
		drain(t, watcher)
		conn := s.ID()
		is, err := s.Authenticate(t.Context(), "ann 600")
		if err != nil || is.Conn == conn || !h.Owns(is.Conn, is.User) || s.ID() != is.Conn {
			t.Fatalf("%+v, %v", is, err)
		}
		advance(2 * time.Second)
		frames := presenceOf(t, watcher)
		if len(frames) != 1 || len(frames[0].Enter) != 1 || frames[0].Enter[0].ID != "ann" || string(frames[0].Enter[0].State) != "1" || len(frames[0].Leave) != 1 || frames[0].Members != 2 {
			t.Errorf("%+v", frames)
		}
		if r, err := s.Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("x")}); err != nil || r.IsZero() {
			t.Error(err)
		}
		if p := page(t, h, "r", hub.Query{Last: 1, Limit: 1}); p.Messages[0].From.ID != "ann" {
			t.Errorf("from %+v", p.Messages[0].From)
		}
		if _, err := s.Authenticate(t.Context(), "ben 600"); !errors.Is(err, hub.ErrUserChanged) || s.Ended() != hub.CauseUser {
			t.Errorf("another user's token: %v, ended by %v", err, s.Ended())
		}
	})
}

// presenceOf returns the presence frames that are due to a session.
func presenceOf(t *testing.T, s *hub.Session) (frames []*hub.Presence) {
	t.Helper()
	items, _ := s.Next(make([]hub.Item, 0, 16))
	for _, it := range items {
		if it.Presence != nil {
			frames = append(frames, it.Presence)
		}
	}
	return frames
}

// Tokens can be tried only so often on a connection.
func TestRateOfTokens(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		if _, err := s.Authenticate(t.Context(), "ann 600"); !errors.Is(err, hub.ErrNoVerifier) {
			t.Errorf("without a verifier: %v", err)
		}
		defer h.Trust(&tokens{"key"})()
		for range 4 {
			if _, err := s.Authenticate(t.Context(), "ann"); err == nil || errors.Is(err, limit.ErrRate) {
				t.Errorf("a malformed token: %v", err)
			}
		}
		_, err := s.Authenticate(t.Context(), "ann 600")
		limited(t, err, limit.ErrRate, "rate of tokens")
		advance(10 * time.Second)
		if _, err := s.Authenticate(t.Context(), "ann 600"); err != nil {
			t.Error(err)
		}
	})
}

// When nobody vouches for a key any more, the sessions that were opened with it end. A
// configuration that has the same key keeps them.
func TestSourcesAreForgotten(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		old, both := &tokens{"old"}, &tokens{"new"}
		forgetOld, forgetFirst := h.Trust(old), h.Trust(both)
		user, byOld := old.client("ann", "1h")
		_, byNew := both.client("ann", "1h")
		a := connect(t, h, hub.Client{User: user, Credential: byOld})
		b := connect(t, h, hub.Client{User: user, Credential: byNew})
		anonymous := connect(t, h, hub.Client{})
		defer h.Trust(&tokens{"new"})() // the next configuration
		forgetOld()
		forgetFirst()
		if a.Ended() != hub.CauseCredential || b.Ended() != 0 || anonymous.Ended() != 0 {
			t.Errorf("ended by %v, %v, %v", a.Ended(), b.Ended(), anonymous.Ended())
		}
		if _, err := h.Connect(hub.Client{User: user, Credential: byOld}, deaf{}); !errors.Is(err, hub.ErrCredential) {
			t.Errorf("coming back: %v", err)
		}
	})
}

// A revocation ends the sessions that it is about, refuses the same credentials until it is
// forgotten, and lets pass what was issued after it.
func TestRevocation(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		user, cred := v.client("ann", "2h")
		ben, other := v.client("ben", "1h")
		a := connect(t, h, hub.Client{User: user, Credential: cred})
		b := connect(t, h, hub.Client{User: ben, Credential: other})
		now := time.Now()
		revoke := func(name string) {
			t.Helper()
			if _, err := h.Revoke(t.Context(), hub.Revocation{Name: name, Before: now, Until: now.Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		revoke("user:ann")
		if a.Ended() != hub.CauseCredential || b.Ended() != 0 {
			t.Errorf("ended by %v, and the other by %v", a.Ended(), b.Ended())
		}
		for _, c := range []hub.Client{{User: user, Credential: cred}} {
			if _, err := h.Connect(c, deaf{}); !errors.Is(err, hub.ErrCredential) {
				t.Errorf("the same token: %v", err)
			}
			if err := h.Caller(c).May(hub.VerbPublish, "r"); !errors.Is(err, hub.ErrCredential) {
				t.Errorf("the same token in a request: %v", err)
			}
		}
		advance(2 * time.Second)
		_, later := v.client("ann", "1h")
		if s, err := h.Connect(hub.Client{User: user, Credential: later}, deaf{}); err != nil {
			t.Errorf("a later token: %v", err)
		} else {
			s.End(hub.CauseLeft)
		}
		revoke("token:ben1h")
		if b.Ended() != hub.CauseCredential {
			t.Errorf("ended by %v", b.Ended())
		}
		advance(time.Hour)
		if s, err := h.Connect(hub.Client{User: user, Credential: cred}, deaf{}); err != nil {
			t.Errorf("after the revocation: %v", err)
		} else {
			s.End(hub.CauseLeft)
		}
		for _, bad := range []hub.Revocation{{}, {Name: "user:ann", Until: time.Now().Add(-time.Second)}} {
			if _, err := h.Revoke(t.Context(), bad); err == nil {
				t.Errorf("%+v is taken", bad)
			}
		}
	})
}

// creators lets ann make rooms.
type creators struct{}

func (creators) Decide(p hub.Principal, verb hub.Verb, room string) bool {
	switch verb {
	case hub.VerbCreate:
		return p.User != nil && p.User.ID == "ann"
	case hub.VerbModerate:
		return false
	default:
		return room != "box" || verb == hub.VerbPublish
	}
}

// Who may not make a room finds only those that exist.
func TestCreate(t *testing.T) {
	bubble(t, configured(keeping(10, time.Hour), func(s *settings.Settings) { s.Rate = limit.Unlimited }), func(t *testing.T, h *hub.Hub) {
		h.Authorize(creators{})
		s := connect(t, h, hub.Client{})
		stranger := h.Caller(hub.Client{})
		visitor := h.Caller(hub.Client{ID: h.NewConn(nil)})
		tries := map[string]func() error{
			"subscribe": func() error { _, err := s.Subscribe(t.Context(), "r", hub.Start{}); return err },
			"publish": func() error {
				_, err := stranger.Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("x")})
				return err
			},
			"read":    func() error { _, err := stranger.Read(t.Context(), "r", hub.Query{Last: 1}); return err },
			"tail":    func() error { _, err := stranger.Tail(t.Context(), "r"); return err },
			"history": func() error { _, err := stranger.History(t.Context(), "r", hub.Query{Last: 1}); return err },
			"renew":   func() error { return visitor.Renew(t.Context(), "r", nil) },
			"look":    func() error { _, err := visitor.Subscribe(t.Context(), "r", hub.Start{}); return err },
		}
		for name, try := range tries {
			if err := try(); !errors.Is(err, hub.ErrNoRoom) {
				t.Errorf("%s in a room that does not exist: %v", name, err)
			}
		}
		if _, err := stranger.Publish(t.Context(), hub.Publication{Room: "box"}); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("in a room that may only be written to: %v", err)
		}
		if _, err := h.Caller(hub.Client{User: ann}).Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		for name, try := range tries {
			if err := try(); err != nil {
				t.Errorf("%s in a room that exists: %v", name, err)
			}
		}
	})
}

// revoker is a waker that counts how often it has to let go of what it has.
type revoker struct {
	deaf
	times atomic.Int32
}

func (r *revoker) Revoke() { r.times.Add(1) }

// What waits for a slow client is not sent on once its credential does not count any more.
func TestNothingWaitsForWhoIsRefused(t *testing.T) {
	for name, refuse := range map[string]func(t *testing.T, h *hub.Hub, forget func()){
		"expired": func(*testing.T, *hub.Hub, func()) { advance(time.Hour) },
		"revoked": func(t *testing.T, h *hub.Hub, _ func()) {
			if _, err := h.Revoke(t.Context(), hub.Revocation{Name: "user:ann", Before: time.Now(), Until: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		},
		"dropped": func(_ *testing.T, _ *hub.Hub, forget func()) { forget() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
				v, w := &tokens{"key"}, new(revoker)
				forget := h.Trust(v)
				defer forget()
				user, cred := v.client("ann", "1h")
				s, err := h.Connect(hub.Client{User: user, Credential: cred}, w)
				if err != nil {
					t.Fatal(err)
				}
				join(t, s, "r", hub.Start{})
				publish(t, h, "r", "secret")
				taken := items(s, 10)
				before := s.Revocations()
				refuse(t, h, forget)
				if s.Ended() != hub.CauseCredential || w.times.Load() != 1 {
					t.Errorf("ended by %v, let go %d times", s.Ended(), w.times.Load())
				}
				if left := s.Still(taken); s.Revocations() == before || len(taken) != 1 || len(left) != 0 {
					t.Errorf("of %d items %d are sent", len(taken), len(left))
				}
			})
		})
	}
}
