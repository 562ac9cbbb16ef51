package enginetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/caddy-realtime/realtime/hub"
)

// The promises about drafts with a scope.

// keyed returns a draft of a text with a scope, in the room r.
func keyed(text, scope string, print byte) hub.Draft {
	d := draft("r", text)
	d.Message.Key, d.Scope, d.Print = scope, scope, [16]byte{print}
	return d
}

func (t *suite) storedOnce() {
	_, in := t.opened("r")
	for _, test := range []struct {
		name   string
		draft  func() hub.Draft
		replay bool
		err    error
	}{
		{"first", func() hub.Draft { return keyed("1", "a", 1) }, false, nil},
		{"again", func() hub.Draft { return keyed("1", "a", 1) }, true, nil},
		{"another print", func() hub.Draft { return keyed("2", "a", 2) }, false, hub.ErrKeyReused},
		{"another scope", func() hub.Draft { return keyed("3", "b", 1) }, false, nil},
		{"no scope", func() hub.Draft { return draft("r", "4") }, false, nil},
		{"a signal", func() hub.Draft { return keyed("5!", "c", 1) }, false, nil},
		{"the signal again", func() hub.Draft { return keyed("5!", "c", 1) }, true, nil},
	} {
		r, err := t.Publish(t.Context(), test.draft())
		if !errors.Is(err, test.err) || r.Replayed != test.replay {
			t.Fatalf("%s: %+v, %v", test.name, r, err)
		}
		if first := in.wait(t, 1)[0]; test.name == "again" && (r.Position != first.Position || !r.Time.Equal(first.Time)) {
			t.Errorf("%s: the receipt has %v at %v, the first %v at %v", test.name, r.Position, r.Time, first.Position, first.Time)
		}
	}
	equal(t, "delivered", texts(in.wait(t, 4)), "1", "3", "4", "5!")
	equal(t, "stored", texts(t.page("r", hub.Query{Last: 9, Limit: 9}).Messages), "1", "3", "4")
}

func (t *suite) storedOnceAtOnce() {
	_, in := t.opened("r")
	const keys, times = 20, 5
	var all sync.WaitGroup
	for i := range keys * times {
		all.Go(func() {
			text := fmt.Sprint(i % keys)
			if _, err := t.Publish(t.Context(), keyed(text, text, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.send("r", "end")
	if got := texts(in.wait(t, keys+1)); len(got) != keys+1 {
		t.Errorf("%d messages are delivered, want %d", len(got)-1, keys)
	}
	if stored := t.page("r", hub.Query{Last: 999, Limit: 999}).Messages; len(stored) != keys+1 {
		t.Errorf("%d messages are stored, want %d", len(stored)-1, keys)
	}
}
