package message

// share is the part of a budget that some rooms have together. It counts what is kept of
// them without encoded forms, which are the whole budget's and go first. The budget's mu
// guards it.
type share struct {
	name  string
	max   int64
	used  int64
	shown int64 // of that, states
	kept  queue // the messages that are charged to it
}

// Divide gives rooms a share of the budget. shareOf says the name of a room's share, and how many
// bytes that has; an empty name means none. Rooms with the same name have one together. Above it,
// the oldest messages of these rooms go first. isDeclared says whether a room is declared: in the budget,
// and in a share, its messages go after those of other rooms, which have a sixteenth of it in any
// case. What is kept already is divided anew; what is over goes by [Budget.Relieve]. nil stands for
// no shares, and for no declared rooms. Both are called with a lock held: they must not block, and
// always give the same answer.
func (b *Budget) Divide(shareOf func(room string) (name string, most int64), isDeclared func(room string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.isDeclared = isDeclared
	b.shareOf, b.shares = shareOf, make(map[string]*share)
	for _, m := range b.kept.all() {
		b.dequeue(m)
		b.enqueue(m)
	}
	for room, n := range b.states {
		if s := b.shareFor(room); s != nil {
			s.show(n)
		}
	}
}

// shareFor returns the share of a room, or nil. Called with mu held, as are those below.
func (b *Budget) shareFor(room string) *share {
	if b.shareOf == nil {
		return nil
	}
	name, most := b.shareOf(room)
	if name == "" {
		return nil
	}
	s := b.shares[name]
	if s == nil {
		s = &share{name: name, max: most}
		b.shares[name] = s
	}
	return s
}

// chargeShare charges a message to the share of its room.
func (b *Budget) chargeShare(m *Message) {
	if s := b.shareFor(m.Room); s != nil {
		s.used += m.bare
		m.share, m.shared = s, s.kept.push(m)
	}
}

// leaveShare undoes chargeShare.
func (m *Message) leaveShare() {
	if m.share != nil {
		m.share.used -= m.bare
		m.share.kept.remove(m, m.shared)
		m.share, m.shared = nil, nil
	}
}

// show charges n bytes of states, or fewer than before.
func (s *share) show(n int64) {
	s.shown += n
	s.used += n
}

// surplus returns the oldest message of a share that is exceeded, or nil.
func (b *Budget) surplus() *Message {
	for _, s := range b.shares {
		if m := s.kept.oldest(s.max); m != nil && s.used > s.max {
			return m
		}
	}
	return nil
}
