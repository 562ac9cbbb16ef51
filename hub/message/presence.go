package message

import (
	"sync/atomic"
	"time"

	"github.com/caddy-realtime/realtime/hub/presence"
)

// Presence is what a room says about its members: a snapshot, or what has changed since
// the frame before. A change says how a member is now, so that sending it twice does no
// harm. It is immutable and shared.
type Presence struct {
	Room string
	// Members is how many are there: each user once, each anonymous
	// connection once.
	Members int
	// Snapshot says that Here is every member that shows a state.
	Snapshot            bool
	Here, Enter, Update []Member
	Leave               []Departure
	// Numbers says that the room does not tell who is there, only how many.
	Numbers bool

	// Cursor is for asking later whether the room's presence has changed.
	Cursor Position

	carrier *Message // what is charged for it; nil: nothing is, and no form is kept
	forms   [2 * MaxForms]atomic.Pointer[[]byte]
}

// Member is a member that shows a state, and Departure is a member that has gone.
type (
	Member    = presence.Member
	Departure = presence.Departure
)

// LargeRoom bounds the rooms whose members are listed for everybody. In a larger one, a
// client gets only their number unless it asked for all.
const LargeRoom = 1000

// Form returns the presence in form f, calling encode on first need, like
// [Message.Form]. all says that names are wanted however many they are.
func (p *Presence) Form(f Form, all bool, encode func(p *Presence, names bool) []byte) []byte {
	names := !p.Numbers && (all || p.Members <= LargeRoom)
	at := &p.forms[f]
	if names {
		at = &p.forms[MaxForms+f]
	}
	if b := at.Load(); b != nil {
		return *b
	}
	b := Fit(encode(p, names))
	if p.carrier != nil {
		p.carrier.budget.cachePresence(p.carrier, at, b)
	}
	return b
}

// Carry makes m the carrier of the presence: a signal to which the budget charges the
// presence and its encoded forms while m is held.
func (p *Presence) Carry(m *Message, b *Budget, at time.Time) {
	m.Room, m.Signal, m.Time, m.Presence, m.budget = p.Room, true, at, p, b
	p.carrier = m
}
