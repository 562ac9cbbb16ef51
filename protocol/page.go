package protocol

import (
	"strconv"

	"github.com/caddy-realtime/realtime/hub"
)

// Page is a poll's answer. What is zero is left out, but for the messages.
type Page struct {
	Rooms    []string
	Several  bool // rooms were asked for as a list: gaps are one too
	Conn     string
	Cursor   string
	Messages []*hub.Message
	More     bool
	Gaps     []*hub.Gap
	// Presence is who is in those rooms where that has changed, and
	// PresenceCursor what to ask with for the next changes.
	Presence       []*hub.Presence
	PresenceCursor hub.Position
}

// Append appends the page as JSON.
func (p *Page) Append(b []byte) []byte {
	if p.Several {
		b = append(b, `{"rooms":[`...)
		for i, room := range p.Rooms {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, room)
		}
		b = append(b, ']')
	} else {
		b = append(b, `{"room":`...)
		b = appendString(b, p.Rooms[0])
	}
	if p.Cursor != "" {
		b = append(b, `,"cursor":`...)
		b = appendString(b, p.Cursor)
	}
	b = append(b, `,"conn":`...)
	b = appendString(b, p.Conn)
	switch {
	case len(p.Gaps) > 0 && p.Several:
		b = append(b, `,"gaps":[`...)
		for i, g := range p.Gaps {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, Gap(g)...)
		}
		b = append(b, ']')
	case len(p.Gaps) > 0:
		b = append(b, `,"gap":`...)
		b = append(b, Gap(p.Gaps[0])...)
	}
	b = append(b, `,"messages":`...)
	b = appendMessages(b, p.Messages)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, p.More)
	if !p.PresenceCursor.IsZero() {
		b = append(b, `,"presence":[`...)
		for i, o := range p.Presence {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, Presence(o, false)...)
		}
		b = append(b, `],"presence_cursor":"`...)
		b = append(p.PresenceCursor.AppendTo(b), '"')
	}
	return append(b, '}')
}
