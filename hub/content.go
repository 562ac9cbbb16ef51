package hub

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// The hub checks here all that it stores as text or as JSON, over whichever transport
// it came, because it is written into text frames unchanged (RFC 6455, section 8.1).

// Errors of bad content. They are wrapped with what is wrong.
var (
	ErrData  = errors.New("bad data")
	ErrState = errors.New("bad state")
)

// check returns an error that names what in p cannot be stored, or nil: names.ErrEvent,
// ErrKey or ErrType. The door has checked the room's name, and checkData checks the data.
func (p *Publication) check() error {
	return cmp.Or(names.CheckEvent(p.Event), names.CheckKey(p.Key), names.CheckType(p.Type))
}

// checkData returns an error that wraps [ErrData], or nil, if the data is what
// its kind says.
func (p *Publication) checkData() error {
	switch p.Kind {
	case message.Binary:
		return nil
	case message.Text, message.JSON:
		if !utf8.Valid(p.Data) {
			return fmt.Errorf("%w: it is not UTF-8", ErrData)
		}
		// An envelope is one line, so its JSON is, too.
		if p.Kind == message.JSON && (bytes.ContainsAny(p.Data, "\r\n") || !json.Valid(p.Data)) {
			return fmt.Errorf("%w: it is not message.JSON on one line", ErrData)
		}
		return nil
	default:
		return fmt.Errorf("%w: there is no kind %d", ErrData, p.Kind)
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
// [ErrState], or a *limit.Error with [limit.ErrFull] that names history_memory, of the hub or
// of a room rule: states may have half of it.
func (h *Hub) stateOf(raw []byte, c *Client, room string) ([]byte, error) {
	state, err := stateOf(raw)
	if err != nil || state == nil {
		return nil, err
	}
	share, full := h.budget.Full(room)
	if !full {
		return state, nil
	}
	set := h.settings.Load()
	if share == "" {
		return nil, h.bite(limit.Full("history_memory", int(set.HistoryMemory)), c, room)
	}
	return nil, h.biteQuota("history_memory", settings.Quota{Pattern: share, Max: set.MemoryQuota(room).Max}, c, room)
}
