package hub

import "time"

// loss says up to which offset messages can no longer be read: for a cursor below
// it something is missing. Messages that would have ended by themselves are
// missing only until then. It may say too much of those, and never too little.
type loss struct {
	offset uint64
	brief  uint64    // likewise, with those that would have ended by themselves
	until  time.Time // when the last of those would have
}

// add notes that m can no longer be read.
func (l *loss) add(m *Message) {
	if m.Expires.IsZero() {
		l.offset = max(l.offset, m.Offset)
		return
	}
	l.brief, l.until = max(l.brief, m.Offset), later(l.until, m.Expires)
}

// join adds another loss.
func (l *loss) join(o loss) {
	l.offset, l.brief, l.until = max(l.offset, o.offset), max(l.brief, o.brief), later(l.until, o.until)
}

// at returns the offset as it is now.
func (l *loss) at(now time.Time) uint64 {
	if now.Before(l.until) {
		return max(l.offset, l.brief)
	}
	return l.offset
}

// still returns what is still missing.
func (l *loss) still(now time.Time) loss {
	if now.Before(l.until) {
		return *l
	}
	return loss{offset: l.offset}
}
