package enginetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The promises about engines that can do more than all.

func (t *suite) rooms() {
	e, ok := t.Engine.(hub.Lister)
	if !ok {
		t.Skip("the engine lists no rooms")
	}
	list := func(after string, limit int) []string {
		t.Helper()
		names, err := e.Rooms(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	equal(t, "of an empty engine", list("", 9))
	names := []string{"a", "a/b", "a/c", "ab", "ä", "z"} // by their bytes
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		t.opened(name)
		t.send(name, "1", "2!", "3")
	}
	equal(t, "all", list("", 99), names...)
	equal(t, "exactly all", list("", len(names)), names...)
	equal(t, "the first ones", list("", 2), names[:2]...)
	equal(t, "behind one", list("a/b", 2), names[2:4]...)
	equal(t, "behind a name that is none", list("a/bb", 99), names[2:]...)
	equal(t, "behind the last", list(names[len(names)-1], 9))
	t.Retain("ab", settings.History{})
	if got := list("", 99); len(got) < len(names)-1 || !slices.Contains(got, "ä") {
		t.Errorf("after one has lost its messages: %q", got)
	}
	for i := range 200 {
		t.opened(fmt.Sprint("m", i))
	}
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 200 {
			if _, err := t.Publish(t.Context(), draft(fmt.Sprint("m", i), "x")); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		var walked []string
		for after, more := "", true; more; {
			page := list(after, 3)
			walked = append(walked, page...)
			if more = len(page) == 3; more {
				after = page[2]
			}
		}
		for _, name := range names {
			if name != "ab" && !slices.Contains(walked, name) {
				t.Errorf("%s is not in %q", name, walked)
			}
		}
		if !slices.IsSorted(walked) {
			t.Errorf("not in order: %q", walked)
		}
	}
	all.Wait()
	if got := list("m", 999); len(got) < 200 {
		t.Errorf("%d rooms, want 200 and more", len(got))
	}
}

func (t *suite) imports() {
	e, ok := t.Engine.(hub.Importer)
	if !ok {
		t.Skip("the engine takes in no messages of others")
	}
	t.opened("own")
	own := t.send("own", "1")[0]
	t.opened("r")
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	made := func(room string, from, to int) (all []*hub.Message) {
		for i := from; i <= to; i++ {
			sent := at.Add(time.Duration(i) * time.Millisecond)
			all = append(all, &hub.Message{
				Room: room, Data: fmt.Append(nil, i), Time: sent,
				Position: hub.Position{Epoch: "abroad", Offset: uint64(sent.UnixMicro())},
			})
		}
		return all
	}
	check := func(want hub.Outcome, messages []*hub.Message) {
		t.Helper()
		got, err := e.Import(t.Context(), messages)
		if err != nil || len(got) != len(messages) || slices.ContainsFunc(got, func(o hub.Outcome) bool { return o != want }) {
			t.Fatalf("%v, %v; want only %v", got, err, want)
		}
	}
	check(hub.OutcomeKept, made("r", 1, 3))
	check(hub.OutcomeKnown, made("r", 2, 3))
	check(hub.OutcomeKept, made("r", 4, 5))
	check(hub.OutcomeFresh, made("own", 6, 7))
	p := t.page("r", hub.Query{Last: 9, Limit: 9})
	equal(t, "imported", described(p), count(1, 5)...)
	for i, m := range p.Messages {
		if want := made("r", i+1, i+1)[0]; m.Epoch != own.Epoch || m.Offset != want.Offset || !m.Time.Equal(want.Time) {
			t.Errorf("%v at %v, want the offset %d at %v", m.Position, m.Time, want.Offset, want.Time)
		}
	}
	if next := t.send("r", "6")[0]; next.Offset <= p.Messages[4].Offset {
		t.Errorf("%v comes after %v", next.Position, p.Messages[4].Position)
	}
	check(hub.OutcomeFresh, made("r", 8, 8))
	equal(t, "the other room", described(t.page("own", hub.Query{Last: 9, Limit: 9})), "1")
}

func (t *suite) erases() {
	e, ok := t.Engine.(hub.Eraser)
	if !ok {
		t.Skip("the engine erases nothing")
	}
	tails := map[string]hub.Position{}
	for _, room := range []string{"r", "s", "t"} {
		tails[room], _ = t.opened(room)
	}
	send := func(room, user, text string) {
		t.Helper()
		d := draft(room, text)
		if user != "" {
			d.Message.From = &hub.User{ID: user}
		}
		if len(text) == 2 {
			d.Message.Expires = time.Now().Add(time.Hour)
		}
		if _, err := t.Publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	erase := func(user string, want int) {
		t.Helper()
		if n, err := e.Erase(t.Context(), user); n != want || err != nil {
			t.Errorf("%d messages of %s are erased, %v; want %d", n, user, err, want)
		}
	}
	erase("ann", 0)
	for i := range 30 {
		user := []string{"ann", "ben", ""}[i%3]
		send("r", user, fmt.Sprint(i))
		send("s", "ann", fmt.Sprint(i))
	}
	send("t", "ben", "1")
	erase("ann", 40)
	erase("ann", 0)
	var left []string
	for i := range 30 {
		if i%3 != 0 {
			left = append(left, fmt.Sprint(i))
		}
	}
	equal(t, "some are left", described(t.page("r", hub.Query{After: tails["r"], Limit: 99})), left...)
	equal(t, "read backwards", described(t.page("r", hub.Query{Last: 99, Limit: 99})), left...)
	equal(t, "none is left", described(t.page("s", hub.Query{After: tails["s"], Limit: 99})))
	equal(t, "another's", described(t.page("t", hub.Query{After: tails["t"], Limit: 99})), "1")
	send("s", "ann", "31")
	equal(t, "what comes later", described(t.page("s", hub.Query{After: tails["s"], Limit: 99})), "31")
	t.Retain("r", settings.History{Count: 5})
	equal(t, "what is too much", described(t.page("r", hub.Query{Last: 99, Limit: 99})), left[len(left)-5:]...)
	erase("ben", 3)
}
