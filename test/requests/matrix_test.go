package requests

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// needs has the verbs that a way needs in its room. A way that is not here fails the test.
var needs = map[string][]hub.Verb{
	"page": {hub.VerbHistory}, "poll": {hub.VerbSubscribe}, "HEAD": {hub.VerbSubscribe}, "members": {hub.VerbMembers},
	"history": {hub.VerbHistory}, "SSE": {hub.VerbSubscribe}, "NDJSON": {hub.VerbSubscribe}, "WebSocket": {hub.VerbSubscribe},
	"realtime.v1": {hub.VerbSubscribe}, "two rooms": {hub.VerbSubscribe, hub.VerbHistory}, "query": {hub.VerbHistory},
	"POST": {hub.VerbPublish}, "POST by query": {hub.VerbPublish}, "form": {hub.VerbPublish}, "publish by command": {hub.VerbPublish},
	"signal": {hub.VerbSignal}, "signal by command": {hub.VerbSignal}, "history by command": {hub.VerbHistory},
	"encoded path": {hub.VerbHistory}, "since": {hub.VerbSubscribe}, "before": {hub.VerbHistory}, "If-None-Match": {hub.VerbSubscribe},
	"SSE that goes on": {hub.VerbSubscribe}, "members stream": {hub.VerbSubscribe, hub.VerbMembers},
	"join by command": {hub.VerbSubscribe}, "state by command": {hub.VerbSubscribe, hub.VerbShow},
	"publish again": {hub.VerbPublish},
}

// moreWays are the rest of them.
var moreWays = map[string]func(s *caddytest.Site, room string, headers ...string) int{
	"encoded path": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", strings.ReplaceAll(room, "/", "%2F"), "", headers...)
	},
	"since": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?since=k3f9.1", "", headers...)
	},
	"before": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?before=k3f9.1", "", headers...)
	},
	"If-None-Match": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, `If-None-Match: "k3f9.1"`)...)
	},
	"SSE that goes on": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room, "", append(headers, "Accept: text/event-stream", "Last-Event-ID: k3f9.1")...)
	},
	"members stream": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "GET", room+"?members", "", append(headers, "Accept: text/event-stream")...)
	},
	"join by command": func(s *caddytest.Site, room string, headers ...string) int {
		return command(s, `{"op":"join","room":"`+room+`"}`, headers...)
	},
	"state by command": func(s *caddytest.Site, room string, headers ...string) int {
		status := command(s, `{"op":"state","room":"`+room+`","state":1}`, headers...)
		if status == 400 { // it has no connection: it was let in, and no further
			return 200
		}
		return status
	},
	"publish again": func(s *caddytest.Site, room string, headers ...string) int {
		return ask(s, "POST", room, "hi", append(headers, "Idempotency-Key: known")...)
	},
}

// matrixRules are lines of an allow, by the pattern of their room.
var matrixRules = map[string][]string{
	"guests/*":    {"all guests"},
	"users/*":     {"all users"},
	"ann/*":       {"all user ann"},
	"mine/{user}": {"all owner"},
	"granted/*":   {"all granted"},
	"nobody/*":    {"all nobody"},
	"box/*":       {"subscribe users", "publish anyone"},
	"news/*":      {"publish signal users"},
	"quiet/*":     {"history presence users"},
	"mods/*":      {"all user ann", "moderate user ben"},
	"half/*":      {"subscribe anyone", "publish users", "publish granted", "history granted"},
}

// principalOf is somebody who sends requests, and what the rules are to make of it.
type principalOf struct {
	headers []string
	access.Principal
}

func matrixPrincipals(t *testing.T, s *caddytest.Site, key string) map[string]principalOf {
	t.Helper()
	grants := func(user string, verbs []hub.Verb, patterns ...string) *access.Grants {
		g, err := access.NewGrants(user, []access.Grant{{Verbs: verbs, Patterns: patterns}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	own, err := access.Backend([]access.Grant{
		{Verbs: []hub.Verb{hub.VerbSubscribe, hub.VerbPublish}, Patterns: []string{"*"}},
		{Verbs: []hub.Verb{hub.VerbHistory}, Patterns: []string{"box/*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	guest := s.Do("POST", "/rt/free", "hi", "Sec-Fetch-Site: same-origin").Cookies()
	if len(guest) != 1 {
		t.Fatal("there is no guest's cookie")
	}
	some := []hub.Verb{hub.VerbSubscribe, hub.VerbPublish, hub.VerbHistory}
	return map[string]principalOf{
		"stranger": {nil, access.Principal{}},
		"guest":    {[]string{"Cookie: " + guest[0].Name + "=" + guest[0].Value}, access.Principal{User: message.GuestID("x")}},
		"ann":      {[]string{bearer(tokenOf(t, "ann", time.Hour, nil))}, access.Principal{User: "ann"}},
		"ben":      {[]string{bearer(tokenOf(t, "ben", time.Hour, nil))}, access.Principal{User: "ben"}},
		"cem with grants": {
			[]string{bearer(tokenOf(t, "cem", time.Hour, map[string]any{"realtime": map[string]any{
				"subscribe": []string{"granted/*", "half/*"}, "publish": []string{"granted/*", "half/*", "nobody/*"}, "history": []string{"granted/*", "half/*"},
			}}))},
			access.Principal{User: "cem", Grants: grants("cem", some, "granted/*", "half/*", "nobody/*")},
		},
		"link": {
			[]string{"Realtime-Link: " + linkOf(t, s, link.Link{Pattern: "granted/*", Verbs: []string{"subscribe", "publish", "history"}})},
			access.Principal{User: message.LinkID("x"), Grants: grants("", some, "granted/*")},
		},
		"backend": {[]string{bearer(key)}, access.Principal{User: message.BackendID("shop"), Grants: own}},
	}
}

// TestMatrix asks in every way for every kind of client in a room of every kind, and compares
// with what the rules say. Refusals are equal whether the room exists or not.
func TestMatrix(t *testing.T) {
	key, hash := backend.Generate()
	block := "realtime {\n" + caddytest.Open
	var rules []access.Rule
	for pattern, lines := range matrixRules {
		block += "room " + pattern + " {\n"
		for _, line := range lines {
			block += "allow " + line + "\n"
			rules = append(rules, ruleOf(t, pattern, line))
		}
		block += "}\n"
	}
	block += "jwt {\nsecret \"" + jwtSecret + "\"\n}\nbackend shop " + hash + " {\nallow subscribe publish\nallow history on box/*\n}\n" +
		"links \"" + linkSecret + "\" {\nrooms granted/*\nverbs subscribe publish history\n}\nguests\n}"
	s := caddytest.Start(t, block)
	decider, err := access.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(moreWays, ways)
	for who, p := range matrixPrincipals(t, s, key) {
		t.Run(who, func(t *testing.T) {
			t.Parallel() // some polls have nothing to answer with, and wait
			for pattern := range matrixRules {
				tryAll(t, s.In(t), decider, p, strings.NewReplacer("*", "1", "{user}", "ann").Replace(pattern))
			}
		})
	}
}

// tryAll tries every way to a room.
func tryAll(t *testing.T, s *caddytest.Site, decider *access.Rules, p principalOf, room string) {
	t.Helper()
	for way, try := range moreWays {
		verbs, known := needs[way]
		if !known {
			t.Fatalf("nobody says what %q needs", way)
		}
		may := func(room string) bool {
			return !slices.ContainsFunc(verbs, func(v hub.Verb) bool { return !decider.Allow(p.Principal, v, room) })
		}
		allowed := may(room) && (way != "two rooms" || may("free"))
		got := try(s, room, p.headers...)
		want := http.StatusForbidden
		if kind := message.KindOf(p.User); p.User == "" || kind == message.UserGuest {
			want = http.StatusUnauthorized
		}
		if done(got) != allowed || !allowed && got != want {
			t.Errorf("%s, %s: %d, allowed: %v", room, way, got, allowed)
		}
	}
}

// ruleOf parses a line.
func ruleOf(t *testing.T, pattern, line string) access.Rule {
	t.Helper()
	verbs, who, err := access.ParseVerbs(pattern, strings.Fields(line))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]access.Kind{
		"anyone": access.Anyone, "nobody": access.Nobody, "granted": access.Granted, "guests": access.Guests,
		"users": access.Users, "user": access.Named, "owner": access.Owner,
	}
	return access.Rule{Pattern: pattern, Verbs: verbs, Who: access.Who{Kind: kinds[who[0]], IDs: who[1:]}}
}

// A refusal says nothing about the room: it is the same, byte for byte, whether the room exists
// or not.
func TestRefusalsSayNothing(t *testing.T) {
	key, hash := backend.Generate()
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"allow all nobody\nbackend shop "+hash+" {\nallow all\nallow publish on there\n}\n}")
	s.Post("there", "hi", bearer(key))
	answer := func(method, target, body, room string, headers ...string) string {
		resp := s.Do(method, strings.ReplaceAll(target, "ROOM", room), strings.ReplaceAll(body, "ROOM", room), headers...)
		text := caddytest.ReadAll(t, resp)
		resp.Header.Del("Date")
		var b strings.Builder
		b.WriteString(resp.Status)
		_ = resp.Header.Write(&b)
		return strings.ReplaceAll(b.String()+text, room, "ROOM")
	}
	for _, test := range [][]string{
		{"GET", "/rt/ROOM", ""},
		{"HEAD", "/rt/ROOM", ""},
		{"GET", "/rt/ROOM?members", ""},
		{"GET", "/rt/ROOM?wait=1", ""},
		{"GET", "/rt/ROOM?before=k3f9.1", ""},
		{"GET", "/rt/?room=ROOM", ""},
		{"GET", "/rt/?room=free&room=ROOM", ""},
		{"GET", "/rt/ROOM", "", "Accept: text/event-stream"},
		{"GET", "/rt/ROOM", "", "Accept: application/x-ndjson"},
		{"GET", "/rt/ROOM", "", `If-None-Match: "k3f9.1"`},
		append([]string{"GET", "/rt/ROOM", ""}, upgrade...),
		{"POST", "/rt/ROOM", "hi"},
		{"POST", "/rt/ROOM", strings.Repeat("x", 100_000)},
		{"POST", "/rt/?commands", `{"op":"publish","room":"ROOM","data":"hi"}`},
		{"POST", "/rt/?commands", `{"op":"history","room":"ROOM"}`},
		{"POST", "/rt/?commands", `{"op":"join","room":"ROOM"}`},
	} {
		there, not := answer(test[0], test[1], test[2], "there", test[3:]...), answer(test[0], test[1], test[2], "other", test[3:]...)
		if there != not {
			t.Errorf("%q:\n%s\nand where there is no room\n%s", test, there, not)
		}
	}
}
