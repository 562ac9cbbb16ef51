package realtime

import (
	"errors"
	"fmt"
	"math"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// off is the value for "no limit" in JSON.
const off = -1

// hubOptions are what a handler says about its hub.
type hubOptions struct {
	settings *settings.Settings
	rules    *access.Rules // nil: everybody may do everything
	key      string        // of the rules, see keyOf
	own      bool          // a handler has set them: they are not the defaults
}

// equal reports whether the options are the same.
func (o *hubOptions) equal(p hubOptions) bool {
	return o.key == p.key && reflect.DeepEqual(o.settings, p.settings)
}

// hubOptions returns the hub's options. Of several handlers with one hub, one may set them
// for all.
func (h *Handler) hubOptions() (o hubOptions, err error) {
	if o.settings, o.own, err = h.settings(); err == nil {
		o.rules, o.key, err = h.rights()
	}
	return o, err
}

// settings converts the hub's options to the hub's settings. own reports whether any option
// of the hub is set.
func (h *Handler) settings() (s *settings.Settings, own bool, err error) {
	s = settings.Defaults()
	s.MaxConnections = min(s.MaxConnections, maxFiles()*9/10)
	for _, o := range []struct {
		name string
		from int64
		to   *int
	}{
		{"max_message_size", h.MaxMessageSize, &s.MaxMessageSize},
		{"max_rooms", int64(h.MaxRooms), &s.MaxRooms},
		{"max_connections", int64(h.MaxConnections), &s.MaxConnections},
		{"max_connections_per_address", int64(h.MaxConnectionsPerAddress), &s.MaxPerAddress},
		{"max_connections_per_user", int64(h.MaxConnectionsPerUser), &s.MaxPerUser},
		{"max_users", int64(h.MaxUsers), &s.MaxUsers},
	} {
		given, err := limitOf(o.name, o.from, o.to)
		if err != nil {
			return nil, false, err
		}
		own = own || given
	}
	memory := int(s.HistoryMemory)
	given, err := limitOf("history_memory", h.HistoryMemory, &memory)
	if err != nil {
		return nil, false, err
	}
	s.HistoryMemory = int64(memory)
	s.Drain = h.drain()
	if s.OnlyDeclared, err = onlyDeclared(h.RoomNames); err != nil {
		return nil, false, err
	}
	own = own || given || h.RoomNames != "" || h.Drain != 0 || h.Rate != nil || len(h.Rooms) > 0 || len(h.Allow) > 0
	if h.Rate != nil {
		if s.Rate, err = h.Rate.settings(); err != nil {
			return nil, false, err
		}
	}
	for _, r := range h.Rooms {
		if strings.Contains(r.Pattern, userSegment) {
			if err := r.checkOwned(s.OnlyDeclared); err != nil {
				return nil, false, fmt.Errorf("room %q: %w", r.Pattern, err)
			}
			s.Owned = append(s.Owned, r.Pattern)
			continue // it has rights, and no limits
		}
		rule, err := r.settings()
		if err != nil {
			return nil, false, fmt.Errorf("room %q: %w", r.Pattern, err)
		}
		s.Rooms = append(s.Rooms, rule)
	}
	slices.Sort(s.Owned) // their order says nothing
	return s, own, s.Check()
}

// onlyDeclared reports whether only declared rooms exist, by the value of the option.
func onlyDeclared(names string) (bool, error) {
	switch names {
	case "", "open":
		return false, nil
	case "declared":
		return true, nil
	default:
		return false, fmt.Errorf("invalid room_names (Caddyfile: rooms) %q: must be open or declared", names)
	}
}

// limitOf sets *to to the value of an option: 0 leaves the default, -1 is off. given
// reports whether it was set.
func limitOf(name string, from int64, to *int) (given bool, err error) {
	switch {
	case from == 0:
		return false, nil
	case from == off:
		*to = settings.Off
	case from < 0 || from > math.MaxInt:
		return false, fmt.Errorf("invalid %s %d: must be at least 1, or -1 for no limit", name, from)
	default:
		*to = int(from)
	}
	return true, nil
}

func (r *Rate) settings() (limit.Rate, error) {
	switch {
	case r.PerSecond == off:
		return limit.Unlimited, nil
	case r.PerSecond <= 0 || r.PerSecond > 1e6:
		return limit.Rate{}, fmt.Errorf("invalid rate %g per second: must be above 0 and at most 1000000, or -1 (Caddyfile: off) for no limit", r.PerSecond)
	case r.Burst < 0 || r.Burst > 1e6:
		return limit.Rate{}, fmt.Errorf("invalid rate burst %d: must be between 1 and 1000000", r.Burst)
	}
	burst := r.Burst
	if burst == 0 {
		burst = max(1, int(math.Ceil(2*r.PerSecond)))
	}
	return limit.Rate{PerSecond: r.PerSecond, Burst: burst}, nil
}

func (r *Room) settings() (settings.RoomRule, error) {
	rule := settings.RoomRule{Pattern: r.Pattern}
	if r.History != nil {
		history, err := r.History.settings()
		if err != nil {
			return rule, err
		}
		rule.History = &history
	}
	for _, o := range []struct {
		name string
		from int64
		to   **int
	}{
		{"max_message_size", r.MaxMessageSize, &rule.MaxMessageSize},
		{"max_rooms", int64(r.MaxRooms), &rule.MaxRooms},
		{"history_memory", r.HistoryMemory, &rule.HistoryMemory},
		{"max_members", int64(r.MaxMembers), &rule.MaxMembers},
	} {
		n := 0
		given, err := limitOf(o.name, o.from, &n)
		if err != nil {
			return rule, err
		}
		if given {
			*o.to = &n
		}
	}
	for _, o := range []struct {
		from *Rate
		to   **limit.Rate
	}{{r.Rate, &rule.Rate}, {r.RoomRate, &rule.RoomRate}} {
		if o.from == nil {
			continue
		}
		rate, err := o.from.settings()
		if err != nil {
			return rule, err
		}
		*o.to = &rate
	}
	if r.Presence != nil {
		presence, err := r.Presence.settings()
		if err != nil {
			return rule, err
		}
		rule.Presence = &presence
	}
	return rule, nil
}

// presenceModes are the values of the option presence.
var presenceModes = map[string]settings.PresenceMode{
	"": settings.PresenceOn, "on": settings.PresenceOn, "count": settings.PresenceCount, "off": settings.PresenceOff,
}

func (p *Presence) settings() (settings.PresenceRule, error) {
	mode, known := presenceModes[p.Mode]
	to := settings.PresenceRule{Mode: mode, Grace: time.Duration(p.Grace)}
	switch {
	case !known:
		return to, fmt.Errorf("invalid presence mode %q: must be on, count or off", p.Mode)
	case p.Grace == off:
		to.Grace = 0
	case p.Grace == 0:
		to.Grace = settings.DefaultPresenceGrace
	case p.Grace < 0 || to.Grace > time.Hour:
		return to, fmt.Errorf("invalid presence grace %s: must be above 0 and at most 1h, or -1 (Caddyfile: off) for none", to.Grace)
	}
	return to, nil
}

func (h *History) settings() (settings.History, error) {
	to := settings.History{Count: h.Count, Age: time.Duration(h.Age)}
	switch {
	case h.Count == off:
		to.Count = settings.Off
	case h.Count < 0:
		return to, fmt.Errorf("invalid history count %d: must be at least 0, or -1 for no limit", h.Count)
	}
	switch {
	case h.Age == off:
		to.Age = 0
	case h.Age == 0:
		to.Age = settings.DefaultHistoryAge
	case h.Age < 0:
		return to, fmt.Errorf("invalid history age %s: must be above 0, or -1 for no limit", to.Age)
	}
	return to, nil
}

// checkPrefix checks a path prefix.
func checkPrefix(prefix string) error {
	for _, c := range []byte(prefix) {
		if c <= ' ' || c > '~' || strings.IndexByte(`*?#%\"{}`, c) >= 0 {
			return fmt.Errorf("invalid prefix %q: must be a plain path, without wildcards, escapes or placeholders", prefix)
		}
	}
	if !strings.HasPrefix(prefix, "/") || !strings.HasSuffix(prefix, "/") || strings.Contains(prefix, "//") {
		return fmt.Errorf("invalid prefix %q: must begin and end with one slash, like /rt/", prefix)
	}
	if clean := path.Clean(prefix); clean != "/" && clean+"/" != prefix {
		return fmt.Errorf("invalid prefix %q: must not contain dot segments", prefix)
	}
	return nil
}

// prefix returns the prefix, or its default.
func (h *Handler) prefix() string {
	if h.Prefix == "" {
		return defaultPrefix
	}
	return h.Prefix
}

// checkRooms checks that no pattern of a room is a path.
func (h *Handler) checkRooms() error {
	for _, r := range h.Rooms {
		if err := checkRoom(h.prefix(), r.Pattern); err != nil {
			return err
		}
	}
	return nil
}

func checkHubName(name string) error {
	if len(name) > 64 {
		return fmt.Errorf("invalid hub %q: must have at most 64 characters", name)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("invalid hub %q: must contain only letters, digits, - and _", name)
		}
	}
	return nil
}

// checkSeconds checks an option that is a time from a second to an hour, or off.
func checkSeconds(name string, d caddy.Duration) error {
	if d == 0 || d == off {
		return nil
	}
	if t := time.Duration(d); t < time.Second || t > time.Hour {
		return fmt.Errorf("invalid %s %s: must be between 1s and 1h, or -1 (Caddyfile: off)", name, t)
	}
	return nil
}

// drain returns how long clients are sent away; 0: all at once.
func (h *Handler) drain() time.Duration {
	switch h.Drain {
	case 0:
		return settings.DefaultDrain
	case off:
		return 0
	default:
		return time.Duration(h.Drain)
	}
}

// errConfigured is the error for two handlers that set one hub's options differently.
var errConfigured = errors.New("set the options of a hub in one of its handlers, or set the same in all")
