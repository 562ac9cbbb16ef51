package realtime

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

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
//		engine       <name> [<args...>]
//		rooms        open|declared
//		room <pattern> {
//			history          <count>|off [<age>|off]
//			max_message_size <size>|off
//			rate             <n>[/s|/m|/h] [<burst>] | off
//			room_rate        <n>[/s|/m|/h] [<burst>] | off
//			presence         on|count|off [<grace>|off]
//			max_rooms        <n>|off
//			history_memory   <size>|off
//			max_members      <n>|off
//			allow            <verb...> <who>
//		}
//		allow                       <verb...> <who>
//		user                        <template> [trusted]
//		user_prefix                 <text>
//		name                        <template>
//		jwt {
//			secret       <hmac...>
//			key          <pem...>
//			key_file     <path...>
//			jwks         <url>
//			algorithms   <alg...>
//			grants       <verb...> on <pattern...>
//			max_lifetime <duration>
//			issuer       <iss>
//			audience     <aud...>|any
//			leeway       <duration>|off
//			cookie       <name>
//			query_token  on|off
//			user_claim   <name>
//			name_claim   <name>
//		}
//		backend <name> <key> [<old key>] {
//			allow <verb...> [on <pattern...>]
//		}
//		as backend                  <name>
//		links <key> [<old key>] {
//			rooms <pattern...>
//			verbs <verb...>
//		}
//		guests                      [<cookie>]
//		max_message_size            <size>|off
//		max_rooms                   <n>|off
//		max_connections             <n>|off
//		max_connections_per_address <n>|off
//		max_connections_per_user    <n>|off
//		max_users                   <n>|off
//		rate                        <n>[/s|/m|/h] [<burst>] | off
//		history_memory              <size>|off
//		heartbeat                   <duration>|off
//		drain                       <duration>|off
//		origins                     <origin...>
//		subprotocols                <name...>
//		compression                 on|off
//		poller                      on|off
//		ui                          on|off
//	}
//
// If the prefix is left out it is taken from the matcher, which must be one path like
// /rt/*; without a matcher it is /rt/. An engine is memory, bolt [<path>], or another that is built
// in; what follows its name, and its block, are its own. A verb is subscribe, publish, signal, history, members,
// show, presence, all, moderate or create; who is anyone, nobody, granted, guests, users, user <id...>,
// owner, claim <path> <value...>, or a named matcher, which only the directive in a site knows. A key is {env.*}, {file.*}, a hash sha256:<hex> for
// backend, or the key itself.
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
		if seen[name] && name != "room" && name != "allow" && name != "backend" {
			return d.Errf("%s already specified", name)
		}
		seen[name] = true
		if err := h.unmarshalOption(d, name, named); err != nil {
			return err
		}
	}
	// Errors that concern several options name the directive's line.
	err := h.checkRoomOptions()
	if err == nil {
		_, err = h.hubOptions()
	}
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
	case "engine":
		return h.unmarshalEngine(d)
	case "rooms":
		h.RoomNames, err = roomNames(d)
	case "room":
		return h.unmarshalRoom(d, named)
	case "allow":
		var a Allow
		a, err = allow(d, "", named)
		h.Allow = append(h.Allow, a)
	case "user":
		err = h.unmarshalUser(d)
	case "user_prefix":
		h.UserPrefix, err = word(d, checkUserPrefix)
	case "name":
		h.Name, err = word(d, nil)
	case "jwt":
		return h.unmarshalJWT(d)
	case "heartbeat":
		h.Heartbeat, err = seconds(d)
	case "drain":
		h.Drain, err = seconds(d)
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
		return h.unmarshalLimit(d, name)
	}
	if err != nil {
		return err
	}
	return endOfOption(d, name)
}

// unmarshalLimit reads an option that is a limit, or another one.
func (h *Handler) unmarshalLimit(d *caddyfile.Dispenser, name string) (err error) {
	switch name {
	case "max_message_size":
		h.MaxMessageSize, err = size(d)
	case "max_rooms":
		h.MaxRooms, err = count(d)
	case "max_connections":
		h.MaxConnections, err = count(d)
	case "max_connections_per_address":
		h.MaxConnectionsPerAddress, err = count(d)
	case "max_connections_per_user":
		h.MaxConnectionsPerUser, err = count(d)
	case "max_users":
		h.MaxUsers, err = count(d)
	case "rate":
		h.Rate, err = rate(d)
	case "history_memory":
		h.HistoryMemory, err = size(d)
	default:
		return h.unmarshalCredential(d, name)
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

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
