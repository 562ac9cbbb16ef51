package hub

import (
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/presence"
	"github.com/caddy-realtime/realtime/hub/settings"
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

// See package message.
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

// See package message.
var (
	ErrPosition = message.ErrPosition
	ErrUser     = message.ErrUser
)

// ParsePosition is [message.ParsePosition].
func ParsePosition(s string) (Position, error) { return message.ParsePosition(s) }

type (
	Settings     = settings.Settings
	History      = settings.History
	PresenceRule = settings.PresenceRule
	PresenceMode = settings.PresenceMode
	RoomRule     = settings.RoomRule
	Rate         = limit.Rate
	LimitError   = limit.Error
)

const (
	PresenceOn            = settings.PresenceOn
	PresenceCount         = settings.PresenceCount
	PresenceOff           = settings.PresenceOff
	Off                   = settings.Off
	MaxRoomsJoined        = settings.MaxRoomsJoined
	DefaultMaxMessageSize = settings.DefaultMaxMessageSize
	DefaultMaxRooms       = settings.DefaultMaxRooms
	DefaultMaxConnections = settings.DefaultMaxConnections
	DefaultMaxPerAddress  = settings.DefaultMaxPerAddress
	DefaultHistoryMemory  = settings.DefaultHistoryMemory
	DefaultHistoryCount   = settings.DefaultHistoryCount
	DefaultHistoryAge     = settings.DefaultHistoryAge
	DefaultRatePerSecond  = settings.DefaultRatePerSecond
	DefaultRateBurst      = settings.DefaultRateBurst
	DefaultPresenceGrace  = settings.DefaultPresenceGrace
	MaxRoomName           = names.MaxRoom
	MaxEventName          = names.MaxEvent
	MaxKey                = names.MaxKey
	MaxType               = names.MaxType
)

var (
	Unlimited    = limit.Unlimited
	ErrFull      = limit.ErrFull
	ErrRate      = limit.ErrRate
	ErrTooLarge  = limit.ErrTooLarge
	ErrRoomName  = names.ErrRoom
	ErrEventName = names.ErrEvent
	ErrKey       = names.ErrKey
	ErrType      = names.ErrType
)

func Defaults() *Settings               { return settings.Defaults() }
func CheckRoomName(name string) error   { return names.CheckRoom(name) }
func CheckEventName(name string) error  { return names.CheckEvent(name) }
func CheckPattern(pattern string) error { return settings.CheckPattern(pattern) }
