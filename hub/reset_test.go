package hub_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

type resetTest struct {
	name             string
	before           int // messages that are published before
	tail             hub.Position
	gap              hub.GapReason // what the engine says about older cursors; empty: its log has all
	reason           hub.GapReason // of the reset
	behind, upToDate string        // what a reader gets that was behind, or up to date
}

// log reads the engine's log after the reset.
func (test *resetTest) log(q hub.Query) (hub.Page, error) {
	page := hub.Page{Start: q.After, Cursor: test.tail}
	if q.After.Epoch == test.tail.Epoch && q.After.Offset >= test.tail.Offset {
		return page, nil
	}
	if test.gap != "" {
		page.Start, page.Gap = test.tail, &hub.Gap{Room: "r", From: q.After, To: test.tail, Reason: test.gap}
		return page, nil
	}
	for i, text := range []string{"1", "2", "3", "stored"} {
		position := hub.Position{Epoch: "e", Offset: uint64(10 + i)}
		if text == "stored" {
			position = test.tail
		}
		if position.Offset > q.After.Offset {
			page.Messages = append(page.Messages, &hub.Message{Room: "r", Kind: message.Text, Data: []byte(text), Position: position})
		}
	}
	return page, nil
}

// Where the engine cannot deliver, or begins anew, every reader gets what the engine's
// log still has, or a gap, whether it was up to date or behind, and then goes on.
func TestReset(t *testing.T) {
	for _, test := range []resetTest{
		{"anew, nothing was published", 0, hub.Position{Epoch: "f", Offset: 100}, message.GapEpoch, message.GapEpoch, "gap epoch, after", "gap epoch, after"},
		{"anew", 3, hub.Position{Epoch: "f", Offset: 100}, message.GapEpoch, message.GapEpoch, "gap epoch, after", "gap epoch, after"},
		{"lost", 3, hub.Position{Epoch: "e", Offset: 100}, message.GapExpired, message.GapSlow, "gap slow, after", "gap slow, after"},
		{"let go", 3, hub.Position{Epoch: "e", Offset: 100}, message.GapExpired, message.GapExpired, "gap expired, after", "gap expired, after"},
		{"not delivered, but stored", 3, hub.Position{Epoch: "e", Offset: 100}, "", message.GapExpired, "1, 2, 3, stored, after", "stored, after"},
	} {
		for upToDate, want := range map[bool]string{false: test.behind, true: test.upToDate} {
			t.Run(fmt.Sprint(test.name, ", up to date: ", upToDate), inBubble(func(t *testing.T) {
				e, h := newFake(t, configured())
				c := new(dispatcher)
				readers := map[string]*hub.Session{
					"alone": connect(t, h, hub.Client{}), "by a dispatcher": inDispatcher(t, h, c, "r", hub.Client{}),
				}
				join(t, readers["alone"], "r", hub.Start{})
				for i := range test.before {
					publish(t, h, "r", fmt.Sprint(i+1))
				}
				if upToDate {
					for _, s := range readers {
						drain(t, s)
					}
				}
				e.read = test.log
				e.reset("r", test.tail, test.reason)
				publish(t, h, "r", "after")
				if took, _ := c.walk(t); took != 0 {
					t.Error("a batch goes on over the reset")
				}
				for kind, s := range readers {
					if got := strings.Join(caughtUp(t, s), ", "); got != want {
						t.Errorf("%s: %q, want %q", kind, got, want)
					}
				}
			}))
		}
	}
}
