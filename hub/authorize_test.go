package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// rules is an authorizer: it allows what it holds, as "verb room user", and everything in
// rooms that it does not hold.
type rules map[string]bool

func (r rules) Decide(c hub.Principal, verb hub.Verb, room string) bool {
	if !r[room] || verb == hub.VerbCreate {
		return verb != hub.VerbModerate
	}
	user := "~"
	if c.User != nil {
		user = c.User.ID
	}
	return r[fmt.Sprint(verb, " ", room, " ", user)]
}

// ruled returns rules for the room r: each of the verbs for ann.
func ruled(verbs ...hub.Verb) rules {
	r := rules{"r": true}
	for _, v := range verbs {
		r[fmt.Sprint(v, " r ann")] = true
	}
	return r
}

var ann = &hub.User{ID: "ann"}

// The door refuses before anything else is looked at, and strangers otherwise than users. Whether
// the room exists makes no difference to that; only those who have the right are told.
func TestRightsAtTheDoor(t *testing.T) {
	t.Run("open", func(t *testing.T) { rightsAtTheDoor(t, configured(), nil) })
	t.Run("declared", func(t *testing.T) { rightsAtTheDoor(t, configured(onlyDeclaring("r")), nil) })
	t.Run("not declared", func(t *testing.T) { rightsAtTheDoor(t, configured(onlyDeclaring("other", "r/*")), hub.ErrNoRoom) })
}

// rightsAtTheDoor tries every method without the right to it, and with all of them: then the
// error is allowed, or anything if that is nil.
func rightsAtTheDoor(t *testing.T, s *settings.Settings, allowed error) {
	verbs := map[string]hub.Verb{
		"Publish": hub.VerbPublish, "Subscribe": hub.VerbSubscribe, "Show": hub.VerbShow, "Renew": hub.VerbSubscribe,
		"Read": hub.VerbSubscribe, "History": hub.VerbHistory, "Tail": hub.VerbSubscribe, "Presence": hub.VerbMembers,
		"MemberCount": hub.VerbMembers, "May": hub.VerbPublish,
	}
	e, h := newFake(t, s)
	asked := 0
	e.read = func(hub.Query) (hub.Page, error) { asked++; return hub.Page{}, nil }
	e.publish = func(context.Context) error { asked++; return nil }
	e.subscribe = func(context.Context) error { asked++; return nil }
	try := func(method string, verb hub.Verb, user *hub.User, want error) {
		session := connect(t, h, hub.Client{User: user})
		defer session.End(hub.CauseLeft)
		for kind, caller := range map[string]*hub.Caller{"session": &session.Caller, "request": h.Caller(session.Client())} {
			asked = 0
			if err := triesOf(caller)[method](t.Context(), "r"); !errors.Is(err, want) || asked > 0 {
				t.Errorf("%s by a %s, about %v: %v, want %v; the engine was asked %d times", method, kind, verb, err, want, asked)
			}
		}
	}
	for method, verb := range verbs {
		var others []hub.Verb
		for v := hub.VerbSubscribe; v <= hub.VerbShow; v++ {
			if v != verb {
				others = append(others, v)
			}
		}
		h.Authorize(ruled(others...))
		try(method, verb, nil, hub.ErrUnauthorized)
		try(method, verb, ann, hub.ErrForbidden)
		if h.Authorize(nil); allowed != nil {
			try(method, verb, nil, allowed)
		}
	}
	if got := h.Caller(hub.Client{}).Rights("r").Can; got != hub.AllVerbs {
		t.Errorf("without an authorizer a stranger can %b", got)
	}
	if n := h.Stats().Rooms; allowed != nil && n > 0 {
		t.Errorf("%d rooms were made", n)
	}
}

// What is taken away ends at once, on every kind of session; the others miss nothing.
func TestRightsAreTakenAway(t *testing.T) {
	tell := func(r hub.Change) []byte { return fmt.Appendf(nil, "%s %b %v", r.Room, r.Can, r.Left != 0) }
	h := newHub(t, configured())
	c := new(dispatcher)
	several := inDispatcher(t, h, c, "r", hub.Client{Tell: tell})
	join(t, several, "other", hub.Start{})
	bound := connect(t, h, hub.Client{Bound: true})
	join(t, bound, "r", hub.Start{})
	user := connect(t, h, hub.Client{User: ann, Tell: tell})
	join(t, user, "r", hub.Start{})
	publish(t, h, "r", "waits")
	h.Authorize(ruled(hub.VerbSubscribe, hub.VerbPublish, hub.VerbHistory))
	if _, err := user.Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("after")}); err != nil {
		t.Fatal(err)
	}
	publish(t, h, "other", "elsewhere")
	for _, test := range []struct {
		name  string
		s     *hub.Session
		cause hub.Cause
		want  string
	}{
		{"in several rooms", several, 0, "notice r 0 true, elsewhere"},
		{"bound to its room", bound, hub.CauseForbidden, ""},
		{"still allowed", user, 0, fmt.Sprintf("notice r %b false, waits, after", 1<<hub.VerbSubscribe|1<<hub.VerbPublish|1<<hub.VerbHistory)},
	} {
		if got := strings.Join(drain(t, test.s), ", "); got != test.want || test.s.Ended() != test.cause {
			t.Errorf("%s: %q, ended by %v; want %q", test.name, got, test.s.Ended(), test.want)
		}
	}
	if _, err := several.Subscribe(t.Context(), "r", hub.Start{}); !errors.Is(err, hub.ErrUnauthorized) {
		t.Errorf("coming back: %v", err)
	}
	h.Authorize(nil)
	join(t, several, "r", hub.Start{})
	if got := drain(t, user); len(got) != 1 || got[0] != fmt.Sprintf("notice r %b false", hub.AllVerbs) {
		t.Errorf("given back: %q", got)
	}
}

// After Authorize has returned nobody is in a room that it does not allow, whoever comes
// meanwhile.
func TestAuthorizeBesideSubscribers(t *testing.T) {
	besideSubscribers(t, func(h *hub.Hub) { h.Authorize(ruled()) }, func(h *hub.Hub) { h.Authorize(nil) })
}

// besideSubscribers closes the room r again and again while sessions subscribe to it, and opens it again. When it has been closed
// nobody may be in it.
func besideSubscribers(t *testing.T, shut, open func(*hub.Hub)) {
	t.Helper()
	h := newHub(t, configured())
	for range 50 {
		var all sync.WaitGroup
		var sessions []*hub.Session
		for range 4 {
			s := connect(t, h, hub.Client{})
			sessions = append(sessions, s)
			all.Go(func() {
				for range 20 {
					_, _ = s.Subscribe(context.Background(), "r", hub.Start{})
				}
			})
		}
		shut(h)
		n := h.SubscriberCount("r")
		all.Wait()
		if after := h.SubscriberCount("r"); n > 0 || after > 0 {
			t.Fatalf("%d subscribers, then %d", n, after)
		}
		for _, s := range sessions {
			s.End(hub.CauseLeft)
		}
		open(h)
	}
}

// Without the right to read history a client goes on from its cursor, and not far back.
func TestWithoutHistory(t *testing.T) {
	bubble(t, configured(keeping(100, 0)), func(t *testing.T, h *hub.Hub) {
		first := tail(t, h, "r")
		publish(t, h, "r", "old")
		advance(hub.RecentAge - time.Minute)
		second := tail(t, h, "r")
		publish(t, h, "r", "recent")
		advance(time.Minute + time.Second)
		h.Authorize(ruled(hub.VerbSubscribe))
		client := hub.Client{User: ann}
		for _, start := range []hub.Start{{Last: 1}, {Age: time.Hour}} {
			s := connect(t, h, client)
			join(t, s, "r", start)
			if got := drain(t, s); len(got) > 0 {
				t.Errorf("%+v: %q", start, got)
			}
		}
		for after, want := range map[hub.Position]string{first: "gap expired, recent", second: "recent"} {
			s := connect(t, h, client)
			join(t, s, "r", hub.Start{After: after})
			if got := strings.Join(drain(t, s), ", "); got != want {
				t.Errorf("a session after %v: %q, want %q", after, got, want)
			}
			page, err := h.Caller(client).Read(t.Context(), "r", hub.Query{After: after, Limit: 9})
			if err != nil || len(page.Messages) != 1 || (page.Gap != nil) != (after == first) {
				t.Errorf("a page after %v: %+v, %v", after, page, err)
			}
		}
	})
}

// Without the right to see members a client is told nothing of them.
func TestWithoutMembers(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		h.Authorize(ruled(hub.VerbSubscribe, hub.VerbShow))
		c := new(dispatcher)
		s := inDispatcher(t, h, c, "r", hub.Client{User: ann, Presence: hub.PresenceAll})
		if _, err := s.Subscribe(t.Context(), "r", hub.Start{State: []byte(`1`)}); err != nil {
			t.Fatal(err)
		}
		advance(2 * time.Second)
		if took, _ := c.walk(t); took != 0 {
			t.Error("a batch with members is taken")
		}
		if got := drain(t, s); len(got) > 0 {
			t.Errorf("it is told %q", got)
		}
		h.Authorize(nil)
		if got := drain(t, s); len(got) == 0 {
			t.Error("it is told nothing once it may see members")
		}
	})
}

// BenchmarkAuthorize takes all rights but one in a room from 5000 sessions in two rooms each,
// and gives them back.
func BenchmarkAuthorize(b *testing.B) {
	h := newHub(b, configured())
	taken := ruled(hub.VerbSubscribe)
	for range 5000 {
		s := connect(b, h, hub.Client{User: ann})
		join(b, s, "r", hub.Start{})
		join(b, s, "q", hub.Start{})
	}
	for b.Loop() {
		h.Authorize(taken)
		h.Authorize(nil)
	}
}
