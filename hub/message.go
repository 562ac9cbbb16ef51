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
