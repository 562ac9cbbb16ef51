package protocol

import (
	"strconv"

	"github.com/caddy-realtime/realtime/hub"
)

// Page is the content of a poll's answer. Zero fields are left out, except Messages.
type Page struct {
	Rooms   []string
	Several bool // write rooms and gaps as lists
	Conn    string
	User    *hub.User // nil: anonymous
	// Rights are those in each of the rooms; empty: the client may do everything.
	Rights   []hub.Rights
	Cursor   string
	Messages []*hub.Message
	More     bool
	Gaps     []*hub.Gap
	// Presence has the members of the rooms in which they have changed.
	// PresenceCursor is the cursor for the next changes; zero: presence is left out.
	Presence       []*hub.Presence
	PresenceCursor hub.Position
}

// Parts yields the page as a line of JSON, part by part. The parts with messages and
// presence are shared and must not be changed.
func (p *Page) Parts(yield func([]byte) bool) {
	if !yield(p.head()) {
		return
	}
	for i, m := range p.Messages {
		if i > 0 && !yield(comma) || !yield(Envelope(m)) {
			return
		}
	}
	b := strconv.AppendBool([]byte(`],"more":`), p.More)
	if p.PresenceCursor.IsZero() {
		yield(append(b, "}\n"...))
		return
	}
	if !yield(append(b, `,"presence":[`...)) {
		return
	}
	for i, o := range p.Presence {
		if i > 0 && !yield(comma) || !yield(Presence(o, false)) {
			return
		}
	}
	b = p.PresenceCursor.AppendTo([]byte(`],"presence_cursor":"`))
	yield(append(b, "\"}\n"...))
}

var comma = []byte{','}

// head returns the page's JSON up to the messages.
func (p *Page) head() (b []byte) {
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
	b = appendWho(b, `,"user":`, p.User)
	b = p.appendRights(b)
	switch {
	case len(p.Gaps) > 0 && p.Several:
		b = append(b, `,"gaps":`...)
		b = appendList(b, p.Gaps, func(b []byte, g *hub.Gap) []byte { return append(b, Gap(g)...) })
	case len(p.Gaps) > 0:
		b = append(b, `,"gap":`...)
		b = append(b, Gap(p.Gaps[0])...)
	}
	return append(b, `,"messages":[`...)
}

// appendRights appends what the client may do: for one room as elsewhere, for several as an
// object with those in which that is not everything.
func (p *Page) appendRights(b []byte) []byte {
	if !p.Several && len(p.Rights) > 0 {
		return appendLess(b, p.Rights[0])
	}
	open := `,"can":{`
	for _, r := range p.Rights {
		if r.Can == hub.AllVerbs {
			continue
		}
		b = append(appendString(append(b, open...), r.Room), ':')
		b = appendNames(b, Can(r))
		open = ","
	}
	if open == "," {
		b = append(b, '}')
	}
	return b
}
