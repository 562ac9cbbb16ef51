package message

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Audit returns an error that says where the budget's account is wrong. holds says how
// often each message is held, and states how many bytes [Budget.Show] has charged. It is
// for tests, while nobody uses the budget.
func (b *Budget) Audit(holds map[*Message]int, states int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	that := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	used, snapshots, cached := states, int64(0), 0
	all := b.kept.all()
	for _, m := range all {
		bytes := m.recomputed()
		used += bytes
		if m.cached != nil {
			cached++
		}
		if m.Presence != nil && m.Time.IsZero() {
			snapshots += bytes
		}
		that(m.bytes == bytes, "%v is charged %d, not %d", m.Position, m.bytes, bytes)
		that(m.holds == holds[m] && m.holds > 0, "%v of %s is kept %d times, counted %d", m.Position, m.Room, holds[m], m.holds)
		that(m.budget == b && m.kept.Value == m, "%v does not know where it is kept", m.Position)
	}
	that(len(all) == len(holds), "%d messages are kept, %d are in rings and logs", len(all), len(holds))
	that(cached == b.cached.Len(), "%d messages carry forms, %d are listed", cached, b.cached.Len())
	that(b.used == used, "the budget says %d bytes, recomputed %d", b.used, used)
	that(b.shown == states, "states are charged %d bytes, counted %d", states, b.shown)
	// A snapshot is taken with locks held: the surplus is dropped with the next
	// message.
	that(used-snapshots <= b.max || len(holds) == 0, "%d bytes are kept, at most %d are allowed", used-snapshots, b.max)
	b.auditShares(all, that)
	b.auditQueue(all, that)
	return errors.Join(errs...)
}

// auditQueue checks in which order all that is kept goes.
func (b *Budget) auditQueue(all []*Message, that func(ok bool, format string, args ...any)) {
	passes, last := int64(0), uint64(0)
	for i, m := range all {
		that(i == 0 || m.turn > last, "%v of %s is not kept in its turn", m.Position, m.Room)
		last = m.turn
		that(m.declared == (b.isDeclared != nil && b.isDeclared(m.Room)), "%v is among those of declared rooms: %v, unlike %s", m.Position, m.declared, m.Room)
		if !m.declared {
			passes += m.bare
		}
	}
	that(b.kept.passes == passes, "rooms that are not declared have %d bytes, recomputed %d", b.kept.passes, passes)
}

// auditShares checks what is charged to the shares, of all messages that are kept.
func (b *Budget) auditShares(all []*Message, that func(ok bool, format string, args ...any)) {
	used, shown, kept, total := make(map[*share]int64), make(map[*share]int64), make(map[*share]int), int64(0)
	for _, m := range all {
		s := b.shareFor(m.Room)
		that(m.share == s, "%v of %s is charged to another share than its room's", m.Position, m.Room)
		if s != nil {
			used[s] += m.bare
			kept[s]++
		}
	}
	for room, n := range b.states {
		that(n > 0, "states in %s are charged %d bytes", room, n)
		total += n
		if s := b.shareFor(room); s != nil {
			used[s] += n
			shown[s] += n
		}
	}
	that(total == b.shown, "states are charged %d bytes, by room %d", b.shown, total)
	for name, s := range b.shares {
		that(s.used == used[s] && s.shown == shown[s] && s.kept.len() == kept[s], "share %s has %d bytes, %d of states, %d messages; counted %d, %d, %d", name, used[s], shown[s], kept[s], s.used, s.shown, s.kept.len())
	}
}

// recomputed returns what the message is to be charged.
func (m *Message) recomputed() int64 {
	bytes := m.weight()
	if m.cached != nil {
		bytes += formsOverhead
	}
	var hanging []*atomic.Pointer[[]byte]
	if fs := m.forms.Load(); fs != nil {
		for i := range fs {
			hanging = append(hanging, &fs[i])
		}
	}
	if m.Presence != nil {
		for i := range m.Presence.forms {
			hanging = append(hanging, &m.Presence.forms[i])
		}
	}
	for _, at := range hanging {
		if p := at.Load(); p != nil {
			bytes += formOverhead + int64(cap(*p))
		}
	}
	return bytes
}
