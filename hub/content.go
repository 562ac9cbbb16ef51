package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The hub's own door: whatever is stored as text or as JSON is checked here, no
// matter which way it came, since what is stored is written into text frames as
// it is (RFC 6455, section 8.1).

// MaxUserID bounds the id of a user, in bytes.
const MaxUserID = 128

// Errors of bad content. They are wrapped with what is wrong.
var (
	ErrData = errors.New("bad data")
	ErrType = errors.New("bad media type")
	ErrUser = errors.New("bad user")
)

// MaxType bounds the media type that is kept with a message, in bytes.
const MaxType = 255

// check returns an error that names what in p cannot be stored, or nil: ErrEventName,
// ErrKey or ErrType. The door has checked the room's name, and checkData checks the data.
func (p *Publication) check() error {
	if err := CheckEventName(p.Event); err != nil {
		return err
	}
	switch {
	case len(p.Key) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrKey, len(p.Key), MaxKey)
	case !utf8.ValidString(p.Key):
		return fmt.Errorf("%w: it is not UTF-8", ErrKey)
	case len(p.Type) > MaxType:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrType, len(p.Type), MaxType)
	case !utf8.ValidString(p.Type):
		return fmt.Errorf("%w: it is not UTF-8", ErrType)
	}
	return nil
}

// checkData returns an error that wraps [ErrData], or nil, if the data is what
// its kind says.
func (p *Publication) checkData() error {
	switch p.Kind {
	case Binary:
		return nil
	case Text, JSON:
		if !utf8.Valid(p.Data) {
			return fmt.Errorf("%w: it is not UTF-8", ErrData)
		}
		// An envelope is one line, so its JSON is, too.
		if p.Kind == JSON && (bytes.ContainsAny(p.Data, "\r\n") || !json.Valid(p.Data)) {
			return fmt.Errorf("%w: it is not JSON on one line", ErrData)
		}
		return nil
	default:
		return fmt.Errorf("%w: there is no kind %d", ErrData, p.Kind)
	}
}

// check returns an error that wraps [ErrUser], or nil.
func (u *User) check() error {
	switch {
	case u == nil:
		return nil
	case u.ID == "" || len(u.ID) > MaxUserID:
		return fmt.Errorf("%w: the id has %d bytes, 1 to %d are allowed", ErrUser, len(u.ID), MaxUserID)
	case len(u.Name) > MaxUserID:
		return fmt.Errorf("%w: the name has %d bytes, at most %d are allowed", ErrUser, len(u.Name), MaxUserID)
	case !utf8.ValidString(u.ID) || !utf8.ValidString(u.Name):
		return fmt.Errorf("%w: the id or the name is not UTF-8", ErrUser)
	default:
		return nil
	}
}

// stateOf returns a state as it is kept: compact, in an array of its own size. nil
// stays nil. An error wraps [ErrState].
func stateOf(raw []byte) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrState)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fmt.Errorf("%w: it is not JSON: %w", ErrState, err)
	}
	if n := compact.Len(); n > MaxState {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrState, n, MaxState)
	}
	return bytes.Clone(compact.Bytes()), nil
}

// stateOf returns a state as it is kept, or refuses it: with an error that wraps
// [ErrState], or a *LimitError with [ErrFull] that names history_memory, half of
// which states may have.
func (h *Hub) stateOf(raw []byte, c *Client, room string) ([]byte, error) {
	state, err := stateOf(raw)
	if err == nil && state != nil && h.budget.full() {
		err = h.bite(fullError("history_memory", int(h.settings.Load().HistoryMemory)), c, room)
	}
	return state, err
}

// fit returns p without much room behind it: what is kept is charged for the
// whole array.
func fit(p []byte) []byte {
	if cap(p)-len(p) > 64+len(p)/8 {
		return append(make([]byte, 0, len(p)), p...)
	}
	return p
}
