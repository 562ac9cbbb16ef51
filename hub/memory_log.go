package hub

import (
	"slices"
	"time"
)

// The part of a log that holds its messages: a queue in which a message that expires
// leaves an empty place, so that the others keep theirs.

// kept is a place in a log. Its message is nil once that has ended by itself; the
// oldest place of a log has one.
type kept struct {
	offset  uint64
	message *Message
}

// expiry is when a message ends by itself.
type expiry struct {
	at     time.Time
	offset uint64
}

// minOver is how much that is over may stay in a log, however short it is.
const minOver = 16

// live is how many messages the log has. Called with mu held, as are those below.
func (l *log) live() int { return l.messages.Len() - l.over }

// push appends a message.
func (l *log) push(m *Message) {
	l.messages.Push(kept{m.Offset, m})
	l.all.add(m)
	if !m.Expires.IsZero() {
		l.mortal.Add(expiry{m.Expires, m.Offset})
		l.tidy()
	}
}

// shift takes the oldest message away.
func (l *log) shift() *Message {
	m := l.messages.Shift().message
	l.tidy()
	return m
}

// expired takes a message away that has ended by itself, or returns nil.
func (l *log) expired(now time.Time) *Message {
	for len(l.mortal) > 0 && !now.Before(l.mortal[0].at) {
		offset := l.mortal.Remove(0).offset
		i := l.messages.Search(func(k kept) bool { return k.offset >= offset })
		if i == l.messages.Len() || l.messages.At(i).offset != offset {
			continue // it went otherwise
		}
		m := l.messages.At(i).message
		if m == nil {
			continue // it was erased
		}
		l.messages.Set(i, kept{offset: offset})
		l.over++
		l.tidy()
		return m
	}
	return nil
}

// erase takes the messages of a user away, as if they had ended by themselves.
func (l *log) erase(user string) (dead []*Message) {
	for i, k := range l.messages.All() {
		if m := k.message; m != nil && m.IsFrom(user) {
			l.messages.Set(i, kept{offset: k.offset})
			l.over++
			dead = append(dead, m)
		}
	}
	l.tidy()
	return dead
}

// tidy takes out what is over at the beginning, and all of it if it is much. Amortized,
// it costs no more than the expiries that made it necessary.
func (l *log) tidy() {
	for l.over > 0 && l.messages.At(0).message == nil {
		l.messages.Shift()
		l.over--
	}
	if l.over > minOver && l.over > l.messages.Len()/4 {
		l.messages.Reset(slices.DeleteFunc(l.messages.All(), func(k kept) bool { return k.message == nil }))
		l.over = 0
	}
	switch {
	case l.live() == 0:
		l.mortal = nil
	case len(l.mortal) > 2*l.live()+minOver: // most of them went otherwise
		oldest := l.messages.At(0).offset
		l.mortal = slices.DeleteFunc(l.mortal, func(e expiry) bool { return e.offset < oldest })
		l.mortal.Init()
	}
}

// Before implements ranking.Item: the next message to end comes first.
func (e expiry) Before(other expiry) bool { return e.at.Before(other.at) }

// Placed implements ranking.Item. Nobody moves one.
func (expiry) Placed(int) {}
