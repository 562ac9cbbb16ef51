package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// revoke revokes what was issued up to now, for an hour.
func revoke(t *testing.T, h *hub.Hub, name string) hub.Revocation {
	t.Helper()
	r, err := h.Revoke(t.Context(), hub.Revocation{Name: name, Before: time.Now(), Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return r
}

// A user without a credential that says when it was made is refused as long as the revocation is
// kept: one who signs in with a password, a guest, a server, or who has a link.
func TestRevocationOfUserWithoutTimeOfIssue(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		defer h.Trust(&tokens{"key"})()
		timeless := &hub.Credential{Sources: []string{"key"}}
		clients := map[string]hub.Client{
			"ann":     {User: ann},
			"~gabc":   {User: &hub.User{ID: "~gabc"}, Credential: timeless},
			"~bshop":  {User: &hub.User{ID: "~bshop"}, Credential: timeless},
			"~llink1": {User: &hub.User{ID: "~llink1"}, Credential: timeless},
		}
		other := connect(t, h, hub.Client{User: &hub.User{ID: "ben"}})
		for id, c := range clients {
			s := connect(t, h, c)
			revoke(t, h, "user:"+id)
			if s.Ended() != hub.CauseCredential {
				t.Errorf("%s is ended by %v", id, s.Ended())
			}
			if _, err := h.Connect(c, deaf{}); !errors.Is(err, hub.ErrCredential) {
				t.Errorf("%s comes back: %v", id, err)
			}
			if err := h.Caller(c).May(hub.VerbPublish, "r"); !errors.Is(err, hub.ErrCredential) {
				t.Errorf("%s in a request: %v", id, err)
			}
		}
		if other.Ended() != 0 {
			t.Errorf("another user is ended by %v", other.Ended())
		}
		advance(time.Hour)
		for id, c := range clients {
			if err := h.Caller(c).May(hub.VerbPublish, "r"); errors.Is(err, hub.ErrCredential) {
				t.Errorf("%s after the revocation: %v", id, err)
			}
		}
	})
}

// What counts for a credential is when it was issued itself, not when what is shown beside it was.
func TestRevocationOfOneOfTwoCredentials(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		link := &hub.Credential{Sources: []string{"key"}, Names: []string{"link:l"}}
		revoke(t, h, "user:ann")
		advance(2 * time.Second)
		user, token := v.client("ann", "1h")
		both := connect(t, h, hub.Client{User: user, Credential: token.With(link, nil)})
		alone := connect(t, h, hub.Client{User: user, Credential: token})
		revoke(t, h, "link:l")
		if both.Ended() != hub.CauseCredential || alone.Ended() != 0 {
			t.Errorf("with the link ended by %v, without it by %v", both.Ended(), alone.Ended())
		}
		revoke(t, h, "token:ann1h")
		if alone.Ended() != hub.CauseCredential {
			t.Errorf("by its token ended by %v", alone.Ended())
		}
	})
}

// Times of issue are in whole seconds for most issuers, so all of the second counts.
func TestRevocationReachesItsWholeSecond(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		v := &tokens{"key"}
		defer h.Trust(v)()
		advance(100 * time.Millisecond)
		user, early := v.client("ann", "1h")
		advance(100 * time.Millisecond)
		revoke(t, h, "user:ann")
		if err := h.Caller(hub.Client{User: user, Credential: early}).May(hub.VerbPublish, "r"); !errors.Is(err, hub.ErrCredential) {
			t.Errorf("a token of the same second: %v", err)
		}
		advance(time.Second)
		_, late := v.client("ann", "1h")
		if err := h.Caller(hub.Client{User: user, Credential: late}).May(hub.VerbPublish, "r"); err != nil {
			t.Errorf("a token of the next second: %v", err)
		}
	})
}

// A second revocation of a name never makes the first one shorter.
func TestRevokingAgainReachesFurther(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		first := revoke(t, h, "user:ann")
		again, err := h.Revoke(t.Context(), hub.Revocation{Name: "user:ann", Before: first.Before.Add(-time.Hour), Until: first.Until.Add(-time.Minute)})
		if err != nil || again != first {
			t.Errorf("a shorter one: %+v, %v; want %+v", again, err, first)
		}
		longer := hub.Revocation{Name: "user:ann", Before: first.Before.Add(time.Minute), Until: first.Until.Add(time.Minute)}
		if again, err = h.Revoke(t.Context(), longer); err != nil || !again.Before.Equal(longer.Before) || !again.Until.Equal(longer.Until) {
			t.Errorf("a longer one: %+v, %v", again, err)
		}
	})
}

// Revocations are listed by name in pages, until they are forgotten.
func TestRevocationsAreListed(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		list := func(after string, limit int) (names []string) {
			for _, r := range h.Revocations(after, limit) {
				names = append(names, r.Name)
			}
			return names
		}
		equal(t, "none", list("", 10))
		for _, name := range []string{"user:b", "key:x", "user:a", "link:l"} {
			revoke(t, h, name)
		}
		equal(t, "all", list("", 10), "key:x", "link:l", "user:a", "user:b")
		equal(t, "a page", list("", 2), "key:x", "link:l")
		equal(t, "the next one", list("link:l", 2), "user:a", "user:b")
		equal(t, "the last one", list("user:b", 2))
		advance(time.Hour)
		equal(t, "later", list("", 10))
	})
}

// A hub that has ended takes no revocation, which nobody would keep.
func TestRevokingAfterClose(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		if err := h.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Revoke(t.Context(), hub.Revocation{Name: "user:ann", Until: time.Now().Add(time.Hour)}); !errors.Is(err, hub.ErrDraining) {
			t.Error(err)
		}
	})
}
