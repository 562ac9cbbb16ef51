package poll

import (
	"slices"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// maxPage bounds the encoded messages of a page, in bytes. A message that is larger
// comes alone.
const maxPage = 1 << 20

// budget is the room of a page.
type budget struct {
	room  int  // bytes
	taken bool // the page has a message
}

// take takes the room for a message. It returns false if there is not enough.
func (b *budget) take(m *hub.Message) bool {
	n := len(protocol.Envelope(m)) + 1
	if b.taken && n > b.room {
		return false
	}
	b.room, b.taken = b.room-n, true
	return true
}

// cut removes from what was read in each room all that a page has no room for: the
// newest messages if the room is read forwards, so that the client continues there,
// otherwise the oldest. It reports whether it removed anything.
func cut(rooms []Room, reads []hub.Page) (more bool) {
	b := &budget{room: maxPage}
	forward := func(i int) bool { q := rooms[i].Query; return q.InvalidCursor || !q.After.IsZero() }
	ends := make([]int, len(reads)) // how many messages of each room stay
	for {
		i := oldest(len(reads), func(i int) *hub.Message {
			if !forward(i) || ends[i] == len(reads[i].Messages) {
				return nil
			}
			return reads[i].Messages[ends[i]]
		})
		if i < 0 || !b.take(reads[i].Messages[ends[i]]) {
			break
		}
		ends[i]++
	}
	for {
		i := newest(len(reads), func(i int) *hub.Message {
			if forward(i) || ends[i] == len(reads[i].Messages) {
				return nil
			}
			return reads[i].Messages[len(reads[i].Messages)-1-ends[i]]
		})
		if i < 0 || !b.take(reads[i].Messages[len(reads[i].Messages)-1-ends[i]]) {
			break
		}
		ends[i]++
	}
	for i := range reads {
		read, n := &reads[i], ends[i]
		all := len(read.Messages)
		switch {
		case n == all:
			continue
		case !forward(i):
			read.Messages = read.Messages[all-n:]
		case n == 0:
			read.Messages, read.Cursor = nil, read.Start
		default:
			read.Messages, read.Cursor = read.Messages[:n], read.Messages[n-1].Position
		}
		more = true
	}
	return more
}

// oldest returns which of n next messages was published first, or -1 where all
// are nil.
func oldest(n int, next func(int) *hub.Message) (first int) {
	return best(n, next, func(m, o *hub.Message) bool { return m.Time.Before(o.Time) })
}

func newest(n int, next func(int) *hub.Message) (last int) {
	return best(n, next, func(m, o *hub.Message) bool { return m.Time.After(o.Time) })
}

func best(n int, next func(int) *hub.Message, better func(m, o *hub.Message) bool) (at int) {
	at = -1
	var found *hub.Message
	for i := range n {
		if m := next(i); m != nil && (found == nil || better(m, found)) {
			at, found = i, m
		}
	}
	return at
}

// positions holds where a reader stands in each room after a page.
type positions map[string]hub.Position

// take fills the page with a session's items, as far as there is room, and notes in at
// where they end. It reports whether something had no room: then messages come with
// the next page, signals are lost, and gaps are added all the same, unless the page has
// them already.
func take(page *protocol.Page, items []hub.Item, at positions) (full bool) {
	b := &budget{room: maxPage}
	for _, it := range items {
		switch {
		case it.Gap != nil:
			if !slices.Contains(page.Gaps, it.Gap) {
				page.Gaps = append(page.Gaps, it.Gap)
			}
			at[it.Gap.Room] = it.Gap.To
		case it.Message == nil:
		case full || !b.take(it.Message):
			full = true
		default:
			page.Messages = append(page.Messages, it.Message)
			if !it.Message.Signal {
				at[it.Message.Room] = it.Message.Position
			}
		}
	}
	return full
}
