package realtime

import (
	"github.com/caddyserver/caddy/v2"
)

// Room sets options for the rooms that match a pattern.
type Room struct {
	// The name of a room, or the beginning of names followed by one `*`, which also
	// matches slashes. One segment may be `{user}`, for the rooms of each user, as in
	// `dm/{user}/*`: it matches any segment, and its owner is the user whose id it is (each
	// byte but letters, digits, `-` and `_` as %XX). Such a pattern takes only `allow`. With
	// `room_names` `declared`, a pattern declares its rooms, and may have no options.
	Pattern string `json:"pattern"`
	// Who may do what in the room. Default: as the next less specific pattern says, then the
	// hub, for each verb.
	Allow []Allow `json:"allow,omitempty"`
	// Which messages the room keeps. Default: the last 100, up to 24 hours old.
	History *History `json:"history,omitempty"`
	// The maximum size of a message's data, in bytes; -1 for no limit. Default: the
	// hub's.
	MaxMessageSize int64 `json:"max_message_size,omitempty"`
	// How often one connection, one user, and one client address, may publish in rooms
	// with this rate. Default: the hub's.
	Rate *Rate `json:"rate,omitempty"`
	// How often all clients together may publish in each of the rooms; signals have the
	// same rate, counted for themselves. More is refused with 429. Default: no limit.
	RoomRate *Rate `json:"room_rate,omitempty"`
	// The maximum number of rooms of this block: those that match its pattern, and no more
	// specific one that sets `max_rooms`; -1 for no limit, also where a less specific one
	// has a limit. Beyond it a new room replaces the least recently used of them without
	// connections; if all have connections it is refused with 503. Default: no limit.
	MaxRooms int `json:"max_rooms,omitempty"`
	// How many bytes the rooms of this block, as above, may keep together: messages (their
	// data and 400 bytes each), presence frames, and members' states, which take no more than
	// half. Above that, their oldest messages are dropped. It must be at least the rooms'
	// `max_message_size`; -1 for no limit. Default: no limit but the hub's.
	HistoryMemory int64 `json:"history_memory,omitempty"`
	// The maximum number of members of each room: users, and anonymous connections that
	// show a state or receive presence, until their grace is over. Whoever would be one more
	// is refused with 503. Other anonymous readers and observers (`members`) do not count.
	// -1 for no limit. Default: no limit.
	MaxMembers int `json:"max_members,omitempty"`
	// Whether the room shows its members. Default: on, with a grace of 10s.
	Presence *Presence `json:"presence,omitempty"`
}

// Presence says what a room shows of its members.
type Presence struct {
	// `on`: the number of members, and each member that shows a state; `count`: the
	// number alone; `off`: nothing. Default: `on`.
	Mode string `json:"mode,omitempty"`
	// How long a member stays after the last connection has ended, so that reloading
	// a page, or polling, is not seen as leaving and entering. At most 1h; -1 for not
	// at all. Default: `10s`.
	Grace caddy.Duration `json:"grace,omitempty"`
}

// History says which messages a room keeps, for clients that come later or come back.
type History struct {
	// How many messages; 0 for none, -1 for as many as fit into `history_memory`. It
	// does not lift the limit of `age`.
	Count int `json:"count"`
	// How old they may be; -1 for any age. Default: `24h`, for any count.
	Age caddy.Duration `json:"age,omitempty"`
}

// Rate limits how often something may happen.
type Rate struct {
	// How often per second, on average: above 0 and up to 1000000, or -1 for no
	// limit.
	PerSecond float64 `json:"per_second"`
	// How often at once, from 1 to 1000000. Default: what two seconds allow, at least
	// 1.
	Burst int `json:"burst,omitempty"`
}
