package protocol

import (
	"iter"
	"strconv"

	"github.com/caddy-realtime/realtime/hub"
)

// The forms in which presence is encoded, each of them once for all connections.
const (
	FormPresence         hub.Form = iota // JSON
	FormPresenceLine                     // with a newline
	FormPresenceEvent                    // an SSE event
	FormPresenceFrame                    // a WebSocket frame
	FormPresenceDeflated                 // FormPresenceFrame, compressed
)

// Presence returns the control object with a room's members or their changes. In a
// large room it lists them only if all is set, otherwise it has their number alone.
// The result is shared and must not be changed.
func Presence(p *hub.Presence, all bool) []byte { return p.Form(FormPresence, all, presence) }

// presenceHead begins the control object of presence.
const presenceHead = `{"op":"presence",`

// presence encodes p.
func presence(p *hub.Presence, names bool) []byte {
	b := append(make([]byte, 0, 64+64*(len(p.Here)+len(p.Enter)+len(p.Update)+len(p.Leave))), presenceHead...)
	b = appendMembers(b, p, names)
	return append(b, '}')
}

// Members yields a room's members as a document of its own, in parts that are shared
// and must not be changed.
func Members(p *hub.Presence, all bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		object := Presence(p, all)
		if !yield([]byte{'{'}) || !yield(object[len(presenceHead):len(object)-1]) {
			return
		}
		var b []byte
		if c := p.Cursor; !c.IsZero() {
			b = append(b, `,"presence_cursor":"`...)
			b = append(c.AppendTo(b), '"')
		}
		yield(append(b, "}\n"...))
	}
}

func appendMembers(b []byte, p *hub.Presence, names bool) []byte {
	b = append(b, `"room":`...)
	b = appendString(b, p.Room)
	b = append(b, `,"members":`...)
	b = strconv.AppendInt(b, int64(p.Members), 10)
	if !names {
		return b
	}
	if p.Snapshot {
		return appendGroup(b, "here", p.Here)
	}
	b = appendGroup(b, "enter", p.Enter) // always: without names there is none, which shows the difference
	if len(p.Update) > 0 {
		b = appendGroup(b, "update", p.Update)
	}
	if len(p.Leave) == 0 {
		return b
	}
	b = append(b, `,"leave":`...)
	return appendList(b, p.Leave, func(b []byte, d hub.Departure) []byte {
		b = append(b, `{"id":`...)
		b = appendString(b, d.ID)
		b = append(b, `,"why":"`...)
		b = append(b, d.Why...)
		return append(b, `"}`...)
	})
}

func appendGroup(b []byte, name string, members []hub.Member) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendList(b, members, func(b []byte, m hub.Member) []byte {
		b = appendUser(b, m.ID, m.Name)
		b = append(b, `,"state":`...)
		b = append(b, m.State...)
		return append(b, '}')
	})
}
