package enginetest

import (
	"fmt"
	"slices"
	"sync"

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
