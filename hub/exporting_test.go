package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// exported returns what an export from a place gives, as the room and the data.
func exported(t testing.TB, h *hub.Hub, from hub.Place, want func(string) bool) (got []string, err error) {
	t.Helper()
	ctx, done, err := h.Operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	err = h.Export(ctx, from, want, func(m *hub.Message) error {
		got = append(got, m.Room+" "+string(m.Data))
		return nil
	})
	return got, err
}

func every(string) bool { return true }

// An export has the messages of all rooms, by the rooms' names, and goes on behind any of them.
func TestExport(t *testing.T) {
	bubble(t, configured(keeping(2000, 0)), func(t *testing.T, h *hub.Hub) {
		var all []string
		places := []hub.Place{{}}
		for _, room := range []string{"a", "b/x", "b/y", "c"} {
			for i := range 1100 { // several pages
				text := fmt.Sprint(i)
				r := publish(t, h, room, text)
				send(t, h, hub.Publication{Room: room, Data: []byte("signal"), Signal: true})
				all = append(all, room+" "+text)
				places = append(places, hub.Place{Room: room, After: r.Position})
			}
		}
		for _, i := range []int{0, 1, 500, 1100, 1101, len(all) - 1, len(all)} {
			got, err := exported(t, h, places[i], every)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprint("from ", i), got, all[i:]...)
		}
		got, err := exported(t, h, hub.Place{}, func(room string) bool { return strings.HasPrefix(room, "b/") })
		if err != nil {
			t.Error(err)
		}
		equal(t, "of some rooms", got, all[1100:3300]...)

		for _, at := range []hub.Position{{Epoch: "other", Offset: 1}, {Epoch: places[1].After.Epoch, Offset: places[len(all)].After.Offset + 1}} {
			if got, err := exported(t, h, hub.Place{Room: "c", After: at}, every); !errors.Is(err, hub.ErrBegunAnew) {
				t.Errorf("from %v: %d messages, %v", at, len(got), err)
			}
		}
	})
}

// What is missing is passed over, and what comes meanwhile is left to the next export.
func TestExportPassesOver(t *testing.T) {
	bubble(t, configured(keeping(3, 0)), func(t *testing.T, h *hub.Hub) {
		first := publish(t, h, "a", "0")
		publish(t, h, "a", count(1, 5)...)
		got, err := exported(t, h, hub.Place{Room: "a", After: first.Position}, every)
		if err != nil {
			t.Error(err)
		}
		equal(t, "behind one that is gone", got, "a 3", "a 4", "a 5")
		got = nil
		err = h.Export(t.Context(), hub.Place{}, every, func(m *hub.Message) error {
			got = append(got, string(m.Data))
			publish(t, h, "a", "more")
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		equal(t, "while others publish", got, count(3, 5)...)
	})
}

// An export ends with its reader, its context, and the hub, which waits for it.
func TestExportEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := hub.New(configured(), hub.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		publish(t, h, "a", count(1, 5)...)
		broken := errors.New("broken")
		if err := h.Export(t.Context(), hub.Place{}, every, func(*hub.Message) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("its reader: %v", err)
		}
		ctx, done, err := h.Operate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			defer done()
			ended <- h.Export(ctx, hub.Place{}, every, func(*hub.Message) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		synctest.Wait()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the hub: %v", err)
			}
		default:
			t.Error("the hub has not waited")
		}
		if _, _, err := h.Operate(t.Context()); !errors.Is(err, hub.ErrDraining) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// An engine that lists no rooms says so.
func TestExportNeedsALister(t *testing.T) {
	_, h := newFake(t, settings.Defaults())
	if err := h.Export(t.Context(), hub.Place{}, every, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
