package hub

import (
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/presence"
)

// What a hub carries, see package message.
type (
	Message   = message.Message
	Kind      = message.Kind
	User      = message.User
	Position  = message.Position
	Form      = message.Form
	Presence  = message.Presence
	Member    = message.Member
	Departure = message.Departure
	Why       = presence.Why
	Budget    = message.Budget
	Query     = message.Query
	Page      = message.Page
	Gap       = message.Gap
	GapReason = message.GapReason
)

// Likewise.
const (
	Binary     = message.Binary
	Text       = message.Text
	JSON       = message.JSON
	MaxForms   = message.MaxForms
	MaxUserID  = message.MaxUserID
	LargeRoom  = message.LargeRoom
	GapExpired = message.GapExpired
	GapEpoch   = message.GapEpoch
	GapSlow    = message.GapSlow
)

// Likewise.
var (
	ErrPosition = message.ErrPosition
	ErrUser     = message.ErrUser
)

// ParsePosition is [message.ParsePosition].
func ParsePosition(s string) (Position, error) { return message.ParsePosition(s) }
