package hub_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// seen returns the presence that a session gets as short text: the number, then who is
// here (=), entered (+), changed (~) and left (-).
func seen(t *testing.T, s *hub.Session) (told []string) {
	t.Helper()
	for {
		items, more := s.Next(make([]hub.Item, 0, 8))
		for _, it := range items {
			if it.Presence != nil {
				told = append(told, short(it.Presence))
			}
		}
		if !more {
			return told
		}
	}
}

func short(p *hub.Presence) string {
	text := []string{fmt.Sprint(p.Members)}
	for _, group := range []struct {
		sign    string
		members []hub.Member
	}{{"=", p.Here}, {"+", p.Enter}, {"~", p.Update}} {
		for _, m := range group.members {
			id := m.ID
			if strings.HasPrefix(id, "~") {
				id = "anon"
			}
			text = append(text, group.sign+id+string(m.State))
		}
	}
	for _, d := range p.Leave {
		text = append(text, "-"+d.ID+":"+string(d.Why))
	}
	slices.Sort(text[1:])
	return strings.Join(text, " ")
}

func person(id string) hub.Client {
	return hub.Client{User: &hub.User{ID: id}, Presence: hub.PresenceSome}
}

func TestPresence(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		ann := connect(t, h, person("ann"))
		join(t, ann, "r", hub.Start{State: []byte(`1`)})
		equal(t, "her own snapshot", seen(t, ann), "1 =ann1")
		advance(time.Millisecond)
		equal(t, "and frame", seen(t, ann), "1 +ann1")

		bob := connect(t, h, person("bob"))
		join(t, bob, "r", hub.Start{State: []byte(`2`)})
		equal(t, "who comes later", seen(t, bob), "2 =ann1 =bob2")
		advance(time.Second)
		equal(t, "a frame a second", seen(t, ann), "2 +bob2")
		equal(t, "told twice", seen(t, bob), "2 +bob2")

		advance(time.Minute)
		if err := bob.Show(t.Context(), "r", []byte(`3`)); err != nil {
			t.Fatal(err)
		}
		advance(time.Millisecond)
		equal(t, "at once after a quiet second", seen(t, ann), "2 ~bob3")
		for range 10 {
			if err := bob.Show(t.Context(), "r", []byte(`4`)); err != nil {
				t.Fatal(err)
			}
			advance(time.Millisecond)
		}
		equal(t, "not sooner", seen(t, ann))
		advance(time.Second)
		equal(t, "gathered", seen(t, ann), "2 ~bob4")

		bob.Unsubscribe("r")
		advance(time.Second)
		equal(t, "without grace", seen(t, ann), "1 -bob:left")
	})
}

func TestPresenceOfOneInSeveralTabs(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{Presence: hub.PresenceSome, Observer: true})
		join(t, watcher, "r", hub.Start{})
		equal(t, "nobody", seen(t, watcher), "0")
		var tabs [3]*hub.Session
		for i := range tabs {
			tabs[i] = connect(t, h, person("ann"))
			join(t, tabs[i], "r", hub.Start{State: fmt.Append(nil, i)})
			advance(2 * time.Second)
		}
		equal(t, "one member", seen(t, watcher), "1 +ann0", "1 ~ann1", "1 ~ann2")
		tabs[2].Unsubscribe("r")
		advance(2 * time.Second)
		equal(t, "what she showed before", seen(t, watcher), "1 ~ann1")
		tabs[0].End(hub.CauseLeft)
		advance(time.Second)
		tabs[1].End(hub.CauseGone)
		advance(9 * time.Second)
		equal(t, "grace", seen(t, watcher))
		advance(2 * time.Second)
		equal(t, "with the last", seen(t, watcher), "0 -ann:timeout")
	})
}

func TestPresenceGrace(t *testing.T) {
	grace := func(s *settings.Settings) { s.Presence.Grace = 4 * time.Second }
	bubble(t, configured(grace), func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{Presence: hub.PresenceAll, Observer: true})
		join(t, watcher, "r", hub.Start{})
		equal(t, "nobody", seen(t, watcher), "0")
		id := h.NewConn(nil)
		reload := func() *hub.Session {
			s := connect(t, h, hub.Client{ID: id})
			join(t, s, "r", hub.Start{State: []byte(`{}`)})
			return s
		}
		s := reload()
		advance(2 * time.Second)
		for range 5 {
			s.End(hub.CauseLeft)
			advance(3 * time.Second)
			s = reload()
			advance(2 * time.Second)
		}
		equal(t, "no leave and join", seen(t, watcher), "1 +anon{}")
		s.End(hub.CauseLeft)
		advance(5 * time.Second)
		if told := seen(t, watcher); len(told) != 1 || !strings.HasSuffix(told[0], ":left") {
			t.Errorf("told %q", told)
		}
	})
}

func TestPresenceByLease(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		watcher := connect(t, h, hub.Client{Presence: hub.PresenceSome, Observer: true})
		join(t, watcher, "r", hub.Start{})
		equal(t, "nobody", seen(t, watcher), "0")
		poller := hub.Client{ID: "poller", User: &hub.User{ID: "pat"}}
		for range 4 { // polls that come every 25 s and leave nothing between them
			if err := h.Caller(poller).Renew(t.Context(), "r", []byte(`0`)); err != nil {
				t.Fatal(err)
			}
			advance(25 * time.Second)
		}
		equal(t, "one member all the time", seen(t, watcher), "1 +pat0")
		advance(10 * time.Second)
		equal(t, "its time is over", seen(t, watcher), "0 -pat:timeout")

		if err := h.Caller(poller).Show(t.Context(), "r", []byte(`0`)); err != nil {
			t.Fatal(err)
		}
		advance(2 * time.Second)
		h.Caller(poller).Unsubscribe("r")
		advance(2 * time.Second)
		equal(t, "withdrawn", seen(t, watcher), "1 +pat0", "0 -pat:left")
		for name, err := range map[string]error{
			"state": h.Caller(poller).Show(t.Context(), "r", make([]byte, hub.MaxState+1)),
			"room":  h.Caller(poller).Show(t.Context(), "", nil),
		} {
			if !errors.Is(err, hub.ErrState) && !errors.Is(err, names.ErrRoom) {
				t.Errorf("bad %s: %v", name, err)
			}
		}
	})
}

func TestPresenceCounts(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		for range 3 {
			join(t, connect(t, h, hub.Client{}), "r", hub.Start{})
		}
		number := func(want int) {
			t.Helper()
			p, err := h.Caller(hub.Client{}).Presence("r")
			if err != nil || p.Members != want {
				t.Errorf("%+v, %v, want %d members", p, err, want)
			}
		}
		number(3)
		s := connect(t, h, hub.Client{Presence: hub.PresenceSome})
		if got := join(t, s, "r", hub.Start{}); got.Members != 4 {
			t.Errorf("joined as one of %d", got.Members)
		}
		advance(2 * time.Second)
		if told := seen(t, s); told[len(told)-1] != "4" {
			t.Errorf("told of all: %q", told)
		}
		raw := connect(t, h, hub.Client{})
		join(t, raw, "r", hub.Start{})
		advance(2 * time.Second)
		equal(t, "told of one more", seen(t, s), "5")
		if err := raw.Show(t.Context(), "r", []byte(`7`)); err != nil {
			t.Fatal(err)
		}
		advance(2 * time.Second)
		equal(t, "shows himself", seen(t, s), "5 +anon7")
		raw.End(hub.CauseGone)
		number(5)
		advance(11 * time.Second)
		number(4)
		if _, err := s.Subscribe(t.Context(), "r", hub.Start{}); err != nil {
			t.Fatal(err)
		}
		number(4)
		if err := s.Show(t.Context(), "elsewhere", []byte(`1`)); !errors.Is(err, hub.ErrNotJoined) {
			t.Errorf("not there: %v", err)
		}
	})
}

func TestPresenceModes(t *testing.T) {
	mode := func(m settings.PresenceMode) func(*settings.Settings) {
		return func(s *settings.Settings) {
			s.Rooms = []settings.RoomRule{{Pattern: "r", Presence: &settings.PresenceRule{Mode: m, Grace: time.Second}}}
		}
	}
	bubble(t, configured(mode(settings.PresenceCount)), func(t *testing.T, h *hub.Hub) {
		ann := connect(t, h, person("ann"))
		join(t, ann, "r", hub.Start{State: []byte(`1`)})
		advance(2 * time.Second)
		equal(t, "the number alone", seen(t, ann), "1")

		configure := func(m settings.PresenceMode) {
			t.Helper()
			if err := h.Configure(configured(mode(m))); err != nil {
				t.Fatal(err)
			}
		}
		configure(settings.PresenceOff)
		equal(t, "nothing", seen(t, ann))
		if _, err := h.Caller(hub.Client{}).Presence("r"); !errors.Is(err, hub.ErrPresence) {
			t.Errorf("presence that is off: %v", err)
		}
		if err := ann.Show(t.Context(), "r", []byte(`2`)); !errors.Is(err, hub.ErrPresence) {
			t.Errorf("showing a state: %v", err)
		}
		if err := h.Caller(hub.Client{ID: "x"}).Show(t.Context(), "r", nil); !errors.Is(err, hub.ErrPresence) {
			t.Errorf("renewing: %v", err)
		}
		off := connect(t, h, person("bob"))
		join(t, off, "r", hub.Start{State: []byte(`3`)})
		advance(2 * time.Second)
		equal(t, "no snapshot", seen(t, off))
		configure(settings.PresenceOn)
		equal(t, "told how things are", seen(t, ann), "2 =ann1 =bob3")
	})
}

func TestPresenceOfALargeRoom(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		some := connect(t, h, hub.Client{Presence: hub.PresenceSome, Observer: true})
		join(t, some, "r", hub.Start{})
		seen(t, some)
		const n = message.LargeRoom + 1
		for i := range n {
			s := connect(t, h, person(fmt.Sprint("u", i)))
			join(t, s, "r", hub.Start{State: []byte(`0`)})
		}
		advance(2 * time.Second)
		told := seen(t, some)
		if len(told) > 2 {
			t.Errorf("%d frames", len(told))
		}
		p, err := h.Caller(hub.Client{}).Presence("r")
		if err != nil || p.Members != n || len(p.Here) != n {
			t.Fatalf("%d members, %d here: %v", p.Members, len(p.Here), err)
		}
		names := func(all bool) (named bool) {
			form := hub.Form(0)
			if all {
				form = 1
			}
			p.Form(form, all, func(_ *hub.Presence, names bool) []byte { named = names; return nil })
			return named
		}
		if names(false) || !names(true) {
			t.Errorf("names for some: %t, for all: %t", names(false), names(true))
		}
	})
}

func TestPresenceSince(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		rooms := []string{"a", "b"}
		all, cursor := h.Caller(hub.Client{}).PresenceSince(rooms, hub.Position{})
		if len(all) != 2 {
			t.Errorf("%d rooms at first", len(all))
		}
		ann := connect(t, h, person("ann"))
		join(t, ann, "b", hub.Start{State: []byte(`1`)})
		advance(2 * time.Second)
		changed, cursor := h.Caller(hub.Client{}).PresenceSince(rooms, cursor)
		if len(changed) != 1 || short(changed[0]) != "1 =ann1" {
			t.Errorf("changed: %v", changed)
		}
		if changed, _ = h.Caller(hub.Client{}).PresenceSince(rooms, cursor); len(changed) != 0 {
			t.Errorf("changed again: %v", changed)
		}
	})
}

// A session that is overtaken has missed changes, and gets a snapshot.
func TestPresenceAfterBeingOvertaken(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		slow, other := connect(t, h, person("slow")), connect(t, h, person("other"))
		join(t, slow, "r", hub.Start{})
		seen(t, slow)
		join(t, other, "r", hub.Start{State: []byte(`1`)})
		advance(2 * time.Second)
		publish(t, h, "r", count(1, 70)...)
		advance(time.Minute)
		publish(t, h, "r", "71") // trims the window
		equal(t, "the snapshot in place of the change", seen(t, slow), "2 =other1")
	})
}

// Signals alone can overtake it: no message is missing, and changes are.
func TestPresenceAfterManySignals(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		slow, other := connect(t, h, person("slow")), connect(t, h, person("other"))
		join(t, slow, "r", hub.Start{})
		advance(2 * time.Second)
		seen(t, slow)
		join(t, other, "r", hub.Start{State: []byte(`1`)})
		advance(2 * time.Second)
		for range 70 {
			send(t, h, hub.Publication{Room: "r", Signal: true})
		}
		advance(time.Minute)
		send(t, h, hub.Publication{Room: "r", Signal: true}) // trims the window
		equal(t, "the snapshot in place of the change", seen(t, slow), "2 =other1")
		equal(t, "told once", seen(t, slow))
	})
}

func TestSignalsAreNotForWhoSentThem(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		a, b := connect(t, h, hub.Client{}), connect(t, h, hub.Client{})
		join(t, a, "r", hub.Start{})
		join(t, b, "r", hub.Start{})
		// By its session, and by a request that names its connection.
		for _, err := range []error{
			second(a.Publish(t.Context(), hub.Publication{Room: "r", Signal: true, Data: []byte("1")})),
			second(h.Caller(a.Client()).Publish(t.Context(), hub.Publication{Room: "r", Signal: true, Data: []byte("2")})),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		equal(t, "the sender", drain(t, a))
		equal(t, "the other", drain(t, b), "1", "2")
	})
}

func second[T any](_ T, err error) error { return err }

func TestTooManyRooms(t *testing.T) {
	unlimited := func(s *settings.Settings) { s.Rate = limit.Unlimited }
	bubble(t, configured(unlimited), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		for i := range settings.MaxRoomsJoined {
			join(t, s, fmt.Sprint(i), hub.Start{})
		}
		if _, err := s.Subscribe(t.Context(), "more", hub.Start{}); !errors.Is(err, hub.ErrRooms) {
			t.Errorf("one more room: %v", err)
		}
		join(t, s, "0", hub.Start{}) // again
	})
}

// A client that sends commands without reading the answers has to wait.
func TestAnswersWait(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		s := connect(t, h, hub.Client{})
		answered := make(chan int, 100)
		go func() {
			for i := range 10 {
				s.Answer(make([]byte, 30<<10))
				answered <- i
			}
			close(answered)
		}()
		advance(time.Second)
		if n := len(answered); n != 2 {
			t.Errorf("%d answers of 30 KiB did not wait, want 2", n)
		}
		items, _ := s.Next(make([]hub.Item, 0, 8))
		advance(time.Second)
		if len(items) != 2 || len(answered) != 4 {
			t.Errorf("%d items read, %d answers given", len(items), len(answered))
		}
		s.End(hub.CauseLeft)
		advance(time.Second)
		if len(answered) != 10 {
			t.Errorf("the session's end left the asker waiting after %d", len(answered))
		}
	})
}

// A client that comes back from far behind gets one snapshot, before the gap.
func TestPresenceBeforeAGap(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "r", count(1, 80)...)
		advance(time.Minute)
		s := connect(t, h, person("ann"))
		join(t, s, "r", hub.Start{InvalidCursor: true})
		advance(2 * time.Second) // its own arrival is reported, too
		var kinds []string
		for more := true; more; {
			var items []hub.Item
			items, more = s.Next(make([]hub.Item, 0, 16))
			for _, it := range items {
				switch {
				case it.Presence != nil && it.Presence.Snapshot:
					kinds = append(kinds, "snapshot")
				case it.Gap != nil:
					kinds = append(kinds, "gap")
				}
			}
		}
		equal(t, "told", kinds, "snapshot", "gap")
	})
}

// Clients that come and go quickly don't fill the memory: no more clients have a grace
// than may be connected.
func TestGraceIsBounded(t *testing.T) {
	few := func(s *settings.Settings) { s.MaxConnections = 3 }
	bubble(t, configured(few), func(t *testing.T, h *hub.Hub) {
		for i := range 10 {
			s := connect(t, h, person(fmt.Sprint(i)))
			join(t, s, "r", hub.Start{})
			s.End(hub.CauseGone)
		}
		if p, err := h.Caller(hub.Client{}).Presence("r"); err != nil || p.Members != 3 {
			t.Errorf("%d members, %v", p.Members, err)
		}
		advance(time.Minute)
		if p, err := h.Caller(hub.Client{}).Presence("r"); err != nil || p.Members != 0 {
			t.Errorf("%d members, %v", p.Members, err)
		}
	})
}

func TestCallersWithoutSessionAreRated(t *testing.T) {
	bubble(t, configured(rated(1, 1)), func(t *testing.T, h *hub.Hub) {
		caller := h.Caller(hub.Client{ID: "x", Address: addr("192.0.2.1")})
		for range settings.MaxRoomsJoined {
			if err := caller.Show(t.Context(), "r", []byte(`1`)); err != nil {
				t.Fatal(err)
			}
		}
		limited(t, caller.Show(t.Context(), "r", nil), limit.ErrRate, "rate of joins")
		_, err := caller.Subscribe(t.Context(), "r", hub.Start{})
		limited(t, err, limit.ErrRate, "rate of joins")
		for range settings.MaxRoomsJoined { // which has a rate of its own
			if _, err = caller.History(t.Context(), "r", hub.Query{}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = caller.History(t.Context(), "r", hub.Query{})
		limited(t, err, limit.ErrRate, "rate of commands")
		nobody := h.Caller(hub.Client{})
		if err := nobody.Show(t.Context(), "r", nil); !errors.Is(err, hub.ErrConn) {
			t.Errorf("a caller without a connection: %v", err)
		}
		if j, err := nobody.Subscribe(t.Context(), "r", hub.Start{}); err != nil || j.Members != 1 {
			t.Errorf("its subscription: %+v, %v", j, err)
		}
	})
}
