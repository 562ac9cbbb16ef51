package realtime

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/serve"
)

func init() {
	httpcaddyfile.RegisterDirective("realtime", parseDirective)
	// After authentication; before encode, whose buffers would take megabytes for each
	// stream, and before the handlers that answer every request.
	httpcaddyfile.RegisterDirectiveOrder("realtime", httpcaddyfile.Before, "encode")
}

// parseDirective parses the directive. It takes the prefix from the matcher, and makes
// sure that no two sites share rooms by accident.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	named := h.NextArg() && strings.HasPrefix(h.Val(), "@")
	h.Reset()
	h.Next()
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	m := new(Handler)
	if err := m.unmarshal(h.Dispenser, h.MatcherToken); err != nil {
		return nil, err
	}
	if m.Prefix == "" && (named || len(matcher) > 0) {
		if m.Prefix = prefixOf(matcher, named); m.Prefix == "" {
			return nil, h.Err("cannot derive the prefix from this matcher: match a single path like /rt/*, or set prefix <path> in the block")
		}
	}
	if path := prefixOf(matcher, false); path != "" && isBelow(m.Prefix, path) {
		// The prefix is enough. With a path matcher the handler would not notice
		// requests whose path a directive before it has rewritten.
		matcher = nil
	}
	if err := m.checkRooms(); err != nil {
		h.Reset()
		h.Next()
		return nil, h.WrapErr(err)
	}
	if err := noteHub(h, m.Hub); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, m), nil
}

// prefixOf returns the prefix of a matcher that is one path like /rt/*.
func prefixOf(matcher caddy.ModuleMap, named bool) string {
	var paths []string
	if named || len(matcher) != 1 || json.Unmarshal(matcher["path"], &paths) != nil || len(paths) != 1 {
		return ""
	}
	prefix, ok := strings.CutSuffix(paths[0], "*")
	if !ok || checkPrefix(prefix) != nil {
		return ""
	}
	return prefix
}

// noteHub refuses a second hub without a name.
func noteHub(h httpcaddyfile.Helper, name string) error {
	const key = "realtime.unnamed_hub"
	if name != "" {
		return nil
	}
	if first, again := h.State[key].(string); again {
		return h.Errf("realtime already specified at %s: set hub <name> in both blocks; equal names share the rooms, different names separate them", first)
	}
	h.State[key] = h.File() + ":" + strconv.Itoa(h.Line())
	return nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	realtime [<matcher>] {
//		prefix       <path>
//		hub          <name>
//		room <pattern> {
//			history          <count>|off [<age>|off]
//			max_message_size <size>|off
//			rate             <n>[/s|/m|/h] [<burst>] | off
//			presence         on|count|off [<grace>|off]
//			allow            <verb...> <who>
//		}
//		allow                       <verb...> <who>
//		user                        <template> [trusted]
//		name                        <template>
//		max_message_size            <size>|off
//		max_rooms                   <n>|off
//		max_connections             <n>|off
//		max_connections_per_address <n>|off
//		rate                        <n>[/s|/m|/h] [<burst>] | off
//		history_memory              <size>|off
//		heartbeat                   <duration>|off
//		origins                     <origin...>
//		subprotocols                <name...>
//		compression                 on|off
//		poller                      on|off
//		ui                          on|off
//	}
//
// If the prefix is left out it is taken from the matcher, which must be one path like
// /rt/*; without a matcher it is /rt/. A verb is subscribe, publish, signal, history, members,
// show, presence or all; who is anyone, nobody, users, user <id...>, owner, or a named matcher,
// which only the directive in a site knows.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.unmarshal(d, noMatchers)
}

func (h *Handler) unmarshal(d *caddyfile.Dispenser, named namedMatcher) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("unexpected argument %q: realtime takes only a matcher", d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "room" && name != "allow" {
			return d.Errf("%s already specified", name)
		}
		seen[name] = true
		if err := h.unmarshalOption(d, name, named); err != nil {
			return err
		}
	}
	// Errors that concern several options name the directive's line.
	_, err := h.hubOptions()
	if err == nil {
		err = h.checkIdentity()
	}
	if err != nil {
		d.Reset()
		d.Next()
		return d.WrapErr(err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, name string, named namedMatcher) (err error) {
	switch name {
	case "prefix":
		h.Prefix, err = word(d, checkPrefix)
	case "hub":
		h.Hub, err = word(d, checkHubName)
	case "room":
		return h.unmarshalRoom(d, named)
	case "allow":
		var a Allow
		a, err = allow(d, "", named)
		h.Allow = append(h.Allow, a)
	case "user":
		err = h.unmarshalUser(d)
	case "name":
		h.Name, err = word(d, nil)
	case "max_message_size":
		h.MaxMessageSize, err = size(d)
	case "max_rooms":
		h.MaxRooms, err = count(d)
	case "max_connections":
		h.MaxConnections, err = count(d)
	case "max_connections_per_address":
		h.MaxConnectionsPerAddress, err = count(d)
	case "rate":
		h.Rate, err = rate(d)
	case "history_memory":
		h.HistoryMemory, err = size(d)
	case "heartbeat":
		h.Heartbeat, err = duration(d)
		if err == nil && checkHeartbeat(h.Heartbeat) != nil {
			err = d.WrapErr(checkHeartbeat(h.Heartbeat))
		}
	case "origins":
		h.Origins, err = words(d, serve.CheckOrigin, serve.SameOrigins)
	case "subprotocols":
		h.Subprotocols, err = words(d, serve.CheckSubprotocol, func(a, b string) bool { return a == b })
	case "compression":
		h.Compression, err = onOff(d)
	case "poller":
		var on bool
		on, err = onOff(d)
		h.DisablePoller = !on
	case "ui":
		h.UI, err = onOff(d)
	default:
		return d.WrapErr(unknownOption(name))
	}
	if err != nil {
		return err
	}
	return endOfOption(d, name)
}

// endOfOption returns an error if something follows a complete option.
func endOfOption(d *caddyfile.Dispenser, name string) error {
	if d.NextArg() {
		return d.Errf("%s: unexpected argument %q", name, d.Val())
	}
	if nesting := d.Nesting(); d.NextBlock(nesting) {
		return d.Errf("%s does not take a block", name)
	}
	return nil
}

func (h *Handler) unmarshalRoom(d *caddyfile.Dispenser, named namedMatcher) error {
	pattern, err := word(d, h.checkPattern)
	if err != nil {
		return err
	}
	for _, r := range h.Rooms {
		if r.Pattern == pattern {
			return d.Errf("room %s already specified", pattern)
		}
	}
	room := Room{Pattern: pattern}
	if d.NextArg() {
		return d.Errf("room %s: unexpected argument %q", pattern, d.Val())
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "allow" {
			return d.Errf("room %s: %s already specified", pattern, name)
		}
		seen[name] = true
		if err := room.unmarshalOption(d, name, named); err != nil {
			return err
		}
	}
	if len(seen) == 0 {
		return d.Errf("room %s has no options: set history, max_message_size, rate, presence or allow", pattern)
	}
	h.Rooms = append(h.Rooms, room)
	return nil
}

func (r *Room) unmarshalOption(d *caddyfile.Dispenser, name string, named namedMatcher) (err error) {
	if name != "allow" && slices.Contains(roomOptions, name) && strings.Contains(r.Pattern, userSegment) {
		return d.Errf("room %s: %s is not possible for a pattern with {user}, which takes only allow", r.Pattern, name)
	}
	switch name {
	case "history":
		r.History, err = history(d)
	case "max_message_size":
		r.MaxMessageSize, err = size(d)
	case "rate":
		r.Rate, err = rate(d)
	case "presence":
		r.Presence, err = presence(d)
	case "allow":
		var a Allow
		a, err = allow(d, r.Pattern, named)
		r.Allow = append(r.Allow, a)
	default:
		return d.WrapErr(unknownRoomOption(name, r.Pattern))
	}
	if err != nil {
		return err
	}
	return endOfOption(d, name)
}

// checkPattern checks the pattern of a room. A prefix that comes from the matcher is
// not known yet: [Handler.check] checks again.
func (h *Handler) checkPattern(pattern string) error {
	if strings.HasPrefix(pattern, "/") {
		return checkRoom(h.prefix(), pattern)
	}
	if strings.Contains(pattern, userSegment) {
		return access.CheckPattern(pattern)
	}
	return settings.CheckPattern(pattern)
}

// word reads the option's one argument and checks it.
func word(d *caddyfile.Dispenser, check func(string) error) (string, error) {
	name := d.Val()
	if !d.NextArg() {
		return "", d.ArgErr()
	}
	if check != nil {
		if err := check(d.Val()); err != nil {
			return "", d.WrapErr(err)
		}
	}
	if d.Val() == "" {
		return "", d.Errf("%s must not be empty", name)
	}
	return d.Val(), nil
}

// words reads one or more arguments, which must differ.
func words(d *caddyfile.Dispenser, check func(string) error, same func(a, b string) bool) ([]string, error) {
	name := d.Val()
	all := d.RemainingArgs()
	if len(all) == 0 {
		return nil, d.ArgErr()
	}
	for i, w := range all {
		if err := check(w); err != nil {
			return nil, d.WrapErr(err)
		}
		if slices.ContainsFunc(all[:i], func(o string) bool { return same(o, w) }) {
			return nil, d.Errf("%s: %s already specified", name, w)
		}
	}
	return all, nil
}

// onOff reads on or off.
func onOff(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err == nil && arg != "on" && arg != "off" {
		err = d.Errf("invalid %s %q: must be on or off", name, arg)
	}
	return arg == "on", err
}

// size reads a number of bytes, like 64KiB, or off.
func size(d *caddyfile.Dispenser) (int64, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	n, err := humanize.ParseBytes(arg)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, d.Errf("invalid %s %q: must be a size like 64KiB or 1MB, or off", name, arg)
	}
	return int64(n), nil
}

// count reads a positive number, or off.
func count(d *caddyfile.Dispenser) (int, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 {
		return 0, d.Errf("invalid %s %q: must be a positive number or off", name, arg)
	}
	return n, nil
}

// duration reads a positive duration, or off.
func duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil || arg == "off" {
		return off, err
	}
	t, err := caddy.ParseDuration(arg)
	if err != nil || t <= 0 {
		return 0, d.Errf("invalid %s %q: must be a duration like 30s, 10m or 7d, or off", name, arg)
	}
	return caddy.Duration(t), nil
}

// rate reads a rate, per second unless it has another unit, and its burst; or off.
func rate(d *caddyfile.Dispenser) (*Rate, error) {
	name := d.Val()
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	if arg == "off" {
		return &Rate{PerSecond: off}, nil
	}
	number, unit, _ := strings.Cut(arg, "/")
	per, known := map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || !(n > 0) || math.IsInf(n, 0) {
		return nil, d.Errf("invalid %s %q: must be a rate like 10, 10/s, 100/m or 5/h, or off", name, arg)
	}
	r := &Rate{PerSecond: n / per}
	if d.NextArg() {
		if r.Burst, err = strconv.Atoi(d.Val()); err != nil || r.Burst < 1 {
			return nil, d.Errf("invalid %s burst %q: must be a positive number of messages", name, d.Val())
		}
	}
	if _, err := r.settings(); err != nil {
		return nil, d.WrapErr(err)
	}
	return r, nil
}

// history reads how many messages are kept, and up to what age.
func history(d *caddyfile.Dispenser) (*History, error) {
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	h := new(History)
	if arg == "off" {
		h.Count = off
	} else if h.Count, err = strconv.Atoi(arg); err != nil || h.Count < 0 {
		return nil, d.Errf("invalid history count %q: must be at least 0, or off", arg)
	}
	if !d.NextArg() {
		return h, nil
	}
	if d.Val() == "off" {
		h.Age = off
		return h, nil
	}
	t, err := caddy.ParseDuration(d.Val())
	if err != nil || t <= 0 {
		return nil, d.Errf("invalid history age %q: must be a duration like 10m, 24h or 7d, or off", d.Val())
	}
	h.Age = caddy.Duration(t)
	return h, nil
}

// presence reads what a room shows of its members, and how long they stay after their
// connections have ended.
func presence(d *caddyfile.Dispenser) (*Presence, error) {
	arg, err := word(d, nil)
	if err != nil {
		return nil, err
	}
	p := &Presence{Mode: arg}
	if d.NextArg() {
		grace, err := caddy.ParseDuration(d.Val())
		switch {
		case d.Val() == "off":
			grace = off
		case err != nil || grace <= 0:
			return nil, d.Errf("invalid presence grace %q: must be a duration like 10s, or off", d.Val())
		}
		p.Grace = caddy.Duration(grace)
	}
	if _, err := p.settings(); err != nil {
		return nil, d.WrapErr(err)
	}
	return p, nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
