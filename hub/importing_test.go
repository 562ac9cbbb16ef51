package hub_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// foreign returns messages of another log, with the texts in a room.
func foreign(room string, texts ...string) (all []*hub.Message) {
	for i, text := range texts {
		all = append(all, &hub.Message{
			Room: room, Data: []byte(text), Kind: message.Text, Event: "e", Key: "k", From: &hub.User{ID: "ann"},
			Time: time.Now().Add(-time.Hour), Position: hub.Position{Epoch: "abroad", Offset: uint64(i + 1)},
		})
	}
	return all
}

// imports imports messages, and checks the counts.
func imports(t testing.TB, h *hub.Hub, want hub.Imported, messages []*hub.Message) {
	t.Helper()
	ctx, done, err := h.Operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if got, _, err := h.Import(ctx, messages); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// In an engine that takes in no messages of others they are published anew, as from whom they were, to those
// who are there, too, and once.
func TestImportAnew(t *testing.T) {
	bubble(t, configured(keeping(9, 0), func(s *settings.Settings) { s.MaxRooms = 3 }), func(t *testing.T, h *hub.Hub) {
		reader := member(t, h, "r", hub.Start{})
		all := foreign("r", count(1, 5)...)
		all[1].Expires, all[2].Expires = time.Now().Add(-time.Second), time.Now().Add(time.Minute)
		imports(t, h, hub.Imported{Anew: 4, Expired: 1}, all)
		imports(t, h, hub.Imported{Known: 4, Expired: 1}, all)
		equal(t, "delivered", drain(t, reader), "1", "3", "4", "5")
		equal(t, "kept", history(t, h, "r"), "1", "3", "4", "5")
		m := page(t, h, "r", hub.Query{Last: 1, Limit: 1}).Messages[0]
		if m.Event != "e" || m.Key != "k" || m.From == nil || m.From.ID != "ann" || m.Kind != message.Text || m.Epoch == "abroad" || time.Since(m.Time) > time.Minute {
			t.Errorf("%+v", m)
		}
		advance(2 * time.Minute)
		equal(t, "when one has expired", history(t, h, "r"), "1", "4", "5")
		imports(t, h, hub.Imported{Anew: 6}, slices.Concat(foreign("s", count(1, 3)...), foreign("t", count(1, 3)...)))
		equal(t, "another room", history(t, h, "s"), count(1, 3)...)

		member(t, h, "s", hub.Start{})
		member(t, h, "t", hub.Start{})
		done, failed, err := h.Import(t.Context(), slices.Concat(foreign("s", count(1, 4)...), foreign("u", "1")))
		limited(t, err, limit.ErrFull, "max_rooms")
		if done != (hub.Imported{Anew: 1, Known: 3}) || failed != 4 {
			t.Errorf("%+v, and message %d has failed", done, failed)
		}
	})
}

// importer is an engine that takes in the messages whose outcomes the test says.
type importer struct {
	*hub.Memory

	outcomes []hub.Outcome
	err      error
}

func (e *importer) Import(_ context.Context, messages []*hub.Message) ([]hub.Outcome, error) {
	return e.outcomes[:min(len(messages), len(e.outcomes))], e.err
}

// What the engine takes in is not published, and the rest is.
func TestImportIntoTheEngine(t *testing.T) {
	e := &importer{Memory: hub.NewMemory(), outcomes: []hub.Outcome{hub.OutcomeKept, hub.OutcomeKnown, hub.OutcomeFresh}}
	h, err := hub.New(configured(), e)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close(t.Context()) }()
	imports(t, h, hub.Imported{Kept: 1, Known: 1, Anew: 1}, foreign("r", count(1, 3)...))
	equal(t, "published", history(t, h, "r"), "3")
	e.err = errEngine
	if done, failed, err := h.Import(t.Context(), foreign("r", count(4, 6)...)); !errors.Is(err, errEngine) || failed != -1 || done != (hub.Imported{}) {
		t.Errorf("%+v %d %v", done, failed, err)
	}
	h.StopAccepting()
	if _, _, err := h.Import(t.Context(), foreign("r", count(4, 6)...)); !errors.Is(err, hub.ErrDraining) {
		t.Errorf("a hub that drains: %v", err)
	}
}
