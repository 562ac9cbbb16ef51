package realtime

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What JSON can say and a Caddyfile cannot is refused by name.
func TestAllowErrors(t *testing.T) {
	for config, want := range map[string]string{
		`{"allow": [{"verbs": [], "who": "users"}]}`:                                                               "allow: no verb specified",
		`{"allow": [{"verbs": ["reed"], "who": "users"}]}`:                                                         `allow: unknown verb "reed"`,
		`{"allow": [{"verbs": ["publish", "publish"], "who": "users"}]}`:                                           "allow: publish already specified",
		`{"allow": [{"verbs": ["publish"]}]}`:                                                                      `allow: unknown who ""`,
		`{"allow": [{"verbs": ["publish"], "who": "@staff"}]}`:                                                     `allow: unknown who "@staff"`,
		`{"allow": [{"verbs": ["publish"], "who": "user"}]}`:                                                       "allow publish: user needs at least one id",
		`{"allow": [{"verbs": ["publish"], "who": "users", "ids": ["ann"]}]}`:                                      "allow: ids are only for who user",
		`{"allow": [{"verbs": ["publish"], "who": "users", "match": {"method": ["GET"]}}]}`:                        "allow: match and name are only for who matcher",
		`{"allow": [{"verbs": ["publish"], "who": "matcher", "name": "@staff"}]}`:                                  "allow: who matcher needs a match",
		`{"rooms": [{"pattern": "a", "allow": [{"verbs": ["publish"], "who": "owner"}]}]}`:                         "room a: allow publish: owner needs",
		`{"rooms": [{"pattern": "a", "allow": [{"verbs": ["publish"], "who": "matcher", "match": {}}]}]}`:          "room a: allow: who matcher needs a match",
		`{"rooms": [{"pattern": "{user}"}]}`:                                                                       `room "{user}": no options: set allow`,
		`{"rooms": [{"pattern": "{user}", "max_message_size": 5, "allow": [{"verbs": ["all"], "who": "owner"}]}]}`: `room "{user}": a pattern with {user} takes only allow`,
		`{"rooms": [{"pattern": "a{user}", "allow": [{"verbs": ["all"], "who": "users"}]}]}`:                       "must be a whole segment",
	} {
		var h Handler
		if err := caddy.StrictUnmarshalJSON([]byte(config), &h); err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if _, err := h.hubOptions(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}

// Rules are compared by what they say.
func TestRightsKey(t *testing.T) {
	key := func(config string) string {
		t.Helper()
		var h Handler
		if err := json.Unmarshal([]byte(config), &h); err != nil {
			t.Fatal(err)
		}
		o, err := h.hubOptions()
		if err != nil {
			t.Fatal(err)
		}
		return o.key
	}
	const one = `{"allow": [{"verbs": ["publish", "members", "show"], "who": "user", "ids": ["ann", "ben"]}, {"verbs": ["history"], "who": "matcher", "name": "@a", "match": {"method": ["GET"]}}]}`
	for _, same := range []string{
		`{"allow": [{"verbs": ["history"], "who": "matcher", "match": {"method": ["GET"]}}, {"verbs": ["presence"], "who": "user", "ids": ["ben", "ann", "ann"]}, {"verbs": ["publish"], "who": "user", "ids": ["ann", "ben"]}]}`,
	} {
		if key(same) != key(one) {
			t.Errorf("%s and %s differ:\n%s\n%s", same, one, key(same), key(one))
		}
	}
	seen := map[string]string{key(one): one}
	for _, other := range []string{
		`{}`,
		`{"allow": [{"verbs": ["publish"], "who": "users"}]}`,
		`{"allow": [{"verbs": ["publish"], "who": "anyone"}]}`,
		`{"allow": [{"verbs": ["publish"], "who": "user", "ids": ["a b"]}]}`,
		`{"allow": [{"verbs": ["publish"], "who": "user", "ids": ["a", "b"]}]}`,
		`{"allow": [{"verbs": ["publish"], "who": "matcher", "match": {"method": ["GET"]}}]}`,
		`{"allow": [{"verbs": ["publish"], "who": "matcher", "match": {"method": ["PUT"]}}]}`,
		`{"rooms": [{"pattern": "*", "allow": [{"verbs": ["publish"], "who": "users"}]}]}`,
		`{"rooms": [{"pattern": "a", "allow": [{"verbs": ["publish"], "who": "users"}]}]}`,
	} {
		k := key(other)
		if was, ok := seen[k]; ok {
			t.Errorf("%s and %s are the same", was, other)
		}
		seen[k] = other
	}
	if key(`{}`) != "" {
		t.Error("without rules there is a key")
	}
}

func TestUserOf(t *testing.T) {
	for _, test := range []struct{ user, name, want string }{
		{defaultUser, "", "ann"},
		{"{http.auth.user.email}", "", ""},
		{"{http.auth.user.empty}", "", ""},
		{"x-{http.auth.user.id}", "", "x-ann"},
		{"x-{http.auth.user.email}", "", ""},
		{"{http.auth.user.id}{http.auth.user.empty}", "", ""},
		{defaultUser, "{http.auth.user.id} A.", "ann (ann A.)"},
		{defaultUser, "{http.auth.user.email} A.", "ann"},
		{"{http.auth.user.email}", "{http.auth.user.id}", ""},
	} {
		repl := caddy.NewEmptyReplacer()
		repl.Set("http.auth.user.id", "ann")
		repl.Set("http.auth.user.empty", "")
		h := Handler{User: test.user, Name: test.name}
		got := ""
		u, err := h.userOf(repl)
		if err != nil {
			t.Errorf("user %q: %v", test.user, err)
		}
		if u != nil {
			got = u.ID
			if u.Name != "" {
				got += " (" + u.Name + ")"
			}
		}
		if got != test.want {
			t.Errorf("user %q, name %q: %q, want %q", test.user, test.name, got, test.want)
		}
	}
}

func TestForgeableTemplates(t *testing.T) {
	for template, forgeable := range map[string]bool{
		"{http.request.header.Remote-User}":      true,
		"{header.Remote-User}":                   true,
		"a-{http.request.cookie.u}-b":            true,
		"{http.request.uri.query.user}":          true,
		"{http.auth.user.id}":                    false,
		"{http.vars.user}":                       true,
		"{http.request.tls.client.subject}":      false,
		"{http.request.remote.host}":             false,
		"{http.auth.user.id}{http.request.host}": true,
	} {
		for _, h := range []*Handler{{User: template}, {Name: template}} {
			if err := h.checkIdentity(); (err != nil) != forgeable || err != nil && !strings.Contains(err.Error(), "trusted") {
				t.Errorf("%s: %v", template, err)
			}
			h.UserTrusted = true
			if err := h.checkIdentity(); err != nil {
				t.Errorf("%s, trusted: %v", template, err)
			}
		}
	}
}

// A pattern with {user} takes no option but allow, also in JSON.
func TestOwnedRoomsTakeOnlyAllow(t *testing.T) {
	allow := []Allow{{Verbs: []string{"publish"}, Who: "owner"}}
	for name, r := range map[string]Room{
		"history":          {History: new(History)},
		"max_message_size": {MaxMessageSize: 1},
		"rate":             {Rate: new(Rate)},
		"room_rate":        {RoomRate: new(Rate)},
		"presence":         {Presence: new(Presence)},
		"max_rooms":        {MaxRooms: 1},
		"history_memory":   {HistoryMemory: 1},
		"max_members":      {MaxMembers: 1},
	} {
		r.Pattern, r.Allow = "dm/{user}/*", allow
		if err := r.checkOwned(false); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if r := (Room{Pattern: "dm/{user}/*", Allow: allow}); r.checkOwned(false) != nil {
		t.Error(r.checkOwned(false))
	}
}
