package message

import "container/list"

// passingPart is the part of a bound, as a divisor, that messages of rooms that are not declared
// have in any case: what is published in them must reach their readers.
const passingPart = 16

// queue holds messages in the order in which they go. Those of declared rooms go last, so
// that nobody can crowd them out by making rooms. The budget's mu guards it.
type queue struct {
	passing  list.List // those of rooms that are not declared, oldest first
	declared list.List // the others, likewise
	passes   int64     // what passing is charged, without encoded forms
}

// push appends m, which is newer than all others.
func (q *queue) push(m *Message) *list.Element {
	if m.declared {
		return q.declared.PushBack(m)
	}
	q.passes += m.bare
	return q.passing.PushBack(m)
}

// remove undoes push.
func (q *queue) remove(m *Message, at *list.Element) {
	if m.declared {
		q.declared.Remove(at)
		return
	}
	q.passes -= m.bare
	q.passing.Remove(at)
}

// len returns how many messages there are.
func (q *queue) len() int { return q.passing.Len() + q.declared.Len() }

// oldest returns the message that goes next if all may have so many bytes; nil if there is
// none. It is the oldest one of the rooms that are not declared. Where these have no more than
// their part, or only one message, it is the oldest of all.
func (q *queue) oldest(most int64) *Message {
	passing, declared := valueOf(q.passing.Front()), valueOf(q.declared.Front())
	switch {
	case passing == nil:
		return declared
	case declared == nil, q.passing.Len() > 1 && q.passes > most/passingPart, passing.turn < declared.turn:
		return passing
	default:
		return declared
	}
}

// all returns the messages, oldest first.
func (q *queue) all() []*Message {
	all := make([]*Message, 0, q.len())
	passing, declared := q.passing.Front(), q.declared.Front()
	for passing != nil || declared != nil {
		if declared == nil || passing != nil && valueOf(passing).turn < valueOf(declared).turn {
			all = append(all, valueOf(passing))
			passing = passing.Next()
		} else {
			all = append(all, valueOf(declared))
			declared = declared.Next()
		}
	}
	return all
}

// valueOf returns the message of an element, nil for nil.
func valueOf(e *list.Element) *Message {
	if e == nil {
		return nil
	}
	return e.Value.(*Message)
}
