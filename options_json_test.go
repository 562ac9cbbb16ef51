package realtime

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestJSONErrorsNameTheirField(t *testing.T) {
	for _, test := range []struct {
		name, config string
		names        []string
	}{
		{"heartbeat", `{"heartbeat": "abc"}`, []string{"heartbeat", `"abc"`}},
		{"heartbeat without a unit", `{"heartbeat": "25"}`, []string{"heartbeat", `"25"`}},
		{"heartbeat in another case", `{"Heartbeat": "abc"}`, []string{"heartbeat", `"abc"`}},
		{"heartbeat that is no string", `{"heartbeat": true}`, []string{"heartbeat", "true"}},
		{"heartbeat with a fraction", `{"heartbeat": 1.5}`, []string{"heartbeat", "1.5"}},
		{"heartbeat that is nothing", `{"heartbeat": {}}`, []string{"heartbeat", "{}"}},
		{"age", `{"rooms": [{"pattern": "news/*", "history": {"count": 5, "age": "old"}}]}`, []string{"news/*", "history", "age", `"old"`}},
		{"grace", `{"rooms": [{"presence": {"grace": "long"}, "pattern": "lobby"}]}`, []string{"lobby", "presence", "grace", `"long"`}},
		{"a number", `{"max_rooms": "many"}`, []string{"max_rooms"}},
		{"a number of a room", `{"rooms": [{"pattern": "lobby", "max_message_size": "big"}]}`, []string{"lobby", "max_message_size"}},
		{"an unknown field", `{"heartbeet": "25s"}`, []string{"heartbeet"}},
		{"an unknown field of a room", `{"rooms": [{"pattern": "lobby", "histroy": {}}]}`, []string{"lobby", "histroy"}},
		{"an unknown field of history", `{"rooms": [{"pattern": "lobby", "history": {"size": 5}}]}`, []string{"lobby", "history", "size"}},
		{"a field of allow", `{"allow": [{"verbs": "publish"}]}`, []string{"allow", "verbs"}},
		{"an unknown field of allow", `{"allow": [{"verb": ["publish"]}]}`, []string{"allow", "verb"}},
		{"an unknown field of a room's allow", `{"rooms": [{"pattern": "lobby", "allow": [{"whom": "users"}]}]}`, []string{"lobby", "allow", "whom"}},
		{"a duration of jwt", `{"jwt": {"leeway": "1m", "max_lifetime": "long"}}`, []string{"jwt", "max_lifetime", `"long"`}},
		{"an unknown field of jwt", `{"jwt": {"secret": "x"}}`, []string{"jwt", "secret"}},
		{"an unknown field of backends", `{"backends": [{"name": "a", "key": "canary"}]}`, []string{"key"}},
		{"keys of links that are no list", `{"links": {"keys": "canary"}}`, []string{"links.keys"}},
		{"an unknown field of guests", `{"guests": {"cooky": "a"}}`, []string{"cooky"}},
		{"an unknown field of rate", `{"rate": {"burts": 5}}`, []string{"burts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := caddy.StrictUnmarshalJSON([]byte(test.config), new(Handler))
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, name := range test.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %s", err, name)
				}
			}
		})
	}
}

func TestJSONOptions(t *testing.T) {
	for config, want := range map[string]caddy.Duration{
		`{}`:                        0,
		`{"heartbeat": "1m30s"}`:    caddy.Duration(90 * time.Second),
		`{"heartbeat": 1000000000}`: caddy.Duration(time.Second),
		`{"heartbeat": -1}`:         off,
	} {
		var h Handler
		if err := caddy.StrictUnmarshalJSON([]byte(config), &h); err != nil || h.Heartbeat != want {
			t.Errorf("%s: %v, %v", config, time.Duration(h.Heartbeat), err)
		}
	}
	// The options that are written are read back the same.
	before := Handler{Prefix: "/live/", Heartbeat: caddy.Duration(time.Minute), MaxRooms: -1, Origins: []string{"*"}, Rate: &Rate{PerSecond: 2}, Rooms: []Room{{
		Pattern: "a", History: &History{Count: 5, Age: off}, Presence: &Presence{Mode: "count", Grace: caddy.Duration(time.Second)},
		Allow: []Allow{{Verbs: []string{"publish"}, Who: "user", IDs: []string{"ann"}}},
	}}, Allow: []Allow{{Verbs: []string{"all"}, Who: "matcher", Name: "@staff", MatchRaw: caddy.ModuleMap{"method": json.RawMessage(`["GET"]`)}}}, User: "{http.vars.user}", UserTrusted: true, JWT: &JWT{
		Secrets: []string{"x"}, MaxLifetime: caddy.Duration(time.Hour), Leeway: off, Grants: []Grant{{Verbs: []string{"all"}, Patterns: []string{"*"}}},
	}}
	b, err := json.Marshal(&before)
	if err != nil {
		t.Fatal(err)
	}
	var after Handler
	if err := caddy.StrictUnmarshalJSON(b, &after); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&after)
	if err != nil || string(again) != string(b) {
		t.Errorf("%s became %s, %v", b, again, err)
	}
}
