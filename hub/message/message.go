package message

import (
	"container/list"
	"sync/atomic"
	"time"
)

// Kind says how a message's data is to be read.
type Kind uint8

// The kinds of data. JSON is compact and valid, Text is UTF-8 with LF line
// ends, Binary is anything else. The publisher sees to that; see protocol.Content.
const (
	Binary Kind = iota
	Text
	JSON
)

// Message is one entry of a room's log, or a signal. It is immutable once the
// engine has delivered it and is shared by every reader; only the encoded
// forms that hang on it come and go.
type Message struct {
	Room     string
	Event    string // "" means "message"
	Position        // zero for a signal
	Kind     Kind
	Type     string // media type of Data as it was published; may be empty
	Data     []byte
	From     *User // nil if the publisher is anonymous
	Key      string
	// Publisher stands for the connection that published it, if it was one: the same for
	// the same connection, and no key to it. It is not sent to clients.
	Publisher string
	Signal    bool      // delivered, never stored, no Position
	declared  bool      // its room is; like kept
	Time      time.Time // set by the engine
	Expires   time.Time // zero: only retention ends it
	// Presence makes the entry a presence frame, a signal without data.
	Presence *Presence

	forms atomic.Pointer[forms]

	// Accounting, guarded by the budget that holds the message.
	budget *Budget
	holds  int           // how many of ring and log keep it
	bare   int64         // what is charged without encoded forms
	bytes  int64         // what is charged
	kept   *list.Element // in budget.kept
	turn   uint64        // how many messages the budget had taken before
	cached *list.Element // in budget.cached
	share  *share        // that it is charged to, too; nil: none
	shared *list.Element // in share.kept
}

// Form names one way to encode a message for the wire. The packages that
// write to sockets number their forms from 0 to [MaxForms]-1.
type Form uint8

// MaxForms is how many forms a message can carry.
const MaxForms = 8

type forms [MaxForms]atomic.Pointer[[]byte]

// Form returns the message in form f, calling encode on first need and keeping
// the bytes for everybody else while the message is in a delivery window.
// The result is shared and must not be changed. Safe for concurrent use; two
// callers that come first at the same time may both encode, with one result.
func (m *Message) Form(f Form, encode func(*Message) []byte) []byte {
	if fs := m.forms.Load(); fs != nil {
		if b := fs[f].Load(); b != nil {
			return *b
		}
	}
	b := Fit(encode(m))
	if m.budget != nil {
		m.budget.cache(m, f, b)
	}
	return b
}

// IsFrom reports whether the user with an id has published the message.
func (m *Message) IsFrom(user string) bool { return m.From != nil && m.From.ID == user }

// Expired reports whether the message's own TTL is over.
func (m *Message) Expired(now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}

// Fit returns p without much room behind it: what is kept is charged for the
// whole array.
func Fit(p []byte) []byte {
	if cap(p)-len(p) > 64+len(p)/8 {
		return append(make([]byte, 0, len(p)), p...)
	}
	return p
}
