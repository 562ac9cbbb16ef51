package hub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

// except returns rules that leave out these verbs.
func except(out ...hub.Verb) rules {
	var vs []hub.Verb
	for v := hub.VerbSubscribe; v <= hub.VerbShow; v++ {
		keep := true
		for _, o := range out {
			keep = keep && o != v
		}
		if keep {
			vs = append(vs, v)
		}
	}
	return ruled(vs...)
}

// items takes up to n items.
func items(s *hub.Session, n int) []hub.Item {
	its, _ := s.Next(make([]hub.Item, 0, n))
	return its
}

// A snapshot that is still due is not sent once members may not be seen.
func TestNoSnapshotWithoutMembers(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		other := connect(t, h, hub.Client{User: &hub.User{ID: "secretuser"}})
		join(t, other, "r", hub.Start{State: []byte(`{"x":1}`)})
		s := connect(t, h, hub.Client{User: ann, Presence: hub.PresenceAll})
		join(t, s, "r", hub.Start{})
		advance(3 * time.Second)
		h.Authorize(except(hub.VerbMembers))
		for _, it := range items(s, 10) {
			if it.Presence != nil {
				t.Errorf("snapshot after members was taken: %d here, %+v", it.Presence.Members, it.Presence.Here)
			}
		}
	})
}

// racing is an engine that calls hook in the middle of the next read.
type racing struct {
	hub.Keeper
	hook func()
}

func (r *racing) Read(ctx context.Context, room string, q hub.Query) (hub.Page, error) {
	if f := r.hook; f != nil {
		r.hook = nil
		f()
	}
	return r.Keeper.Read(ctx, room, q)
}

// History that is taken away while a session subscribes is not given.
func TestHistoryIsTakenWhileSubscribing(t *testing.T) {
	e := &racing{Keeper: hub.NewMemory()}
	h, err := hub.New(configured(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close(context.Background()) }()
	publish(t, h, "r", "old1", "old2")
	s := connect(t, h, hub.Client{User: ann})
	e.hook = func() { h.Authorize(except(hub.VerbHistory)) }
	if _, err := s.Subscribe(t.Context(), "r", hub.Start{Last: 10}); err != nil {
		t.Fatal(err)
	}
	for _, it := range items(s, 10) {
		if it.Message != nil {
			t.Errorf("history after it was taken: %s", it.Message.Data)
		}
	}
}

// flap is an authorizer that does not let the third question about subscribe pass.
type flap struct{ n int }

func (f *flap) Decide(_ hub.Principal, v hub.Verb, _ string) bool {
	if v == hub.VerbSubscribe {
		f.n++
		return f.n != 3
	}
	return true
}

// Where rights change twice while a session subscribes, it has an error or a subscription.
func TestSubscribeBesideTwoChanges(t *testing.T) {
	h := newHub(t, configured())
	h.Authorize(&flap{})
	s := connect(t, h, hub.Client{User: ann})
	j, err := s.Subscribe(t.Context(), "r", hub.Start{Answer: func(hub.Joined) []byte { return []byte("ok") }})
	if err == nil && s.Cursor("r").IsZero() {
		t.Errorf("Subscribe: nil error without subscription, joined=%+v, items=%d", j, len(items(s, 5)))
	}
}

// A cursor tells when something was published in its room, and not in others.
func TestCursorsTellNothingOfOtherRooms(t *testing.T) {
	h := newHub(t, configured())
	h.Authorize(except(hub.VerbSubscribe)) // r is closed to strangers
	c := h.Caller(hub.Client{})
	a, _ := c.Tail(t.Context(), "open")
	r, err := h.Caller(hub.Client{User: ann}).Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("secret")})
	b, _ := c.Tail(t.Context(), "open")
	if a != b {
		t.Errorf("the tail of an open empty room went from %v to %v; closed room's message %v (%v)", a, b, r.Position, err)
	}
}

// Nor does that of presence tell of rooms whose members the caller may not see.
func TestPresenceCursorsTellNothingOfOtherRooms(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		closed := rules{"r": true}
		for v := hub.VerbSubscribe; v <= hub.VerbShow; v++ {
			closed[fmt.Sprint(v, " r ann")] = true
		}
		h.Authorize(closed)
		c := h.Caller(hub.Client{})
		_, a := c.PresenceSince([]string{"r"}, hub.Position{}) // no right at all
		s := connect(t, h, hub.Client{User: ann, Presence: hub.PresenceAll})
		join(t, s, "r", hub.Start{State: []byte(`1`)})
		advance(3 * time.Second)
		_, b := c.PresenceSince([]string{"r"}, hub.Position{})
		if a != b {
			t.Errorf("presence cursor of a stranger: %v then %v", a, b)
		}
	})
}

// Nor does it tell of them to somebody who has it change: it goes by the clock, and counts nothing.
func TestPresenceCursorsDoNotCount(t *testing.T) {
	passed := func(t *testing.T, elsewhere int) (d uint64) {
		bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
			s := connect(t, h, hub.Client{User: ann})
			join(t, s, "open", hub.Start{State: []byte("0")})
			var cursors [2]uint64
			for i := range cursors {
				for room := range i * elsewhere {
					join(t, connect(t, h, hub.Client{User: &hub.User{ID: "ben"}}), fmt.Sprintf("closed/%d", room), hub.Start{State: []byte("1")})
				}
				advance(3 * time.Second)
				if err := s.Show(t.Context(), "open", fmt.Appendf(nil, "%d", i+1)); err != nil {
					t.Fatal(err)
				}
				advance(3 * time.Second)
				_, cursor := s.PresenceSince([]string{"open"}, hub.Position{})
				cursors[i] = cursor.Offset
			}
			d = cursors[1] - cursors[0]
		})
		return d
	}
	if alone, beside := passed(t, 0), passed(t, 20); alone != beside {
		t.Errorf("the cursor goes on by %d, and by %d if there are members elsewhere", alone, beside)
	}
}

// Who may see members again gets a snapshot, even if nothing has changed.
func TestMembersAreGivenBack(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{User: ann, Presence: hub.PresenceAll, Tell: func(r hub.Change) []byte { return fmt.Appendf(nil, "%b", r.Can) }})
		join(t, s, "r", hub.Start{})
		advance(3 * time.Second)
		items(s, 20)
		h.Authorize(except(hub.VerbMembers))
		items(s, 20)
		h.Authorize(nil)
		n := 0
		for _, it := range items(s, 20) {
			if it.Presence != nil {
				n++
			}
		}
		if n == 0 {
			t.Error("no snapshot after members was given back")
		}
	})
}

// What is older than RecentAge is not read on once history is taken away.
func TestHistoryIsTakenFromABacklog(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{}) // keeps the window
		join(t, watcher, "r", hub.Start{})
		publish(t, h, "r", count(1, 30)...)
		s := connect(t, h, hub.Client{User: ann})
		join(t, s, "r", hub.Start{Last: 30})
		items(s, 2)
		advance(hub.RecentAge + time.Second)
		publish(t, h, "r", "31")
		h.Authorize(except(hub.VerbHistory))
		if got := strings.Join(drain(t, s), ", "); got != "gap expired, 31" {
			t.Errorf("got %q", got)
		}
	})
}

// Presence that was taken from a session does not pass Still without the right to it.
func TestTakenPresenceIsNotSent(t *testing.T) {
	h := newHub(t, configured())
	s := connect(t, h, hub.Client{User: ann, Presence: hub.PresenceAll})
	join(t, s, "r", hub.Start{})
	pending := items(s, 10)
	h.Authorize(except(hub.VerbMembers))
	if len(pending) > 0 && (s.Revocations() == 0 || len(s.Still(pending)) > 0) {
		t.Errorf("revoked %d times, still=%d of %d pending presence items", s.Revocations(), len(s.Still(pending)), len(pending))
	}
}

// A state is taken back with the right to show one.
func TestShowIsTaken(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{User: ann})
		join(t, s, "r", hub.Start{State: []byte(`"rude"`)})
		h.Authorize(except(hub.VerbShow))
		advance(time.Minute)
		h.Authorize(except(hub.VerbShow))
		p, err := h.Caller(hub.Client{User: ann}).Presence("r")
		if err == nil && len(p.Here) > 0 && len(p.Here[0].State) > 0 {
			t.Errorf("state of %v is still shown a minute after show was taken: %s", p.Here[0].ID, p.Here[0].State)
		}
	})
}

// bomb is an authorizer that panics about the room c.
type bomb struct{}

func (bomb) Decide(_ hub.Principal, _ hub.Verb, room string) bool {
	if room == "c" {
		panic("bomb")
	}
	return room != "a"
}

// An authorizer that panics leaves sessions as they were.
func TestAuthorizerPanics(t *testing.T) {
	h, err := hub.New(configured(), hub.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close(context.Background()) }()
	s := connect(t, h, hub.Client{User: ann})
	for _, r := range []string{"a", "b", "c"} {
		join(t, s, r, hub.Start{})
	}
	func() {
		defer func() { t.Log("authorize:", recover()) }()
		h.Authorize(bomb{})
	}()
	h.Authorize(nil)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("End panics: %v", p)
		}
	}()
	s.End(hub.CauseLeft)
	if err := h.Check(); err != nil {
		t.Errorf("%v", err)
	}
}
