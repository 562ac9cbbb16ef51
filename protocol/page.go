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
		b = append(b, `{"rooms":`...)
		b = appendList(b, p.Rooms, appendString)
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
		b = append(b, `,"gaps":`...)
		b = appendList(b, p.Gaps, func(b []byte, g *hub.Gap) []byte { return append(b, Gap(g)...) })
	case len(p.Gaps) > 0:
		b = append(b, `,"gap":`...)
		b = append(b, Gap(p.Gaps[0])...)
	}
	b = append(b, `,"messages":`...)
	b = appendMessages(b, p.Messages)
	b = append(b, `,"more":`...)
	b = strconv.AppendBool(b, p.More)
	if !p.PresenceCursor.IsZero() {
		b = append(b, `,"presence":`...)
		b = appendList(b, p.Presence, func(b []byte, o *hub.Presence) []byte { return append(b, Presence(o, false)...) })
		b = append(b, `,"presence_cursor":"`...)
		b = append(p.PresenceCursor.AppendTo(b), '"')
	}
	return append(b, '}')
}
