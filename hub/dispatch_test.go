package hub_test

import (
	"slices"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
)

// inDispatcher returns a new session of the dispatcher that has joined the room.
func inDispatcher(t testing.TB, h *hub.Hub, c *dispatcher, room string, client hub.Client) *hub.Session {
	t.Helper()
	s, err := h.Connect(client, &oneOf{dispatcher: c})
	if err != nil {
		t.Fatal(err)
	}
	join(t, s, room, hub.Start{})
	return s
}

// walk takes the messages that are due to the group's members, in batches; nil for
// members that must be asked.
func (c *dispatcher) walk(t testing.TB) (took int, texts []string) {
	t.Helper()
	if len(c.due) != 1 {
		t.Fatalf("%d groups are due", len(c.due))
	}
	f := c.due[0]
	c.due = nil
	batch, more := f.Next(make([]*hub.Message, 0, 64), 1<<20)
	if more {
		t.Error("there is more")
	}
	for _, m := range batch.Messages {
		texts = append(texts, string(m.Data))
	}
	members, rest := f.Subscriptions(f.Len(), make([]*hub.Subscription, 0, 64))
	if rest != 0 {
		t.Errorf("%d members are left", rest)
	}
	for _, m := range members {
		if m.Advance(&batch) {
			took++
		}
		if m.Advance(&batch) {
			t.Error("a member takes a batch twice")
		}
	}
	return took, texts
}

// A dispatcher is notified once, however much comes, until it has read.
func TestNews(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		c := new(dispatcher)
		a, b := inDispatcher(t, h, c, "r", hub.Client{}), inDispatcher(t, h, c, "r", hub.Client{})
		publish(t, h, "r", "1", "2")
		if took, texts := c.walk(t); took != 0 || len(texts) != 2 {
			t.Errorf("%d took %q: nobody has read yet", took, texts)
		}
		equal(t, "a", drain(t, a), "1", "2")
		equal(t, "b", drain(t, b), "1", "2")
		publish(t, h, "r", "3", "4")
		if took, texts := c.walk(t); took != 2 || !slices.Equal(texts, []string{"3", "4"}) {
			t.Errorf("%d took %q", took, texts)
		}
		equal(t, "after the batch", drain(t, a))
		if sent, _ := a.Counts(); sent != 4 {
			t.Errorf("%d sent", sent)
		}
		a.Unsubscribe("r")
		if sent, _ := a.Counts(); sent != 4 {
			t.Errorf("%d sent, after leaving", sent)
		}
		publish(t, h, "r", "5")
		if took, _ := c.walk(t); took != 1 {
			t.Errorf("%d took", took)
		}
		b.End(hub.CauseLeft)
		publish(t, h, "r", "6")
		if len(c.due) != 0 {
			t.Error("news for nobody")
		}
	})
}

// A member that is behind, or that has published a message of the batch and wants no
// echo, is left to Next.
func TestTakeIsExact(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		c := new(dispatcher)
		deaf, plain := inDispatcher(t, h, c, "r", hub.Client{NoEcho: true}), inDispatcher(t, h, c, "r", hub.Client{})
		publish(t, h, "r", "1")
		c.walk(t)
		drain(t, deaf)
		drain(t, plain)

		if _, err := deaf.Publish(t.Context(), hub.Publication{Room: "r", Data: []byte("mine")}); err != nil {
			t.Fatal(err)
		}
		publish(t, h, "r", "theirs")
		if took, _ := c.walk(t); took != 1 {
			t.Errorf("%d took", took)
		}
		equal(t, "without the echo", drain(t, deaf), "theirs")
		publish(t, h, "r", "2")
		if took, _ := c.walk(t); took != 2 {
			t.Errorf("%d took, both have caught up", took)
		}
	})
}

// Signals go with a batch; what has expired does not.
func TestStepSkips(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		c := new(dispatcher)
		s := inDispatcher(t, h, c, "r", hub.Client{})
		publish(t, h, "r", "1")
		c.walk(t)
		drain(t, s)
		send(t, h, hub.Publication{Room: "r", Data: []byte("short"), TTL: 1})
		send(t, h, hub.Publication{Room: "r", Data: []byte("signal"), Signal: true})
		advance(2)
		if took, texts := c.walk(t); took != 1 || !slices.Equal(texts, []string{"signal"}) {
			t.Errorf("%d took %q", took, texts)
		}
		equal(t, "after the batch", drain(t, s))
	})
}
