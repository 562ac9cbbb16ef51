package protocol

import (
	"bytes"
	"strconv"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// What clients are told of their rights.

// Can returns the names of what a client may do in a room besides subscribing, in the order
// in which they are written. The name presence stands for members and show.
func Can(r hub.Rights) (names []string) {
	for _, v := range []hub.Verb{hub.VerbPublish, hub.VerbSignal, hub.VerbHistory} {
		if r.Can.Has(v) {
			names = append(names, v.String())
		}
	}
	members, show := r.Can.Has(hub.VerbMembers), r.Can.Has(hub.VerbShow)
	switch {
	case r.Presence == settings.PresenceOff:
	case members && show:
		names = append(names, "presence")
	case members:
		names = append(names, hub.VerbMembers.String())
	case show:
		names = append(names, hub.VerbShow.String())
	}
	if r.Can.Has(hub.VerbModerate) {
		names = append(names, hub.VerbModerate.String())
	}
	return names
}

// appendCan appends the field can.
func appendCan(b []byte, r hub.Rights) []byte {
	return appendNames(append(b, `,"can":`...), Can(r))
}

// appendNames appends the names of verbs, which need no escape.
func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	return append(b, ']')
}

// appendLess appends the field can, unless the client may do everything.
func appendLess(b []byte, r hub.Rights) []byte {
	if r.Can == hub.AllVerbs {
		return b
	}
	return appendCan(b, r)
}

// Change returns the object that tells a client of its rights: left if it is in a room no more, auth
// if its credential is about to expire, otherwise can.
func Change(c hub.Change) []byte {
	if c.Expires > 0 {
		return append(appendExpires([]byte(`{"op":"auth"`), c.Expires), '}')
	}
	r := c.Rights
	if r.Left != 0 {
		e := EndingOf(r.Left)
		b := append(appendString([]byte(`{"op":"left","room":`), r.Room), `,"status":`...)
		return append(strconv.AppendInt(b, int64(e.Status), 10), `,"title":"`+e.Title+`"}`...)
	}
	b := appendString([]byte(`{"op":"can","room":`), r.Room)
	return append(appendCan(b, r), '}')
}

// appendExpires appends the field expires_ms: after how long the client's credential expires.
func appendExpires(b []byte, in time.Duration) []byte {
	b = append(b, `,"expires_ms":`...)
	return strconv.AppendInt(b, max(in.Milliseconds(), 0), 10)
}

// OpOf returns the operation of an object that this package has made, or "" for anything else.
func OpOf(object []byte) string {
	op, ok := bytes.CutPrefix(object, []byte(`{"op":"`))
	if !ok {
		return ""
	}
	op, _, _ = bytes.Cut(op, []byte{'"'})
	return string(op)
}
